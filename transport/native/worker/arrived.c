/* SPDX-License-Identifier: BSD-3-Clause */
/* arrived.c - messages that came before their receives or buffers: kept, counted, dropped; see arrived.h. */
#include "worker/arrived.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/slot.h"
#include "worker/peer.h"
#include "worker/transfers.h"
#include "worker/withdrawn.h"

/* What one ring can hold: so much may come after the peer was told to send by rendezvous. */
#define UNDER_WAY \
	(ADMA_CELLS * (sizeof(struct adma_arrived) + ADMA_INLINE_MAX) + ADMA_BOUNCE_SIZE + \
	 ADMA_BUFFERS * ADMA_BUFFER_SIZE)
#define EAGER_OFF_FROM (ADMA_ARRIVED_BYTES_MAX - UNDER_WAY)
#define EAGER_ON_BELOW (ADMA_ARRIVED_BYTES_MAX / 2)

_Static_assert(2 * UNDER_WAY <= ADMA_ARRIVED_BYTES_MAX, "the peer is not told to go on while too much is there");

static uint64_t arrived_cost(const struct adma_arrived *arrived)
{
	return sizeof(*arrived) + (arrived->slot ? 0 : arrived->message.length);
}

struct adma_arrived *adma_arrived_of(struct adma_unexpected_entry *entry)
{
	return entry ? adma_container_of(entry, struct adma_arrived, entry) : NULL;
}

struct adma_slot *adma_arrived_slot(const struct adma_arrived *arrived)
{
	return adma_slot_at(arrived->ep->connection.config.remote, arrived->slot_index);
}

struct adma_desc adma_arrived_desc(const struct adma_arrived *arrived)
{
	return (struct adma_desc){
		.length = arrived->message.length,
		.tag = arrived->message.tag,
		.kind = ADMA_TAGGED,
		.carry = ADMA_SLOT,
		.u.slot = {.index = arrived->slot_index, .gen = arrived->slot_gen},
	};
}

struct adma_offer adma_arrived_offer(const struct adma_arrived *arrived, const struct adma_desc *desc)
{
	return (struct adma_offer){
		.ep = arrived->ep,
		.tag = arrived->message.tag,
		.length = arrived->message.length,
		.bytes = arrived->bytes,
		.desc = arrived->slot ? desc : NULL,
	};
}

/*
 * Too much has arrived: tell the peer to send by rendezvous. Enough has gone: tell it that it may send eagerly
 * again. This comes before the message is taken out of the ring: a peer that sees room sees the word, too.
 */
static void arrived_limit(struct adma_endpoint *ep)
{
	struct adma_receive_side *receive = &ep->receive;
	bool off =
		receive->eager_off ? receive->arrived_bytes >= EAGER_ON_BELOW : receive->arrived_bytes > EAGER_OFF_FROM;

	if (off == receive->eager_off)
		return;
	receive->eager_off = off;
	/* Relaxed: the counters of the ring, which are stored with release after this, publish it. */
	atomic_store_explicit(&ep->connection.config.remote->eager_off, off, memory_order_relaxed);
	if (!off) /* the peer may have no slot left, and sleep until one is free */
		adma_signal_peer(ep);
}

static void arrived_leave_slot(const struct adma_arrived *arrived)
{
	struct adma_receive_side *receive = &arrived->ep->receive;

	receive->arrived_slots--;
	/* A dishonest peer may have named a slot twice. */
	if (receive->slots.arrived[arrived->slot_index] == arrived)
		receive->slots.arrived[arrived->slot_index] = NULL;
}

/* Take it out of the queue. */
void adma_arrived_leave(struct adma_arrived *arrived)
{
	struct adma_endpoint *ep = arrived->ep;

	adma_unexpected_remove(&ep->worker->tags->unexpected, &arrived->entry);
	if (arrived->slot)
		arrived_leave_slot(arrived);
	else
		ep->receive.arrived_bytes -= arrived_cost(arrived);
	if (ep->receive.eager_off)
		arrived_limit(ep);
}

void adma_arrived_drop(struct adma_arrived *arrived)
{
	adma_arrived_leave(arrived);
	free(arrived);
}

/* Drop this message and what arrived after it from the same endpoint. */
static void arrived_drop_from(struct adma_arrived *first)
{
	struct adma_list *messages = &first->ep->receive.arrived.messages;
	bool found = false;

	adma_list_for_each_safe(at, after, messages) {
		struct adma_arrived *arrived = adma_arrived_of(adma_unexpected_of(at));

		found = found || arrived == first;
		if (found)
			adma_arrived_drop(arrived);
	}
}

bool adma_arrived_drop_withdrawn(struct adma_arrived *arrived)
{
	if (!arrived->slot)
		return false;
	switch (adma_offer_look(arrived->ep, arrived->slot_index, arrived->slot_gen)) {
	case ADMA_OFFER_WITHDRAWN:
		adma_arrived_drop(arrived);
		return true;
	case ADMA_OFFER_LOST:
		arrived_drop_from(arrived);
		return true;
	default:
		return false;
	}
}

bool adma_arrived_note_news(struct adma_endpoint *ep, uint32_t slot_index)
{
	const struct adma_peer_slots *slots = &ep->receive.slots;
	struct adma_arrived *arrived = slot_index < slots->capacity ? slots->arrived[slot_index] : NULL;

	return arrived && adma_arrived_drop_withdrawn(arrived);
}

