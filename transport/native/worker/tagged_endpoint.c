/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tagged_endpoint.c - endpoint operations for messages that match by tags.
 *
 * The send side is that of a channel (ring_send.c). The receive side differs: each round drains the
 * ring, whatever is posted, and offers each message to the queues of the worker (tags.h).
 */
#include "worker/tagged_endpoint.h"

#include <errno.h>
#include <poll.h>

#include "mech/table.h"
#include "shm/slot.h"
#include "shm/summary.h"
#include "worker/arrived.h"
#include "worker/peer.h"
#include "worker/ready.h"
#include "worker/request.h"
#include "worker/ring_endpoint.h"
#include "worker/ring_send.h"
#include "worker/tags.h"
#include "worker/transfers.h"
#include "worker/withdrawn.h"

/* So many messages one round takes: after that the other endpoints have their turn. */
#define DRAIN_MAX (2 * ADMA_CELLS)

/* ---- receive ---- */

static void tagged_take(struct adma_endpoint *ep)
{
	if (adma_ring_take(&ep->receive.ring))
		adma_signal_peer(ep);
}

/* Is the message of this slot to be passed over, because its sender has withdrawn it? 1, 0, -ENODATA: it is lost; -EPROTO. */
static int tagged_is_withdrawn(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	if (adma_peer_slots_reach(&ep->receive.slots, desc->u.slot.index))
		return -EPROTO;
	switch (adma_offer_look(ep, desc->u.slot.index, desc->u.slot.gen)) {
	case ADMA_OFFER_STANDS:
		return 0;
	case ADMA_OFFER_WITHDRAWN:
		return 1;
	case ADMA_OFFER_LOST:
		return -ENODATA;
	default:
		return -EPROTO;
	}
}

/*
 * Is the next message to be passed over? An endpoint that we are closing takes no message any more. The one
 * of a slot is lost with a peer that is gone, and so is what follows it. 1, 0, -ENODATA: it is lost; -EPROTO.
 */
static int tagged_passes_over(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	if (ep->control.draining)
		return 1;
	if (desc->carry != ADMA_SLOT)
		return 0;
	return ep->control.over ? -ENODATA : tagged_is_withdrawn(ep, desc);
}

/* Offer the message that was found in the ring. 0, or as adma_tags_offer() says. */
static int tagged_offer(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	struct adma_offer offer = {.ep = ep, .tag = desc->tag, .length = desc->length};

	if (desc->carry == ADMA_SLOT)
		offer.desc = desc;
	else
		offer.bytes = adma_ring_payload(&ep->receive.ring);
	if (desc->carry == ADMA_BUFFERED)
		offer.buffered = desc;
	return adma_tags_offer(&offer);
}

/* Take one message out of the ring. 1: it is out; 0: there is none, or it cannot be taken now; -EPROTO. */
static int tagged_take_one(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	int rc = adma_ring_peek(&ep->receive.ring);

	if (rc <= 0)
		return rc;
	if (desc->kind != ADMA_TAGGED)
		return -EPROTO;
	rc = tagged_passes_over(ep, desc);
	if (!rc)
		rc = tagged_offer(ep, desc);
	if (rc == -ECANCELED)
		return 1; /* withdrawn just now: the next look passes over it */
	if (rc < 0)
		return rc == -EPROTO ? rc : 0;
	tagged_take(ep);
	return 1;
}

/*
 * While this process computes, its progress thread drains rings that are half full, so that no sender
 * waits for that. The word is set before the ring is looked at: see adma_ask_for_drain().
 */
static void tagged_arm_drain(struct adma_endpoint *ep)
{
	_Atomic uint32_t *drains = &ep->connection.config.remote->drains;

	if (!atomic_load_explicit(drains, memory_order_relaxed))
		atomic_exchange_explicit(drains, 1, memory_order_seq_cst);
}

