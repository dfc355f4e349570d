/* SPDX-License-Identifier: BSD-3-Clause */
/* ring_send.c - our writes: publishing, withdrawing, matching; and the news of slots. */
#include "worker/ring_send.h"

#include <errno.h>

#include "base/clock.h"
#include "shm/news.h"
#include "shm/slot.h"
#include "worker/arrived.h"
#include "worker/eager_limit.h"
#include "worker/peer.h"
#include "worker/request.h"
#include "worker/select.h"
#include "worker/stages.h"
#include "worker/transfers.h"

static struct adma_slot *ring_out_slot(const struct adma_endpoint *ep, uint32_t index)
{
	return adma_slot_at(ep->connection.config.local, index);
}

/* ---- publishing ---- */

static void ring_publish_slot(struct adma_endpoint *ep, struct adma_req *req, struct adma_desc *desc, uint32_t index)
{
	uint32_t gen = ep->send.slots.own[index].gen;
	uint32_t offered = adma_select_offer(ep);

	adma_slots_describe(&ep->send.slots, index, req, offered, adma_select_has_single_copy(offered));
	ep->send.slots.own[index].posted_at = req->length > ADMA_EAGER_MAX ? adma_now() : 0;
	adma_slot_post(ring_out_slot(ep, index), gen);
	adma_stamp(req, &req->times.published);

	desc->u.slot.index = index;
	desc->u.slot.gen = gen;
	desc->u.slot.posted_at = ep->send.slots.own[index].posted_at;
	req->slot_index = index;
	req->slot_gen = gen;
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
	uint32_t index;

	/* A part was announced, so it has to be sent even if no mechanism can carry it: then the reader refuses it. */
	if (!adma_select_offer(ep) && req->kind != ADMA_PART) {
		adma_drop_queued_parts(ep, req, ADMA_E_NO_MECHANISM);
		adma_request_dequeue(ep, req);
		adma_complete(ep, req, ADMA_E_NO_MECHANISM, 0);
		return 1;
	}
	index = adma_slots_take(&ep->send.slots, req);
	if (index == ADMA_SLOT_NONE)
		return 0;
	adma_request_dequeue(ep, req);
	ring_publish_slot(ep, req, desc, index);
	return 1;
}

/* It is published with its bytes, and so complete. */
static void ring_complete_eager(struct adma_endpoint *ep, struct adma_req *req, const struct adma_desc *desc)
{
	adma_ring_count_carry(ep, desc);
	adma_request_dequeue(ep, req);
	adma_stamp(req, &req->times.published);
	adma_complete(ep, req, 0, req->length);
}

int adma_ring_put_if_asked(struct adma_endpoint *ep, struct adma_desc *desc, const void *payload)
{
	if (!adma_kind_is_buffered(desc->kind) || adma_ring_eager_is_off(&ep->send.ring) ||
	    !adma_eager_limit_asks(ep, desc->length))
		return 0;
	return adma_ring_put_buffered(&ep->send.ring, desc, payload);
}

/* Post a write that is too long for the bounce ring, or has to take a slot. As ring_post_slot(); or -EPROTO. */
static int ring_post_long(struct adma_endpoint *ep, struct adma_req *req, struct adma_desc *desc)
{
	int rc = 0;

	/* Nothing is pending before it: of a window, the others would only wait for a buffer. */
	if (!(req->flags & ADMA_REQ_SLOT) && ep->send.pending == 1)
		rc = adma_ring_put_if_asked(ep, desc, req->address);
	if (rc > 0)
		ring_complete_eager(ep, req, desc);
	return rc ? rc : ring_post_slot(ep, req, desc);
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
	if (req->flags & ADMA_REQ_SLOT || adma_takes_slot(ep, req->length))
		return ring_post_long(ep, req, &desc);
	rc = adma_ring_payload_room(&ep->send.ring, req->length);
	if (rc < 0)
		return rc;
	if (adma_ring_eager_is_off(&ep->send.ring)) /* read with the counters of the consumer: see worker/arrived.h */
		return ring_post_slot(ep, req, &desc);
	if (!rc)
		return 0;
	rc = adma_ring_put(&ep->send.ring, &desc, req->address);
	if (rc <= 0)
		return rc;
	ring_complete_eager(ep, req, &desc);
	return 1;
}

