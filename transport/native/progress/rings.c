/* SPDX-License-Identifier: BSD-3-Clause */
/* rings.c - when the progress thread drains the rings of a worker with tags; see rings.h. */
#include "progress/rings.h"

#include "progress/ownership.h"
#include "worker/queues.h"
#include "worker/tagged_endpoint.h"

bool adma_rings_are_due(const struct adma_progress *progress, int64_t now)
{
	return progress->rings.look_at && now >= progress->rings.look_at;
}

/* After a pause in which others have drained the rings the next one is longer, and shorter after one in which nobody did. */
static void rings_learn(struct adma_rings *rings, bool drained)
{
	int64_t next = drained ? 2 * rings->pause_ns : rings->pause_ns / 2;

	if (next > ADMA_GRACE_MAX_NS)
		next = ADMA_GRACE_MAX_NS;
	rings->pause_ns = next > ADMA_GRACE_NS ? next : ADMA_GRACE_NS;
}

void adma_rings_visit(struct adma_progress *progress, bool woken, int64_t now)
{
	struct adma_rings *rings = &progress->rings;
	const struct adma_tags *tags = progress->worker.tags;
	bool pauses = rings->look_at, drained;

	if (!tags || (pauses ? now < rings->look_at : !woken))
		return;
	drained = tags->rounds != rings->rounds;
	if (pauses || !rings->pause_ns)
		rings_learn(rings, drained);
	rings->look_at = drained ? now + rings->pause_ns : 0;
	if (drained || pauses)
		adma_tagged_leave_undisturbed(&progress->worker, drained);
}

int64_t adma_rings_leave(struct adma_progress *progress)
{
	if (!progress->worker.tags)
		return ADMA_NEVER;
	progress->rings.rounds = progress->worker.tags->rounds;
	return progress->rings.look_at ? progress->rings.look_at : ADMA_NEVER;
}
