/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - the segment that the binding makes for a mechanism when the first write needs it. */
#include <errno.h>
#include <fcntl.h>

#include "adma_worker.h"
#include "api/channel.h"
#include "base/descriptor.h"
#include "mech/table.h"
#include "worker/peer.h"
#include "worker/select.h"
#include "worker/tags.h"

/* The mechanism that would carry a write of n bytes, if it needs a segment and has none; else NULL. */
static const struct adma_mechanism *segment_wanted_by(const struct adma_endpoint *ep, uint64_t n)
{
	const struct adma_mechanism *mechanism = adma_mechanism(adma_select_from(ep, n, adma_select_working(ep), true));

	return mechanism && mechanism->wants_segment && mechanism->wants_segment(&ep->connection) ? mechanism : NULL;
}

/* A mechanism that needs a segment and has none, or NULL. */
static const struct adma_mechanism *segment_missing_for(const struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(&ep->connection, id);

		if (mechanism && mechanism->wants_segment && mechanism->wants_segment(&ep->connection))
			return mechanism;
	}
	return NULL;
}

bool adma_wants_bulk(struct adma_chan *chan, uint64_t n)
{
	bool wants;

	if (!chan || !adma_takes_slot(&chan->ep, n)) /* this answer never changes, so no lock is needed */
		return false;
	if (adma_enter(chan))
		return false;
	wants = segment_wanted_by(&chan->ep, n);
	adma_leave(chan);
	return wants;
}

static int segment_give(struct adma_endpoint *ep, int fd)
{
	const struct adma_mechanism *mechanism = segment_missing_for(ep);
	int copy, rc;

	if (!mechanism)
		return 0; /* another thread was first */
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return -errno;
	rc = mechanism->give_segment(&ep->connection, fd);
	if (rc) {
		adma_descriptor_close(&copy);
		return rc;
	}
	ep->send.segment_fd = copy;
	ep->descriptors.segment = adma_own_note(copy);
	adma_send_segment(ep);
	return 0;
}

int adma_give_bulk(struct adma_chan *chan, int fd)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	rc = segment_give(&chan->ep, fd);
	adma_publish_and_leave(chan);
	return rc;
}

static void segment_refuse(struct adma_endpoint *ep, int err)
{
	const struct adma_mechanism *mechanism = segment_missing_for(ep);

	if (!mechanism)
		return;
	/* The other direction has a segment of its own, which the peer makes. */
	ep->send.withdrawn |= ADMA_MECH_BIT(mechanism->id);
	ep->withdrawn_error[mechanism->id] = err;
}

void adma_no_bulk(struct adma_chan *chan, int err)
{
	if (adma_enter(chan))
		return;
	segment_refuse(&chan->ep, err);
	adma_leave(chan);
}

/* ---- the same for the endpoint of a worker ---- */

/* Take the lock, and find the endpoint. NULL: it is gone, and the lock is not held. */
static struct adma_endpoint *segment_enter(struct adma_worker *worker, uint32_t number)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_endpoint *ep;

	if (adma_enter_worker(progress))
		return NULL;
	ep = adma_tags_endpoint(worker, number);
	if (!ep)
		adma_leave_worker(progress);
	return ep;
}

bool adma_worker_wants_bulk(struct adma_worker *worker, uint32_t number, uint64_t n)
{
	struct adma_endpoint *ep = segment_enter(worker, number);
	bool wants;

	if (!ep)
		return false;
	/* A short message may have to take a slot, too, when the peer holds too many that nobody receives. */
	wants = segment_wanted_by(ep, n > ADMA_EAGER_MAX ? n : ADMA_EAGER_MAX + 1);
	adma_leave_worker(adma_progress_of(worker));
	return wants;
}

int adma_worker_give_bulk(struct adma_worker *worker, uint32_t number, int fd)
{
	struct adma_endpoint *ep = segment_enter(worker, number);
	int rc;

	if (!ep)
		return -ENOENT;
	rc = segment_give(ep, fd);
	adma_publish_and_leave_worker(adma_progress_of(worker));
	return rc;
}

void adma_worker_no_bulk(struct adma_worker *worker, uint32_t number, int err)
{
	struct adma_endpoint *ep = segment_enter(worker, number);

	if (!ep)
		return;
	segment_refuse(ep, err);
	adma_leave_worker(adma_progress_of(worker));
}