void adma_ring_published(struct adma_endpoint *ep)
{
	adma_signal_peer(ep);
	adma_ask_for_drain(ep);
}

/* ---- our slots: withdrawn, matched ---- */

/* Withdraw a posted write. True when it was in time. */
static bool ring_withdraw(struct adma_endpoint *ep, struct adma_req *req, bool lost)
{
	uint32_t index = req->slot_index;
	int rc = adma_slot_cancel(ring_out_slot(ep, index), req->slot_gen, lost);

	if (rc == -EBUSY)
		return false;
	if (rc) { /* the peer spoilt the word: the slot is not used again, and the endpoint is terminated */
		adma_terminate(ep, ADMA_E_PROTOCOL);
		req->held = ep->send.slots.own[index].exposed;
	}
	adma_slots_linger(&ep->send.slots, index);
	adma_news_set(ep->connection.config.local, ADMA_NEWS_FOR_READER, index);
	adma_signal_peer(ep); /* this message may hold up the peer's reads */
	return true;
}

bool adma_ring_cancel(struct adma_endpoint *ep, struct adma_req *req)
{
	return ring_withdraw(ep, req, false);
}

static void ring_fail_one(struct adma_endpoint *ep, struct adma_req *req, int error)
{
	if (error == ADMA_E_CLOSED_HERE)
		adma_note_lost_slot(ep, req, req->slot_index);
	adma_complete(ep, req, error, 0);
}

/*
 * The peer's words do not tell any more what becomes of the write. `unsure`: it may still read the buffer, if it was
 * offered to do so itself. Returns how many bytes are kept for that.
 */
static uint64_t ring_give_up_slot(struct adma_endpoint *ep, uint32_t index, int error, bool unsure)
{
	const struct adma_own_slot *own = &ep->send.slots.own[index];
	struct adma_req *req = own->of.req;
	uint64_t held = unsure && own->exposed ? req->length : 0;

	req->held = unsure && own->exposed;
	adma_slots_linger(&ep->send.slots, index);
	adma_complete(ep, req, error, 0);
	return held;
}

/*
 * The peer reserved the message, and will not match it: it is dead, spoils its words, or has closed.
 * Before it closes, an honest peer matches what it has reserved, so the state is looked at last.
 */
static bool ring_is_left_reserved(struct adma_endpoint *ep, uint32_t index)
{
	if (!ep->control.dead && ep->control.over != ADMA_E_PROTOCOL && !adma_peer_closed(ep))
		return false;
	return adma_slot_state(ring_out_slot(ep, index), ep->send.slots.own[index].gen) == ADMA_RESERVED;
}

void adma_ring_fail_posted(struct adma_endpoint *ep, int error)
{
	struct adma_slots *slots = &ep->send.slots;

	for (uint32_t i = slots->posted.first, next; i != ADMA_SLOT_NONE; i = next) {
		struct adma_req *req = slots->own[i].of.req;

		next = slots->own[i].next; /* the slot may leave the list */
		/* A reader that takes no more messages goes on with those that it has matched. */
		if (!ep->control.over && req->refused)
			continue;
		if (ring_withdraw(ep, req, error == ADMA_E_CLOSED_HERE))
			ring_fail_one(ep, req, error);
		else if (ring_is_left_reserved(ep, i))
			(void)ring_give_up_slot(ep, i, error, ep->control.over == ADMA_E_PROTOCOL);
	}
}

/* Did our close take back the message that was published with this descriptor? The peer can spoil the descriptor. */
static bool ring_is_lost(const struct adma_endpoint *ep, const struct adma_desc *desc)
{
	const struct adma_slots *slots = &ep->send.slots;

	return desc->carry == ADMA_SLOT && desc->u.slot.index < slots->capacity &&
	       slots->own[desc->u.slot.index].lost && slots->own[desc->u.slot.index].gen == desc->u.slot.gen;
}

/*
 * The reader takes nothing that was published after a message that is lost. What it took before the
 * close may be among these: it tells how far it is only in steps.
 */
