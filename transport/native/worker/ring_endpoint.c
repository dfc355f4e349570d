/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring_endpoint.c - messages through the shared rings; large ones wait in slots until they are matched.
 *
 * A round takes note of what the reader did with our slots, publishes what waits in the backlog,
 * matches posted reads with the messages in the ring, and completes transfers that came to their
 * end. It copies no large message.
 */
#include "worker/ring_endpoint.h"

#include <errno.h>
#include <string.h>

#include "base/trace.h"
#include "mech/table.h"
#include "worker/peer.h"
#include "worker/ready.h"
#include "worker/request.h"
#include "worker/select.h"
#include "worker/stages.h"
#include "worker/transfer.h"

/* So many short reads, or bytes of them, are more than what the ring holds without our help. */
#define SHORT_READS_MANY (ADMA_CELLS * 3 / 4)
#define SHORT_BYTES_MANY (ADMA_BOUNCE_SIZE * 3 / 4)

static struct adma_slot *ring_out_slot(const struct adma_endpoint *ep, uint32_t index)
{
	return &ep->connection.config.local->slots[index];
}

static struct adma_slot *ring_in_slot(const struct adma_endpoint *ep, const struct adma_desc *desc)
{
	return &ep->connection.config.remote->slots[desc->u.slot.index];
}

/* ---- publishing ---- */

static int ring_find_free_slot(const struct adma_endpoint *ep)
{
	if (!ep->send.free_slots)
		return -1;
	for (int i = 0; i < ADMA_SLOTS; i++)
		if (ep->send.slots[i].use == ADMA_SLOT_FREE)
			return i;
	return -1;
}

static void ring_publish_slot(struct adma_endpoint *ep, struct adma_req *req, struct adma_desc *desc, int index)
{
	struct adma_own_slot *own = &ep->send.slots[index];
	struct adma_slot *slot = ring_out_slot(ep, (uint32_t)index);

	own->use = ADMA_SLOT_POSTED;
	own->gen++;
	own->req = req;
	ep->send.free_slots--;
	ep->send.posted_slots++;
	slot->source = (uintptr_t)req->address;
	slot->length = req->length;
	slot->offered = adma_select_offer(ep);
	adma_slot_post(slot, own->gen);
	adma_stamp(req, &req->times.published);

	desc->u.slot.index = (uint32_t)index;
	desc->u.slot.gen = own->gen;
	req->slot_index = (uint32_t)index;
	req->slot_gen = own->gen;
	__atomic_store_n(&req->state, ADMA_POSTED_STATE, __ATOMIC_RELEASE);
	ep->stats.rendezvous++;
	adma_ring_put_slot(&ep->send.ring, desc);
}

void adma_ring_count_carry(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	if (desc->carry == ADMA_INLINE)
		ep->stats.inlined++;
	else
		ep->stats.eager++;
}

/* A large message, or any with a forced mechanism. 1: it is through, or in a slot; 0: no slot is free. */
static int ring_post_slot(struct adma_endpoint *ep, struct adma_req *req, struct adma_desc *desc)
{
	int index;

	/* A part that its object announced has to go out even if nothing can carry it: the reader refuses it. */
	if (!adma_select_offer(ep) && req->kind != ADMA_PART) {
		adma_request_dequeue(ep, req);
		adma_complete(ep, req, ADMA_E_NO_MECHANISM, 0);
		return 1;
	}
	index = ring_find_free_slot(ep);
	if (index < 0)
		return 0;
	adma_request_dequeue(ep, req);
	ring_publish_slot(ep, req, desc, index);
	return 1;
}

static int ring_post(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_desc desc = {
		.length = req->length,
		.total = req->total > req->length ? req->total : req->length,
		.kind = req->kind,
		.parts = req->parts,
	};
	int rc = adma_ring_room(&ep->send.ring);

	if (rc <= 0)
		return rc;
	if (req->flags & ADMA_REQ_SLOT || adma_takes_slot(ep, req->length))
		return ring_post_slot(ep, req, &desc);
	rc = adma_ring_put(&ep->send.ring, &desc, req->address);
	if (rc <= 0)
		return rc;
	adma_ring_count_carry(ep, &desc);
	adma_request_dequeue(ep, req);
	adma_stamp(req, &req->times.published);
	adma_complete(ep, req, 0, req->length);
	return 1;
}

