/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_send.c - our writes: publishing, withdrawing, matching, and the freeing of slots. */
#include "worker/ring_send.h"

#include <errno.h>

#include "shm/slot.h"
#include "worker/peer.h"
#include "worker/request.h"
#include "worker/select.h"
#include "worker/stages.h"
#include "worker/transfers.h"

static struct adma_slot *ring_out_slot(const struct adma_endpoint *ep, uint32_t index)
{
	return &ep->connection.config.local->slots[index];
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

/* Post a write that takes a slot. 1: it is in a slot, or has failed for good; 0: no slot is free. */
static int ring_post_slot(struct adma_endpoint *ep, struct adma_req *req, struct adma_desc *desc)
{
	int index;

	/* A part was announced, so it has to be sent even if no mechanism can carry it: then the reader refuses it. */
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

/* Relaxed: it was stored before `head`, which was read with acquire if there was room only since then. */
static bool ring_eager_is_off(const struct adma_endpoint *ep)
{
	return atomic_load_explicit(&ep->connection.config.local->eager_off, memory_order_relaxed);
}

int adma_ring_post(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_desc desc = {
		.length = req->length,
		.total = req->total > req->length ? req->total : req->length,
		.kind = req->kind,
		.parts = req->parts,
	};
	int rc = adma_ring_room(&ep->send.ring);

	if (req->kind == ADMA_TAGGED)
		desc.tag = req->tag;

	if (rc <= 0)
		return rc;
	if (req->flags & ADMA_REQ_SLOT || adma_takes_slot(ep, req->length) || ring_eager_is_off(ep))
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

void adma_ring_published(struct adma_endpoint *ep)
{
	adma_signal_peer(ep);
}

/* ---- our slots: withdrawn, matched, free again ---- */

static void ring_slot_lingers(struct adma_endpoint *ep, struct adma_own_slot *own)
{
	own->use = ADMA_SLOT_LINGERS;
	own->req = NULL;
	ep->send.posted_slots--;
	ep->send.lingering_slots++;
}

/* Withdraw a posted write. True when it was in time. */
bool adma_ring_cancel(struct adma_endpoint *ep, struct adma_req *req)
{
	int rc = adma_slot_cancel(ring_out_slot(ep, req->slot_index), req->slot_gen);

	if (rc == -EBUSY)
		return false;
	if (rc) /* the peer spoilt the word: the slot is not used again, and the endpoint is terminated */
		adma_terminate(ep, ADMA_E_PROTOCOL);
	ring_slot_lingers(ep, &ep->send.slots[req->slot_index]);
	adma_signal_peer(ep); /* this message may hold up the peer's reads */
	return true;
}

void adma_ring_fail_posted(struct adma_endpoint *ep, int error)
{
	for (uint32_t i = 0; ep->send.posted_slots && i < ADMA_SLOTS; i++) {
		struct adma_req *req = ep->send.slots[i].req;

		if (ep->send.slots[i].use == ADMA_SLOT_POSTED && adma_ring_cancel(ep, req))
			adma_complete(ep, req, error, 0);
	}
}

/* The peer spoilt the slot: its words cannot tell any more what becomes of the write. */
static void ring_give_up_slot(struct adma_endpoint *ep, struct adma_own_slot *own)
{
	struct adma_req *req = own->req;

	ring_slot_lingers(ep, own);
	adma_terminate(ep, ADMA_E_PROTOCOL);
	req->held = 1; /* the peer may still read the buffer */
	adma_complete(ep, req, ADMA_E_PROTOCOL, 0);
}

/* Our posted writes that the peer has matched become transfers. */
bool adma_ring_note_matches(struct adma_endpoint *ep)
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
		changed |= rc != -ENOMEM; /* after -ENOMEM the next look tries again */
	}
	return changed;
}

/* Lingering slots that the reader has finished with are free again. */
bool adma_ring_note_seen(struct adma_endpoint *ep)
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

uint64_t adma_ring_abandon_posted(struct adma_endpoint *ep)
{
	uint64_t held = 0;

	/* A write in one of these slots was matched, but there was no memory for a transfer. */
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
