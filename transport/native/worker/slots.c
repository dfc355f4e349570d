/* SPDX-License-Identifier: BSD-3-Clause */
/* slots.c - lists of our own slots, and how there come to be more of them; see slots.h. */
#include "worker/slots.h"

#include <errno.h>
#include <stdlib.h>

#include "adma.h"
#include "base/fault.h"
#include "shm/growth.h"
#include "shm/slot.h"

/* Lingering slots that are looked at before there come to be more slots. */
#define LOOKS 8

/* ---- lists ---- */

static void slots_init_list(struct adma_slot_list *list)
{
	*list = (struct adma_slot_list){.first = ADMA_SLOT_NONE, .last = ADMA_SLOT_NONE};
}

static void slots_push_front(struct adma_slots *slots, struct adma_slot_list *list, uint32_t index)
{
	struct adma_own_slot *own = &slots->own[index];

	own->prev = ADMA_SLOT_NONE;
	own->next = list->first;
	if (list->first == ADMA_SLOT_NONE)
		list->last = index;
	else
		slots->own[list->first].prev = index;
	list->first = index;
	list->count++;
}

static void slots_push_back(struct adma_slots *slots, struct adma_slot_list *list, uint32_t index)
{
	struct adma_own_slot *own = &slots->own[index];

	own->next = ADMA_SLOT_NONE;
	own->prev = list->last;
	if (list->last == ADMA_SLOT_NONE)
		list->first = index;
	else
		slots->own[list->last].next = index;
	list->last = index;
	list->count++;
}

static void slots_remove(struct adma_slots *slots, struct adma_slot_list *list, uint32_t index)
{
	const struct adma_own_slot *own = &slots->own[index];

	if (own->prev == ADMA_SLOT_NONE)
		list->first = own->next;
	else
		slots->own[own->prev].next = own->next;
	if (own->next == ADMA_SLOT_NONE)
		list->last = own->prev;
	else
		slots->own[own->next].prev = own->prev;
	list->count--;
}

/* ---- more slots ---- */

/* Slots that were never used become free. The one with the lowest index is taken first. */
static void slots_add(struct adma_slots *slots, uint32_t capacity)
{
	for (uint32_t i = capacity; i > slots->capacity; i--) {
		slots->own[i - 1] = (struct adma_own_slot){.use = ADMA_SLOT_FREE};
		slots_push_front(slots, &slots->free, i - 1);
	}
	slots->capacity = capacity;
}

/* Twice as many slots. The pages are allocated before anything is posted in them. */
static int slots_grow(struct adma_slots *slots)
{
	uint32_t capacity = 2 * slots->capacity;
	struct adma_own_slot *own;
	int rc = ADMA_FAULT(ADMA_FAULT_GROW);

	if (rc)
		return -rc;
	own = realloc(slots->own, capacity * sizeof(*own));
	if (!own)
		return -ENOMEM;
	slots->own = own;
	rc = adma_slots_populate(slots->segment, slots->capacity, capacity);
	if (!rc)
		slots_add(slots, capacity);
	return rc;
}

int adma_slots_init(struct adma_slots *slots, struct adma_segment *segment)
{
	*slots = (struct adma_slots){.segment = segment, .limit = ADMA_SLOTS_MAX};
	slots_init_list(&slots->free);
	slots_init_list(&slots->posted);
	slots_init_list(&slots->lingering);
	slots->own = malloc(ADMA_SLOTS_FIRST * sizeof(*slots->own));
	if (!slots->own)
		return -ENOMEM;
	slots_add(slots, ADMA_SLOTS_FIRST);
	return 0;
}

void adma_slots_free(struct adma_slots *slots)
{
	free(slots->own);
	slots->own = NULL;
}

/* ---- from one use to another ---- */

/* If the reader has finished with the slot that lingers longest, it is free. Otherwise it is looked at last. */
static bool slots_look_at_lingering(struct adma_slots *slots)
{
	uint32_t index = slots->lingering.first;
	struct adma_own_slot *own = &slots->own[index];

	slots_remove(slots, &slots->lingering, index);
	if (!adma_slot_seen(adma_slot_at(slots->segment, index), own->gen)) {
		slots_push_back(slots, &slots->lingering, index);
		return false;
	}
	own->use = ADMA_SLOT_FREE;
	slots_push_front(slots, &slots->free, index);
	return true;
}

/* Look at up to so many lingering slots, until one is free. */
static bool slots_find_seen(struct adma_slots *slots, uint32_t looks)
{
	uint32_t count = slots->lingering.count;

	if (looks > count)
		looks = count;
	while (looks--)
		if (slots_look_at_lingering(slots))
			return true;
	return false;
}

/*
 * Make sure that a slot is free. Lingering slots are seen in about the order in which they came, so
 * one look usually suffices. When there can be no more slots, all lingering ones are looked at: the
 * reader signals after it has seen one, but it does not tell which.
 */
static bool slots_provide(struct adma_slots *slots)
{
	if (slots_find_seen(slots, 1) || slots->free.count || slots_find_seen(slots, LOOKS))
		return true;
	if (slots->capacity < slots->limit && slots_grow(slots))
		slots->limit = slots->capacity; /* go on with what there is */
	return slots->free.count || slots_find_seen(slots, slots->lingering.count);
}

uint32_t adma_slots_take(struct adma_slots *slots, struct adma_req *req)
{
	struct adma_own_slot *own;
	uint32_t index;

	if (!slots_provide(slots))
		return ADMA_SLOT_NONE;
	index = slots->free.first;
	own = &slots->own[index];
	slots_remove(slots, &slots->free, index);
	slots_push_back(slots, &slots->posted, index);
	own->use = ADMA_SLOT_POSTED;
	own->gen++;
	own->lost = false;
	own->of.req = req;
	return index;
}

void adma_slots_describe(struct adma_slots *slots, uint32_t index, const struct adma_req *req, uint32_t offered,
			 bool exposed)
{
	struct adma_slot *slot = adma_slot_at(slots->segment, index);

	slots->own[index].exposed = exposed;
	adma_shared_store_u64(&slot->source, exposed ? (uintptr_t)req->address : 0);
	adma_shared_store_u64(&slot->length, req->length);
	adma_shared_store_u32(&slot->offered, offered);
}

void adma_slots_matched(struct adma_slots *slots, uint32_t index)
{
	slots_remove(slots, &slots->posted, index);
	slots->own[index].use = ADMA_SLOT_MATCHED;
	slots->own[index].of.transfer = NULL;
}

void adma_slots_post_again(struct adma_slots *slots, uint32_t index, struct adma_req *req)
{
	struct adma_own_slot *own = &slots->own[index];

	slots_push_back(slots, &slots->posted, index);
	own->use = ADMA_SLOT_POSTED;
	own->gen++;
	own->of.req = req;
}

void adma_slots_linger(struct adma_slots *slots, uint32_t index)
{
	struct adma_own_slot *own = &slots->own[index];

	if (own->use == ADMA_SLOT_POSTED)
		slots_remove(slots, &slots->posted, index);
	own->use = ADMA_SLOT_LINGERS;
	own->of.req = NULL;
	slots_push_back(slots, &slots->lingering, index);
}
