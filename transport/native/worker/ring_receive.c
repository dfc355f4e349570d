/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_receive.c - our reads: the next message in the ring, and which posted read takes it. */
#include "worker/ring_receive.h"

#include <errno.h>
#include <string.h>

#include "base/trace.h"
#include "shm/slot.h"
#include "worker/eager_limit.h"
#include "worker/peer.h"
#include "worker/request.h"
#include "worker/stages.h"
#include "worker/transfers.h"
#include "worker/withdrawn.h"

/*
 * So many messages one call passes over or matches. The ring holds no more at one time, but a peer may publish and
 * withdraw for as long as we go on, and the lock is held meanwhile.
 */
#define RING_STEPS ADMA_CELLS

/* ---- the next message ---- */

/* One more step of this call. False: it has made enough of them, and the next one goes on. */
static bool ring_may_step(struct adma_endpoint *ep)
{
	if (!ep->receive.steps)
		return false;
	ep->receive.steps--;
	return true;
}

/* Take the next message out of the ring. An object announces the parts that follow it. */
static void ring_take_message(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;

	if (desc->kind == ADMA_PART)
		ep->receive.parts_due--;
	else if (desc->kind == ADMA_OBJECT)
		ep->receive.parts_due = desc->parts;
	if (!ep->receive.parts_due)
		ep->receive.parts_spoilt = ep->receive.parts_skipped = false;
	if (adma_ring_take(&ep->receive.ring))
		adma_signal_peer(ep);
}

/* Pass over the next message if its writer has withdrawn it. True when that was so. */
static bool ring_skip_withdrawn(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	enum adma_offer_state state = ADMA_OFFER_INVALID;

	if (desc->carry != ADMA_SLOT)
		return false;
	if (!adma_peer_slots_reach(&ep->receive.slots, desc->u.slot.index))
		state = adma_offer_look(ep, desc->u.slot.index, desc->u.slot.gen);
	if (state == ADMA_OFFER_INVALID)
		adma_terminate(ep, ADMA_E_PROTOCOL);
	if (state != ADMA_OFFER_WITHDRAWN)
		return false;
	ring_take_message(ep);
	return true;
}

/* Pass over the next message if it is a part of an object that we failed to receive. True when that was so. */
static bool ring_skip_spoilt(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	int rc = 0;

	if (!ep->receive.parts_spoilt || desc->kind != ADMA_PART || ep->receive.hole ||
	    ep->control.over == ADMA_E_PROTOCOL)
		return false;
	if (desc->carry == ADMA_SLOT)
		rc = adma_transfer_refuse(ep, desc, ep->receive.parts_skipped ? ADMA_E_TOOLONG : ECANCELED);
	if (rc == -ECANCELED)
		return true; /* it was withdrawn just now: the next look passes over it */
	if (rc) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return false;
	}
	ring_take_message(ep);
	adma_signal_peer(ep);
	return true;
}

/* As many parts as an object announced must follow it, and no other message may come between. None has a tag. */
static bool ring_is_in_order(const struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;

	return desc->kind != ADMA_TAGGED && (desc->kind == ADMA_PART) == (ep->receive.parts_due > 0);
}

/* Find the next message that a read can take: 1, 0 or -EPROTO. 0 also when no step is left. */
static int ring_next_message(struct adma_endpoint *ep)
{
	int rc;

	if (ep->receive.hole || ep->control.draining || adma_is_undecided(ep))
		return 0;
	do {
		if (!ring_may_step(ep))
			return 0;
		rc = adma_ring_peek(&ep->receive.ring);
		if (rc < 0 || (rc > 0 && !ring_is_in_order(ep))) {
			adma_terminate(ep, ADMA_E_PROTOCOL);
			return -EPROTO; /* also if it was terminated before, for another reason: nobody may use this descriptor */
		}
		if (ep->control.over == ADMA_E_PROTOCOL)
			return -EPROTO;
		if (rc == 0)
			return 0;
	} while (ring_skip_withdrawn(ep) || ring_skip_spoilt(ep));
	if (ep->control.over == ADMA_E_PROTOCOL)
		return -EPROTO;
	if (ep->receive.hole)
		return 0;
	/* The message of a slot is in the peer's memory, and is lost with the peer. */
	return !(ep->control.over && ep->receive.ring.desc.carry == ADMA_SLOT);
}

static bool ring_show_message(struct adma_endpoint *ep, struct adma_message *message)
{
	if (ring_next_message(ep) <= 0)
		return false;
	message->present = 1;
	message->kind = ep->receive.ring.desc.kind;
	message->nbytes = ep->receive.ring.desc.total;
	message->parts = ep->receive.ring.desc.parts;
	return true;
}

bool adma_ring_peek_message(struct adma_endpoint *ep, struct adma_message *message)
{
	ep->receive.steps = RING_STEPS + 1;
	return ring_show_message(ep, message);
}

