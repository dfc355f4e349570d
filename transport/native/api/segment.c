/* SPDX-License-Identifier: BSD-3-Clause */
/* segment.c - the segment that the binding makes for a mechanism when the first write needs it. */
#include <errno.h>
#include <fcntl.h>

#include "api/channel.h"
#include "base/descriptor.h"
#include "mech/table.h"
#include "worker/peer.h"
#include "worker/select.h"

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

void adma_no_bulk(struct adma_chan *chan, int err)
{
	const struct adma_mechanism *mechanism;

	if (adma_enter(chan))
		return;
	mechanism = segment_missing_for(&chan->ep);
	if (mechanism) {
		/* The other direction has a segment of its own, which the peer makes. */
		chan->ep.send.withdrawn |= ADMA_MECH_BIT(mechanism->id);
		chan->ep.withdrawn_error[mechanism->id] = err;
	}
	adma_leave(chan);
}
