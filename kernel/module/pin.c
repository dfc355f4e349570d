// SPDX-License-Identifier: GPL-2.0
/* pin.c - makes pins, shares them, and puts them; see pin.h. */
#include <linux/err.h>
#include <linux/mmu_notifier.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "counters.h"
#include "memlock.h"
#include "memory.h"
#include "pin.h"
#include "pin_cache.h"
#include "pin_entry.h"
#include "pin_pages.h"

/* How often pinning is tried again because an invalidation came in between. */
#define TRIES 64

/* ---- the notifier ---- */

/* What an invalidation means for running copies: nothing, or that their memory is gone. */
static int pin_error_of(const struct mmu_notifier_range *range)
{
	switch (range->event) {
	case MMU_NOTIFY_UNMAP:
		return -EFAULT;
	case MMU_NOTIFY_RELEASE:
		return -ESRCH;
	default:
		return 0;
	}
}

static bool pin_invalidate(struct mmu_interval_notifier *notifier,
			   const struct mmu_notifier_range *range, unsigned long sequence)
{
	struct adma_pin_entry *entry = container_of(notifier, struct adma_pin_entry, notifier);
	int error = pin_error_of(range);
	struct adma_pin *pin;

	spin_lock(&entry->lock);
	mmu_interval_set_seq(notifier, sequence);
	if (error) {
		list_for_each_entry(pin, &entry->uses, node) {
			if (pin->start < range->end && pin->end > range->start)
				pin->error = pin->error ?: error;
		}
	}
	if (entry->live && !entry->dead)
		adma_pin_cache_drop(entry);
	spin_unlock(&entry->lock);
	return true;
}

static const struct mmu_interval_notifier_ops pin_notifier_operations = {
	.invalidate = pin_invalidate,
};

/* ---- new entries ---- */

/* Charges for @count pages, or for as many as the limit allows. 0: not for one. */
static unsigned long pin_reserve(struct adma_charge *charge, const struct adma_memory *memory,
				 unsigned long count)
{
	bool waited = false;

	/* Both sides of a transfer often belong to one user. */
	count = min(count, max(memory->memlock / 2, 1UL));
	while (!adma_memlock_charge(charge, memory, count)) {
		if (adma_pin_cache_evict(memory->poster, count))
			continue;
		if (!waited) {
			adma_pin_cache_flush(); /* dead entries are charged until dropped */
			waited = true;
			continue;
		}
		count = min(count - 1, adma_memlock_room(memory));
		if (!count)
			break;
	}
	return count;
}

static struct adma_pin_entry *pin_make_entry(const struct adma_memory *memory, unsigned long start,
					     unsigned long count)
{
	struct adma_pin_entry *entry;
	struct adma_charge charge;

	count = pin_reserve(&charge, memory, count);
	if (!count)
		return ERR_PTR(-ENOMEM);
	entry = adma_pin_entry_make(memory, start, count, &charge);
	if (!entry) {
		adma_memlock_uncharge(&charge);
		return ERR_PTR(-ENOMEM);
	}
	return entry;
}

static int pin_fill_entry(struct adma_pin_entry *entry, struct adma_pin *pin,
			  const struct adma_memory *memory)
{
	unsigned long sequence;
	unsigned int tries;
	bool fit;
	int error;

	for (tries = 0; tries < TRIES; tries++) {
		sequence = mmu_interval_read_begin(&entry->notifier);
		error = adma_pages_pin(memory, entry->span.start, entry->count, FOLL_LONGTERM,
				       entry->pages);
		if (error == -EAGAIN && memory->wait == ADMA_PIN_WAIT) {
			error = adma_pages_fault_in(memory, entry->span.start, entry->count, true,
						    entry->pages);
			if (!error)
				continue; /* they are present, or were: memory may be scarce */
		}
		if (error)
			return error;
		fit = !entry->write ||
		      adma_memory_fit(memory->mm, entry->span.start, entry->span.last + 1);
		if (fit && adma_pin_cache_settle(entry, pin, sequence))
			return 0;
		unpin_user_pages(entry->pages, entry->count);
		if (!fit)
			break;
	}
	return -EOPNOTSUPP;
}

