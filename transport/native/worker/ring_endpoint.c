/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_endpoint.c - messages travel through the shared rings; large ones wait in slots until they are matched.
 *
 * A round takes note of what the reader did with our slots, publishes writes of the backlog,
 * matches posted reads with the messages in the ring, and completes transfers that are over. It
 * copies no large message.
 */
#include "worker/ring_endpoint.h"

#include "mech/table.h"
#include "worker/peer.h"
#include "worker/ready.h"
#include "worker/request.h"
#include "worker/ring_receive.h"
#include "worker/ring_send.h"
#include "worker/transfers.h"

/* The ring may not hold the messages of so many short reads, or so many bytes, without our help. */
#define SHORT_READS_MANY (ADMA_CELLS * 3 / 4)
#define SHORT_BYTES_MANY (ADMA_BOUNCE_SIZE * 3 / 4)

/* ---- a round ---- */

bool adma_ring_advance_sends(struct adma_endpoint *ep)
{
	bool changed = false;

	if (ep->send.slots.posted.count || adma_has_transfers(ep) || ep->receive.arrived_slots)
		changed |= adma_ring_note_matches(ep);
	if (ep->send.segment_fd >= 0)
		adma_send_segment(ep);
	if (ep->send.backlog.count)
		changed |= adma_flush(ep);
	return changed;
}

bool adma_ring_fail_sends(struct adma_endpoint *ep)
{
	int error = adma_send_error(ep);
	uint32_t before;

	if (!error || (!ep->send.backlog.count && !ep->send.slots.posted.count))
		return false;
	before = ep->send.pending;
	adma_fail_backlog(ep, error);
	adma_ring_fail_posted(ep, error);
	return ep->send.pending != before; /* second lives stay, and reserved slots */
}

static bool ring_advance(struct adma_endpoint *ep)
{
	bool changed = adma_note_peer_closed(ep);

	changed |= adma_note_peer_ending(ep);
	changed |= adma_ring_advance_sends(ep);
	if (ep->control.over && adma_has_transfers(ep)) /* a transfer that was broken off comes before later messages */
		changed |= adma_transfers_complete(ep);
	if (ep->receive.reads.count)
		changed |= adma_ring_match_reads(ep);
	if (adma_has_transfers(ep))
		changed |= adma_transfers_complete(ep);
	return changed | adma_ring_fail_sends(ep);
}

static bool ring_needs_progress(const struct adma_endpoint *ep)
{
	if (ep->send.backlog.count || adma_has_transfers(ep) || ep->send.slots.posted.count || ep->receive.long_reads)
		return true;
	/* The messages of short reads lie in the ring. If the ring cannot hold them all, their writer waits for us. */
	return ep->receive.short_reads >= SHORT_READS_MANY || ep->receive.short_bytes >= SHORT_BYTES_MANY;
}

/* Has each endpoint posted a large message, and is this endpoint not about to read the peer's? */
static bool ring_is_stuck(struct adma_endpoint *ep)
{
	return ep->send.slots.posted.count && !ep->receive.reads.count && adma_ring_peek(&ep->receive.ring) > 0 &&
	       ep->receive.ring.desc.carry == ADMA_SLOT;
}

void adma_ring_stop_reading(struct adma_endpoint *ep)
{
	adma_fail_reads(ep, ADMA_E_CLOSED_HERE);
}

bool adma_ring_is_busy(const struct adma_endpoint *ep)
{
	return adma_has_transfers(ep) || ep->send.slots.posted.count;
}

/* ---- waiting ---- */

/* The pollfd of the first mechanism that has one. At most one mechanism of a connection does. */
int adma_ring_data_fd(const struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism_of(&ep->connection, id);
		int fd = mechanism && mechanism->pollfd ? mechanism->pollfd(&ep->connection) : -1;

		if (fd >= 0)
			return fd;
	}
	return -1;
}

short adma_ring_events(const struct adma_endpoint *ep, bool listener)
{
	(void)listener; /* a message signals the event count */
	return adma_transfers_polled(ep) ? adma_transfers_events(ep, adma_ring_data_fd(ep)) : 0;
}

struct adma_poll_word adma_ring_poll_word(const struct adma_endpoint *ep)
{
	(void)ep;
	return (struct adma_poll_word){0};
}

void adma_ring_refresh(struct adma_endpoint *ep, struct adma_req *req)
{
	if (req->transfer)
		adma_transfer_refresh(ep, req->transfer);
}

uint64_t adma_ring_abandon(struct adma_endpoint *ep)
{
	return adma_transfers_abandon(ep) + adma_ring_abandon_posted(ep);
}

void adma_ring_close(struct adma_endpoint *ep)
{
	(void)ep; /* the channel unmaps the segments */
}

const struct adma_endpoint_ops adma_ring_endpoint_ops = {
	.post = adma_ring_post,
	.published = adma_ring_published,
	.cancel = adma_ring_cancel,
	.peek = adma_ring_peek_message,
	.skip = adma_ring_skip,
	.has_message = adma_ring_has_message,
	.advance = ring_advance,
	.needs_progress = ring_needs_progress,
	.is_stuck = ring_is_stuck,
	.stop_reading = adma_ring_stop_reading,
	.is_busy = adma_ring_is_busy,
	.data_fd = adma_ring_data_fd,
	.events = adma_ring_events,
	.polled = adma_transfers_note_polled,
	.poll_word = adma_ring_poll_word,
	.refresh = adma_ring_refresh,
	.remainder = adma_transfers_remainder,
	.abandon = adma_ring_abandon,
	.close = adma_ring_close,
	.ring = true,
};