void adma_ring_note_cut_off(struct adma_endpoint *ep)
{
	const struct adma_ring_out *ring = &ep->send.ring;
	uint64_t at = ring->tail < ADMA_CELLS ? 0 : ring->tail - ADMA_CELLS;
	/* A reader that spoils its counter spoils this count. */
	uint64_t head = atomic_load_explicit(&ring->segment->head, memory_order_acquire);
	bool hole = false;

	for (; at != ring->tail; at++) {
		struct adma_desc desc;

		adma_cell_load(&ring->segment->cells[at % ADMA_CELLS], &desc);
		if (ring_is_lost(ep, &desc)) {
			hole = true;
		} else if (hole && at >= head) {
			adma_note_lost(ep, desc.kind, desc.kind == ADMA_TAGGED ? desc.length : desc.total);
		}
	}
}

/* Look at a posted slot. If the peer has matched it, its write becomes a transfer. True when anything changed. */
static bool ring_look_at_posted(struct adma_endpoint *ep, uint32_t index)
{
	int state = adma_slot_state(ring_out_slot(ep, index), ep->send.slots.own[index].gen), rc = -EPROTO;

	if (state == ADMA_POSTED || state == ADMA_RESERVED)
		return false;
	if (state == ADMA_MATCHED || state == ADMA_DONE || state == ADMA_ABORTED || state == ADMA_AGAIN)
		rc = adma_transfer_begin_write(ep, index);
	if (rc == -ENOMEM) {
		ep->send.look_again = true;
		return false;
	}
	if (rc == -EPROTO) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		(void)ring_give_up_slot(ep, index, ADMA_E_PROTOCOL, true);
	}
	return true;
}

/* ---- news ---- */

struct ring_news {
	struct adma_endpoint *ep;
	bool changed;
};

static void ring_note_news_of_ours(void *arg, uint32_t index)
{
	struct ring_news *news = arg;
	struct adma_endpoint *ep = news->ep;

	switch (ep->send.slots.own[index].use) {
	case ADMA_SLOT_POSTED:
		news->changed |= ring_look_at_posted(ep, index);
		break;
	case ADMA_SLOT_MATCHED:
		adma_transfer_note_news(ep, true, index);
		break;
	default: /* the news is late, or lies */
		break;
	}
}

static void ring_note_news_of_peers(void *arg, uint32_t index)
{
	struct ring_news *news = arg;

	adma_transfer_note_news(news->ep, false, index);
	news->changed |= adma_arrived_note_news(news->ep, index);
}

/*
 * Few posted slots are looked at directly, and few transfers, too (adma_transfers_complete()). For
 * more, news is taken. Bits that were set while there were few are still there when there are more.
 */
bool adma_ring_note_matches(struct adma_endpoint *ep)
{
	struct adma_slots *slots = &ep->send.slots;
	struct ring_news news = {.ep = ep};
	bool many_posted = slots->posted.count > ADMA_FEW, many_transfers = ep->transfers.count > ADMA_FEW;
	/* Of messages that wait in the peer's slots for a receive, news tells that they were withdrawn. */
	bool waiting = ep->receive.arrived_slots;

	if (many_posted || many_transfers)
		adma_news_take(slots->segment, ADMA_NEWS_FOR_MAKER, slots->capacity, ring_note_news_of_ours, &news);
	if (many_transfers || waiting)
		adma_news_take(ep->receive.slots.segment, ADMA_NEWS_FOR_READER, ep->receive.slots.capacity,
			       ring_note_news_of_peers, &news);
	if (many_posted && !ep->control.over && !ep->send.look_again)
		return news.changed;
	ep->send.look_again = false;
	for (uint32_t i = slots->posted.first, next; i != ADMA_SLOT_NONE; i = next) {
		next = slots->own[i].next;
		news.changed |= ring_look_at_posted(ep, i);
	}
	return news.changed;
}

uint64_t adma_ring_abandon_posted(struct adma_endpoint *ep)
{
	struct adma_slots *slots = &ep->send.slots;
	uint64_t held = 0;

	/* A write in one of these slots was matched, but there was no memory for a transfer; or it is reserved. */
	for (uint32_t i = slots->posted.first, next; i != ADMA_SLOT_NONE; i = next) {
		next = slots->own[i].next; /* the slot may leave the list */
		held += ring_give_up_slot(ep, i, ADMA_E_CLOSED_HERE, true);
	}
	return held;
}