static int pin_anew(struct adma_pin *pin, const struct adma_memory *memory)
{
	unsigned long start = pin->start & PAGE_MASK;
	struct adma_pin_entry *entry = pin_make_entry(memory, start, adma_pin_pages(pin));
	int error;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	error = mmu_interval_notifier_insert(&entry->notifier, memory->mm, start,
					     entry->count << PAGE_SHIFT, &pin_notifier_operations);
	if (error) {
		adma_pin_entry_free(entry);
		return error;
	}
	pin->end = min(pin->end, entry->span.last + 1);
	error = pin_fill_entry(entry, pin, memory);
	if (!error)
		adma_tally_add(memory->tally, ADMA_COUNT_PAGES_PINNED, entry->count);
	adma_pin_entry_put(entry);
	return error;
}

/* ---- long-term pins ---- */

int adma_pin_get(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		 unsigned long end)
{
	int error;

	pin->entry = NULL;
	pin->start = start;
	pin->end = end;
	if (adma_pin_cache_find(pin, memory)) {
		adma_tally_add(memory->tally, ADMA_COUNT_PIN_HITS, 1);
		return 0;
	}
	if (memory->wait == ADMA_PIN_NOWAIT)
		return -EAGAIN;
	error = pin_anew(pin, memory);
	if (error)
		return error;
	adma_tally_add(memory->tally, ADMA_COUNT_PIN_MISSES, 1);
	adma_pin_cache_trim();
	return 0;
}

int adma_pin_share(struct adma_pin *pin, const struct adma_pin *held, unsigned long start,
		   unsigned long end)
{
	struct adma_pin_entry *entry = held->entry;
	int error = 0;

	pin->start = start;
	pin->end = min(end, held->end);
	spin_lock(&entry->lock);
	if (held->error)
		error = held->error;
	else if (entry->dead)
		error = -EAGAIN;
	else
		adma_pin_entry_use(entry, pin);
	spin_unlock(&entry->lock);
	return error;
}

/* ---- short-term pins ---- */

int adma_pin_get_short(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		       unsigned long end)
{
	unsigned long count;
	int error;

	pin->entry = NULL;
	pin->start = start;
	pin->end = end;
	count = adma_pin_pages(pin);
	pin->pages = kvmalloc_array(count, sizeof(*pin->pages), GFP_KERNEL);
	if (!pin->pages)
		return -ENOMEM;
	error = adma_pages_pin(memory, start & PAGE_MASK, count, 0, pin->pages);
	if (error) {
		kvfree(pin->pages);
		return error;
	}
	adma_tally_add(memory->tally, ADMA_COUNT_PAGES_PINNED, count);
	return 0;
}

static void pin_put_short(struct adma_pin *pin, struct adma_memory *memory)
{
	unsigned long count = adma_pin_pages(pin);

	unpin_user_pages_dirty_lock(pin->pages, count, memory->write);
	adma_tally_add(memory->tally, ADMA_COUNT_PAGES_UNPINNED, count);
	kvfree(pin->pages);
}

int adma_pin_fault_in(struct adma_memory *memory, unsigned long start, unsigned long end)
{
	unsigned long first = start & PAGE_MASK;
	unsigned long count = (PAGE_ALIGN(end) - first) >> PAGE_SHIFT;
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	int error;

	if (!pages)
		return -ENOMEM;
	error = adma_pages_fault_in(memory, first, count, false, pages);
	kvfree(pages);
	return error;
}

/* ---- put ---- */

int adma_pin_put(struct adma_pin *pin, struct adma_memory *memory)
{
	if (!pin->entry) {
		pin_put_short(pin, memory);
		return 0;
	}
	adma_pin_entry_unuse(pin->entry, pin);
	adma_pin_cache_trim();
	return pin->error;
}

void adma_pin_abandon(struct adma_pin *pin, struct adma_memory *memory)
{
	struct adma_pin_entry *entry = pin->entry;

	if (adma_pin_entry_stick(entry))
		adma_tally_add(memory->tally, ADMA_COUNT_PAGES_STUCK, entry->count);
	adma_pin_cache_forget(entry);
}

void adma_pin_put_abandoned(struct adma_pin *pin)
{
	adma_pin_entry_unuse(pin->entry, pin);
}