static void ring_published(struct adma_endpoint *ep)
{
	adma_signal_peer(ep);
}

/* ---- slots of ours: withdrawn, matched, free again ---- */

static void ring_slot_lingers(struct adma_endpoint *ep, struct adma_own_slot *own)
{
	own->use = ADMA_SLOT_LINGERS;
	own->req = NULL;
	ep->send.posted_slots--;
	ep->send.lingering_slots++;
}

/* Withdraw a posted write. True when it was in time. */
static bool ring_cancel(struct adma_endpoint *ep, struct adma_req *req)
{
	int rc = adma_slot_cancel(ring_out_slot(ep, req->slot_index), req->slot_gen);

	if (rc == -EBUSY)
		return false;
	if (rc) /* the peer spoilt the word: the slot is not used again, the endpoint is over */
		adma_terminate(ep, ADMA_E_PROTOCOL);
	ring_slot_lingers(ep, &ep->send.slots[req->slot_index]);
	adma_signal_peer(ep); /* its message may be what the peer's reads wait behind */
	return true;
}

static void ring_fail_posted(struct adma_endpoint *ep, int error)
{
	for (uint32_t i = 0; ep->send.posted_slots && i < ADMA_SLOTS; i++) {
		struct adma_req *req = ep->send.slots[i].req;

		if (ep->send.slots[i].use == ADMA_SLOT_POSTED && ring_cancel(ep, req))
			adma_complete(ep, req, error, 0);
	}
}

/* The peer spoilt the slot: no word in it tells any more what becomes of the write. */
static void ring_give_up_slot(struct adma_endpoint *ep, struct adma_own_slot *own)
{
	struct adma_req *req = own->req;

	ring_slot_lingers(ep, own);
	adma_terminate(ep, ADMA_E_PROTOCOL);
	req->held = 1; /* the peer may still read the buffer */
	adma_complete(ep, req, ADMA_E_PROTOCOL, 0);
}

/* Posted writes of ours that the peer matched become transfers. */
static bool ring_note_matches(struct adma_endpoint *ep)
{
	bool changed = false;

	for (uint32_t i = 0, left = ep->send.posted_slots; left && i < ADMA_SLOTS; i++) {
		struct adma_own_slot *own = &ep->send.slots[i];
		int state, rc = -EPROTO;

		if (own->use != ADMA_SLOT_POSTED)
			continue;
		left--;
		state = adma_slot_state(ring_out_slot(ep, i), own->gen);
		if (state == ADMA_POSTED)
			continue;
		if (state == ADMA_MATCHED || state == ADMA_DONE || state == ADMA_ABORTED)
			rc = adma_transfer_begin_write(ep, i);
		if (rc == -EPROTO)
			ring_give_up_slot(ep, own);
		changed |= rc != -ENOMEM; /* which the next look tries again */
	}
	return changed;
}

/* Slots that their reader is through with, too, are free again. */
static bool ring_note_seen(struct adma_endpoint *ep)
{
	bool changed = false;

	for (uint32_t i = 0, left = ep->send.lingering_slots; left && i < ADMA_SLOTS; i++) {
		struct adma_own_slot *own = &ep->send.slots[i];

		if (own->use != ADMA_SLOT_LINGERS)
			continue;
		left--;
		if (!adma_slot_seen(ring_out_slot(ep, i), own->gen))
			continue;
		ep->send.lingering_slots--;
		ep->send.free_slots++;
		own->use = ADMA_SLOT_FREE;
		changed = true;
	}
	return changed;
}

/* ---- the next message ---- */

/* The next message leaves the ring. An object announces the parts that come behind it. */
static void ring_take_message(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;

	if (desc->kind == ADMA_PART)
		ep->receive.parts_due--;
	else if (desc->kind == ADMA_OBJECT)
		ep->receive.parts_due = desc->parts;
	if (!ep->receive.parts_due)
		ep->receive.parts_spoilt = false;
	if (adma_ring_take(&ep->receive.ring))
		adma_signal_peer(ep);
}