/* The parts that are still to come are passed over as they come. */
static void ring_skip_parts(struct adma_endpoint *ep)
{
	ep->receive.parts_spoilt = ep->receive.parts_skipped = true;
	(void)ring_next_message(ep); /* those that are here already */
}

/* Drop the next message, whose parts stay. 0; -ECANCELED: it was withdrawn just now; -EPROTO. */
static int ring_drop_message(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	int rc = desc->carry == ADMA_SLOT ? adma_transfer_refuse(ep, desc, ADMA_E_TOOLONG) : 0;

	if (rc)
		return rc;
	ring_take_message(ep);
	adma_signal_peer(ep);
	return 0;
}

int adma_ring_skip(struct adma_endpoint *ep, struct adma_message *message)
{
	int rc;

	ep->receive.steps = RING_STEPS + 1;
	if (ep->receive.reads.count)
		return -ADMA_E_PENDING;
	if (ep->receive.parts_due && !ep->receive.parts_spoilt) {
		ring_skip_parts(ep);
		return 0;
	}
	do {
		if (!ring_show_message(ep, message))
			return -ADMA_E_PENDING;
		rc = ring_drop_message(ep);
	} while (rc == -ECANCELED); /* the next look passes over it */
	if (rc) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return -ADMA_E_PROTOCOL;
	}
	if (ep->receive.parts_due)
		ring_skip_parts(ep);
	return 0;
}

bool adma_ring_has_message(struct adma_endpoint *ep)
{
	return ep->receive.ring.held || adma_ring_fresh(&ep->receive.ring);
}

/* ---- matching ---- */

static void ring_deliver_eager(struct adma_endpoint *ep, struct adma_req *req)
{
	uint64_t length = ep->receive.ring.desc.length;

	if (length)
		memcpy(req->address, adma_ring_payload(&ep->receive.ring), length);
	if (ep->receive.ring.desc.carry == ADMA_BUFFERED)
		adma_eager_limit_took(ep, &ep->receive.ring.desc);
	adma_trace_moment(ADMA_TRACE_MATCH, req, length, ADMA_MECH_NONE, 0);
	adma_stamp(req, &req->times.matched);
	ring_take_message(ep);
	adma_request_dequeue(ep, req);
	adma_complete(ep, req, 0, length);
}

/* Deliver the next message to the read that it matches. False: that is not possible now. */
static bool ring_deliver(struct adma_endpoint *ep, struct adma_req *req)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	int rc;

	req->needed = desc->total;
	if (desc->carry != ADMA_SLOT) {
		ring_deliver_eager(ep, req);
		return true;
	}
	req->need_parts = desc->parts;
	rc = adma_transfer_begin_read(ep, req, desc);
	if (rc == -ECANCELED)
		return true; /* it was withdrawn just now: the next look passes over it */
	if (rc == -EPROTO) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return false;
	}
	adma_request_dequeue(ep, req);
	if (rc) {
		adma_complete(ep, req, -rc, 0);
		return true;
	}
	ring_take_message(ep);
	adma_signal_match(ep);
	return true;
}

/* Make one step of matching. False when nothing more can be matched now. */
static bool ring_match_one(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	enum adma_verdict verdict;
	struct adma_req *req;

	if (ring_next_message(ep) <= 0)
		return false;
	verdict = adma_match(&ep->receive.reads, desc, ADMA_KEEP, &req);
	if (desc->kind == ADMA_PART && req && req->length != desc->length) {
		adma_terminate(ep, ADMA_E_PROTOCOL); /* its object announced another size, and that has been reserved */
		return false;
	}
	switch (verdict) {
	case ADMA_ASK:
		if (req->state != ADMA_NEED_STATE)
			adma_request_ask(ep, req, desc->total, desc->length, desc->parts);
		return false;
	case ADMA_TOO_LONG:
		adma_request_refuse(ep, req, ADMA_E_TOOLONG, desc->total);
		return true;
	case ADMA_WRONG_KIND:
		adma_request_refuse(ep, req, ADMA_E_KIND, desc->total);
		return true;
	case ADMA_MATCH:
		return ring_deliver(ep, req);
	case ADMA_TRUNCATE: /* this is for the MPI layer; channels keep the message */
	case ADMA_NO_READ:
		break;
	}
	return false;
}

bool adma_ring_match_reads(struct adma_endpoint *ep)
{
	const struct adma_posted *reads = &ep->receive.reads;
	uint32_t before = reads->count;
	struct adma_req *first;

	ep->receive.steps = RING_STEPS + 1;
	while (reads->count && ring_match_one(ep))
		;
	if (!ep->receive.steps)
		return true; /* there may be more: this is no reason to sleep, nor to say that nothing comes any more */
	first = adma_first_read(reads);
	/* Published messages are delivered first, also to an open read whose caller is about to supply the buffer. */
	if (ep->control.over && first && (ep->control.closing || first->state != ADMA_NEED_STATE) &&
	    !adma_is_undecided(ep))
		adma_fail_reads(ep, adma_receive_error(ep));
	return reads->count != before;
}