static bool tagged_drain(struct adma_endpoint *ep)
{
	int taken = 0, rc = 1;

	/* What arrived was dropped. The peer may still publish, and what arrived now would outlive the endpoint. */
	if (ep->receive.spoilt || ep->control.over == ADMA_E_PROTOCOL || ep->control.over == ADMA_E_CLOSED_HERE)
		return false;
	if (ep->receive.hole)
		return false;
	tagged_arm_drain(ep);
	ep->receive.swept = false;
	while (taken < DRAIN_MAX && (rc = tagged_take_one(ep)) > 0)
		taken++;
	if (rc < 0) {
		ep->receive.spoilt = true; /* also if the endpoint was terminated before, for another reason */
		adma_terminate(ep, ADMA_E_PROTOCOL);
	}
	if (taken == DRAIN_MAX && ep->bit != ADMA_NO_BIT)
		adma_summary_set(ep->worker->summary, ep->bit); /* the next round looks here again */
	return taken;
}

/* The endpoint is terminated, and what was published before is in the queues: nothing more will come. */
static void tagged_end(struct adma_endpoint *ep)
{
	if (ep->receive.ended)
		return;
	ep->receive.ended = true;
	adma_arrived_drop_source(ep, false);
	adma_tags_fail_source(ep, adma_receive_error(ep));
}

/* ---- a round ---- */

static bool tagged_advance(struct adma_endpoint *ep)
{
	bool changed = adma_note_peer_closed(ep); /* before the ring is drained */

	changed |= adma_note_peer_ending(ep);
	if (ep->control.over && adma_has_transfers(ep)) /* one that was broken off comes before later messages */
		changed |= adma_transfers_complete(ep);
	changed |= adma_ring_advance_sends(ep);
	/* A transfer that may be lost is not over: what follows it waits (see adma_is_undecided()). */
	if (ep->control.over == ADMA_E_CLOSED && ep->receive.pending)
		changed |= adma_transfers_complete(ep);
	else if (tagged_drain(ep))
		changed = true;
	else if (ep->control.over)
		tagged_end(ep);
	if (adma_has_transfers(ep))
		changed |= adma_transfers_complete(ep);
	return changed | adma_ring_fail_sends(ep);
}

static void tagged_stop_reading(struct adma_endpoint *ep)
{
	ep->receive.ended = true;
	adma_arrived_drop_source(ep, true);
	adma_tags_fail_source(ep, ADMA_E_CLOSED_HERE);
}

static bool tagged_peek(struct adma_endpoint *ep, struct adma_message *message)
{
	(void)ep, (void)message;
	return false; /* messages are found in the queues of the worker */
}

static bool tagged_has_message(struct adma_endpoint *ep)
{
	return ep->receive.arrived.count;
}

/*
 * If the peer has closed its descriptor of the kernel helper's pair, nothing that we post is carried out any more. What the
 * kernel has already, it still tells of by the descriptor.
 */
static void tagged_polled(struct adma_endpoint *ep, short revents)
{
	const struct adma_mechanism *forced = adma_mechanism(ep->connection.config.forced);

	if (!forced || !(forced->flags & ADMA_KERNEL_FIFO))
		adma_transfers_note_polled(ep, revents);
	else if (revents & (POLLHUP | POLLERR))
		adma_terminate(ep, adma_peer_closed(ep) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

static bool tagged_needs_progress(const struct adma_endpoint *ep)
{
	return ep->send.backlog.count || adma_ring_is_busy(ep);
}

static bool tagged_is_stuck(struct adma_endpoint *ep)
{
	(void)ep;
	return false; /* no message holds up another one */
}

const struct adma_endpoint_ops adma_tagged_endpoint_ops = {
	.post = adma_ring_post,
	.published = adma_ring_published,
	.cancel = adma_ring_cancel,
	.peek = tagged_peek,
	.has_message = tagged_has_message,
	.advance = tagged_advance,
	.needs_progress = tagged_needs_progress,
	.is_stuck = tagged_is_stuck,
	.stop_reading = tagged_stop_reading,
	.is_busy = adma_ring_is_busy,
	.data_fd = adma_ring_data_fd,
	.events = adma_ring_events,
	.polled = tagged_polled,
	.poll_word = adma_ring_poll_word,
	.refresh = adma_ring_refresh,
	.abandon = adma_ring_abandon,
	.close = adma_ring_close,
	.ring = true,
};