/* Pass over a message that its writer withdrew. True when one went. */
static bool ring_skip_withdrawn(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	struct adma_slot *slot;
	int state;

	if (desc->carry != ADMA_SLOT)
		return false;
	slot = ring_in_slot(ep, desc);
	state = adma_slot_state(slot, desc->u.slot.gen);
	if (state == ADMA_POSTED)
		return false;
	if (state != ADMA_CANCELLED) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return false;
	}
	adma_slot_see(slot, desc->u.slot.gen);
	ring_take_message(ep);
	adma_signal_peer(ep); /* it may wait for the slot */
	return true;
}

/* Pass over a part whose object failed on its way to us. True when one went. */
static bool ring_skip_spoilt(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	int rc = 0;

	if (!ep->receive.parts_spoilt || desc->kind != ADMA_PART)
		return false;
	if (desc->carry == ADMA_SLOT)
		rc = adma_transfer_refuse(ep, desc, ECANCELED);
	if (rc == -ECANCELED)
		return true; /* it was withdrawn this moment: the next look passes over it */
	if (rc) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return false;
	}
	ring_take_message(ep);
	adma_signal_peer(ep);
	return true;
}

/* Parts follow their object, as many as it told, and nothing comes between. */
static bool ring_is_in_order(const struct adma_endpoint *ep)
{
	return (ep->receive.ring.desc.kind == ADMA_PART) == (ep->receive.parts_due > 0);
}

/* The next message that can still be had: 1, 0 or -EPROTO. */
static int ring_next_message(struct adma_endpoint *ep)
{
	int rc;

	do {
		rc = adma_ring_peek(&ep->receive.ring);
		if (rc < 0 || (rc > 0 && !ring_is_in_order(ep)))
			adma_terminate(ep, ADMA_E_PROTOCOL);
		if (ep->control.over == ADMA_E_PROTOCOL)
			return -EPROTO;
		if (rc == 0)
			return 0;
	} while (ring_skip_withdrawn(ep) || ring_skip_spoilt(ep));
	if (ep->control.over == ADMA_E_PROTOCOL)
		return -EPROTO;
	/* A peer that is gone took along what waited in its memory. */
	return !(ep->control.over && ep->receive.ring.desc.carry == ADMA_SLOT);
}

static bool ring_peek(struct adma_endpoint *ep, struct adma_message *message)
{
	if (ring_next_message(ep) <= 0)
		return false;
	message->present = 1;
	message->kind = ep->receive.ring.desc.kind;
	message->nbytes = ep->receive.ring.desc.total;
	return true;
}

static bool ring_has_message(struct adma_endpoint *ep)
{
	return ep->receive.ring.held || adma_ring_fresh(&ep->receive.ring);
}

/* ---- matching ---- */

static void ring_deliver_eager(struct adma_endpoint *ep, struct adma_req *req)
{
	uint64_t length = ep->receive.ring.desc.length;

	if (length)
		memcpy(req->address, adma_ring_payload(&ep->receive.ring), length);
	adma_trace_moment(ADMA_TRACE_MATCH, req, length, ADMA_MECH_NONE, 0);
	adma_stamp(req, &req->times.matched);
	ring_take_message(ep);
	adma_request_dequeue(ep, req);
	adma_complete(ep, req, 0, length);
}

/* Deliver the next message to the read that it matches. False: this cannot go on now. */
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
		return true; /* it was withdrawn this very moment: the next look passes over it */
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
	adma_signal_peer(ep);
	return true;
}

/* One step of matching. False when nothing more can be matched now. */
static bool ring_match_one(struct adma_endpoint *ep)
{
	const struct adma_desc *desc = &ep->receive.ring.desc;
	struct adma_req *req;

	if (ring_next_message(ep) <= 0)
		return false;
	switch (adma_match(&ep->receive.reads, desc, ADMA_KEEP, &req)) {
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
	case ADMA_TRUNCATE: /* is for the MPI layer; channels keep the message */
	case ADMA_NO_READ:
		break;
	}
	return false;
}