static void arrived_sweep(struct adma_endpoint *ep)
{
	adma_list_for_each_safe(at, after, &ep->receive.arrived.messages) {
		struct adma_arrived *arrived = adma_arrived_of(adma_unexpected_of(at));

		if (adma_arrived_drop_withdrawn(arrived) && ep->receive.hole)
			return; /* nothing is left behind it */
	}
}

/*
 * As many wait as may. Withdrawn ones do not count. They are looked for once in a round: a peer that withdraws one and
 * sends another one, again and again, would have us look at all of them for each. 0; -EAGAIN: in the next round.
 */
static int arrived_make_room(struct adma_endpoint *ep)
{
	struct adma_receive_side *receive = &ep->receive;

	if (receive->swept)
		return -EAGAIN;
	receive->swept = true;
	arrived_sweep(ep);
	return receive->arrived_slots < ADMA_ARRIVED_SLOTS_MAX ? 0 : -EPROTO;
}

static int arrived_admit_eager(const struct adma_receive_side *receive, uint64_t length)
{
	uint64_t bytes = receive->arrived_bytes + sizeof(struct adma_arrived) + length;

	return bytes <= ADMA_ARRIVED_BYTES_MAX ? 0 : -EPROTO;
}

/* May another message of this endpoint join the queue? 0; -EPROTO; -EAGAIN: it cannot be told in this round. */
static int arrived_admit(struct adma_endpoint *ep, const struct adma_offer *offer)
{
	struct adma_receive_side *receive = &ep->receive;

	if (!offer->desc)
		return arrived_admit_eager(receive, offer->length);
	if (ep->connection.config.same_user) /* an honest peer has each of its slots in one descriptor only */
		return receive->arrived_slots < ADMA_SLOTS_MAX ? 0 : -EPROTO;
	return receive->arrived_slots < ADMA_ARRIVED_SLOTS_MAX ? 0 : arrived_make_room(ep);
}

/* The message, which is in no queue and on no list, with its bytes if it is eager. NULL: no memory. */
static struct adma_arrived *arrived_make(const struct adma_offer *offer)
{
	uint64_t copied = offer->desc ? 0 : offer->length;
	struct adma_arrived *arrived = malloc(sizeof(*arrived) + copied);

	if (!arrived)
		return NULL;
	*arrived = (struct adma_arrived){
		.ep = offer->ep,
		.slot = offer->desc,
		.message = {.tag = offer->tag, .length = offer->length, .source = offer->ep->number},
	};
	adma_list_init(&arrived->taken);
	if (offer->desc) {
		arrived->slot_index = offer->desc->u.slot.index;
		arrived->slot_gen = offer->desc->u.slot.gen;
	}
	if (copied)
		memcpy(arrived->bytes, offer->bytes, copied);
	return arrived;
}

int adma_arrived_store(const struct adma_offer *offer)
{
	struct adma_endpoint *ep = offer->ep;
	struct adma_arrived *arrived;
	int rc = arrived_admit(ep, offer);

	if (rc)
		return rc;
	if (offer->desc && adma_peer_slots_provide(&ep->receive.slots, offer->desc->u.slot.index))
		return -ENOMEM;
	arrived = arrived_make(offer);
	if (!arrived)
		return -ENOMEM;
	if (offer->desc) {
		ep->receive.arrived_slots++;
		ep->receive.slots.arrived[arrived->slot_index] = arrived;
	} else {
		ep->receive.arrived_bytes += arrived_cost(arrived);
	}
	adma_unexpected_add(&ep->worker->tags->unexpected, &arrived->entry, &ep->receive.arrived, offer->tag);
	arrived_limit(ep);
	adma_mark(ep, ADMA_MARK_WAITERS);
	return 0;
}

int adma_arrived_take(const struct adma_offer *offer, struct adma_arrived **taken)
{
	struct adma_arrived *arrived = arrived_make(offer);
	int rc;

	if (!arrived)
		return -ENOMEM;
	/* Last of what can fail: a message that is reserved cannot stay in the ring. */
	rc = arrived->slot ? adma_slot_reserve(adma_arrived_slot(arrived), arrived->slot_gen) : 0;
	if (rc) {
		free(arrived);
		return rc;
	}
	adma_list_push_back(&offer->ep->receive.taken, &arrived->taken);
	*taken = arrived;
	return 0;
}

void adma_arrived_drop_source(struct adma_endpoint *ep, bool all)
{
	adma_list_for_each(at, &ep->receive.arrived.messages) {
		struct adma_arrived *arrived = adma_arrived_of(adma_unexpected_of(at));

		if (!all && !arrived->slot)
			continue;
		arrived_drop_from(arrived);
		break;
	}
	if (!all)
		return;
	adma_list_for_each_safe(at, after, &ep->receive.taken) {
		struct adma_arrived *arrived = adma_container_of(at, struct adma_arrived, taken);

		struct adma_desc desc = adma_arrived_desc(arrived);

		adma_list_remove(&arrived->taken);
		if (arrived->slot) /* its sender cannot withdraw it any more, and waits */
			(void)adma_transfer_refuse(ep, &desc, ADMA_E_ENDED);
		arrived->ep = NULL;
		adma_list_push_back(&ep->worker->tags->orphans, &arrived->taken);
	}
}

void adma_arrived_forget_source(struct adma_endpoint *ep)
{
	adma_list_for_each_safe(at, after, &ep->receive.arrived.messages)
		free(adma_arrived_of(adma_unexpected_of(at)));
	adma_arrived_free_taken(&ep->receive.taken);
}

void adma_arrived_free_taken(struct adma_list *list)
{
	adma_list_for_each_safe(at, after, list)
		free(adma_container_of(at, struct adma_arrived, taken));
}
