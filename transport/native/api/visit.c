/* SPDX-License-Identifier: BSD-3-Clause */
/* visit.c - the entry points of the progress thread and of copy worker threads; see visit.h. */
#include "api/visit.h"

#include "api/entry.h"
#include "base/clock.h"
#include "progress/descriptors.h"
#include "progress/ownership.h"
#include "progress/policy.h"
#include "progress/poll_descriptor.h"
#include "progress/waiters.h"
#include "worker/ending.h"

#define BUDGET_NS 1000000 /* for one worker, before the others are visited */

/* A channel that was dropped, and that has carried all it had: its peer learns of the end. It is freed later. */
static void visit_end(struct adma_progress *progress)
{
	struct adma_endpoint *ep;

	if (adma_is_shared(progress))
		return;
	ep = adma_only_endpoint(progress);
	if (!ep->control.lingers || !adma_ending_is_drained(ep))
		return;
	ep->control.lingers = false;
	adma_ending_tell_closed(ep);
}

bool adma_visit_assist(struct adma_assist *assist)
{
	struct adma_progress *progress = adma_container_of(assist, struct adma_progress, assist);
	bool moved;

	if (adma_enter_worker(progress))
		return false;
	moved = progress->ownership.delegated && adma_policy_assist(progress, adma_now());
	if (moved)
		(void)adma_worker_advance(&progress->worker); /* the chunk may have been the last one */
	(void)adma_publish(progress, false);
	visit_end(progress);
	adma_leave_worker(progress);
	adma_holds_tell();
	return moved;
}

/* Look, and wake the waiters of what completed, before the lock is dropped for the next chunk. */
static void visit_look(struct adma_progress *progress)
{
	(void)adma_worker_advance(&progress->worker);
	adma_waiters_wake_marked(progress);
	visit_end(progress);
}

static void visit_copy(struct adma_progress *progress)
{
	int64_t now = adma_now(), end = now + BUDGET_NS;

	/* The worker is not delegated any more when it was closed, or when a thread owns it. */
	while (progress->ownership.delegated && now < end && adma_policy_copy(progress, now)) {
		if (progress->ownership.delegated)
			adma_policy_ask_assist(progress);
		progress->ownership.grace_ns = ADMA_GRACE_NS; /* no owner came back */
		visit_look(progress);
		now = adma_now();
	}
}

int64_t adma_visit(struct adma_progress *progress, bool by_time)
{
	int64_t now, again;
	bool armed;

	if (adma_enter_worker(progress))
		return ADMA_NEVER;
	if (by_time)
		adma_policy_learn(progress);
	/* Read even if a thread owns the worker: an event may be the only one that tells of a peer's death. */
	adma_poll_read(progress);
	adma_descriptors_check(progress, adma_now());
	visit_look(progress);
	adma_ownership_resume(progress);
	visit_copy(progress);
	armed = adma_publish(progress, true);
	visit_end(progress); /* the look before arming may have completed the last transfer */
	now = adma_now();
	again = armed || !progress->ownership.delegated ? adma_policy_next(progress, now) : now;
	adma_leave_worker(progress);
	return again;
}