static bool ring_match_reads(struct adma_endpoint *ep)
{
	struct adma_req_queue *reads = &ep->receive.reads;
	uint32_t before = reads->count;
	struct adma_req *first;

	while (reads->count && ring_match_one(ep))
		;
	first = adma_req_queue_first(reads);
	/* What was published is delivered first, also to a read that is just being given its buffer. */
	if (ep->control.over && first && (ep->control.closing || first->state != ADMA_NEED_STATE))
		adma_fail_reads(ep, ep->control.over);
	return reads->count != before;
}

/* ---- a round ---- */

static bool ring_advance(struct adma_endpoint *ep)
{
	bool changed = adma_note_peer_closed(ep);

	if (ep->send.posted_slots)
		changed |= ring_note_matches(ep);
	if (ep->send.lingering_slots)
		changed |= ring_note_seen(ep);
	if (ep->send.segment_fd >= 0)
		adma_send_segment(ep);
	if (ep->send.backlog.count)
		changed |= adma_flush(ep);
	if (ep->receive.reads.count)
		changed |= ring_match_reads(ep);
	if (adma_has_transfers(ep))
		changed |= adma_transfers_complete(ep);
	if (ep->control.over && (ep->send.backlog.count || ep->send.posted_slots)) {
		adma_fail_backlog(ep, ep->control.over);
		ring_fail_posted(ep, ep->control.over);
		changed = true;
	}
	return changed;
}

static bool ring_needs_progress(const struct adma_endpoint *ep)
{
	if (ep->send.backlog.count || adma_has_transfers(ep) || ep->send.posted_slots || ep->receive.long_reads)
		return true;
	/* Short ones lie in the ring; but more of them than it holds would keep the writer waiting. */
	return ep->receive.short_reads >= SHORT_READS_MANY || ep->receive.short_bytes >= SHORT_BYTES_MANY;
}

/* Both endpoints have a large message in line, and this one is not about to read the peer's. */
static bool ring_is_stuck(struct adma_endpoint *ep)
{
	return ep->send.posted_slots && !ep->receive.reads.count && adma_ring_peek(&ep->receive.ring) > 0 &&
	       ep->receive.ring.desc.carry == ADMA_SLOT;
}

static bool ring_is_busy(const struct adma_endpoint *ep)
{
	return adma_has_transfers(ep) || ep->send.posted_slots;
}

/* ---- waiting ---- */

/* That of the first mechanism that has one: a connection has one at most. */
static int ring_data_fd(const struct adma_endpoint *ep)
{
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism(id);
		int fd = mechanism && mechanism->pollfd ? mechanism->pollfd(&ep->connection) : -1;

		if (fd >= 0)
			return fd;
	}
	return -1;
}

static short ring_events(const struct adma_endpoint *ep, bool listener)
{
	(void)listener; /* messages signal the event count */
	return adma_has_transfers(ep) ? adma_transfers_events(ep, ring_data_fd(ep)) : 0;
}

static struct adma_poll_word ring_poll_word(const struct adma_endpoint *ep)
{
	(void)ep;
	return (struct adma_poll_word){0};
}

static uint64_t ring_abandon(struct adma_endpoint *ep)
{
	uint64_t held = adma_transfers_abandon(ep);

	/* These were matched, but there was no memory for a transfer. */
	for (uint32_t i = 0; ep->send.posted_slots && i < ADMA_SLOTS; i++) {
		struct adma_own_slot *own = &ep->send.slots[i];
		struct adma_req *req = own->req;

		if (own->use != ADMA_SLOT_POSTED)
			continue;
		held += req->length;
		req->held = 1;
		ring_slot_lingers(ep, own);
		adma_complete(ep, req, ADMA_E_CLOSED_HERE, 0);
	}
	return held;
}

static void ring_close(struct adma_endpoint *ep)
{
	(void)ep; /* the segments are the channel's */
}

const struct adma_endpoint_ops adma_ring_endpoint_ops = {
	.post = ring_post,
	.published = ring_published,
	.cancel = ring_cancel,
	.peek = ring_peek,
	.has_message = ring_has_message,
	.advance = ring_advance,
	.needs_progress = ring_needs_progress,
	.is_stuck = ring_is_stuck,
	.is_busy = ring_is_busy,
	.data_fd = ring_data_fd,
	.events = ring_events,
	.poll_word = ring_poll_word,
	.abandon = ring_abandon,
	.close = ring_close,
	.ring = true,
};
