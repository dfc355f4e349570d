// SPDX-License-Identifier: GPL-2.0
/* pin_entry.c - pages that are pinned for long, and the uses of them; see pin_entry.h. */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "counters.h"
#include "memlock.h"
#include "memory.h"
#include "pin_entry.h"

/* Each removal may have to wait for an invalidation, for as long as the process of it likes. */
static struct workqueue_struct *removals;
static atomic_t entries_left; /* that are not freed yet */

struct adma_pin_entry *adma_pin_entry_make(const struct adma_memory *memory, unsigned long start,
					   unsigned long count, const struct adma_charge *charge)
{
	struct adma_pin_entry *entry;

	entry = kvzalloc(struct_size(entry, pages, count), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return NULL;
	entry->span.start = start;
	entry->span.last = start + (count << PAGE_SHIFT) - 1;
	INIT_LIST_HEAD(&entry->lru);
	refcount_set(&entry->refs, 1);
	spin_lock_init(&entry->lock);
	INIT_LIST_HEAD(&entry->uses);
	entry->write = memory->write;
	entry->charge = *charge;
	entry->count = count;
	atomic_inc(&entries_left);
	return entry;
}

static void pin_entry_end(struct adma_pin_entry *entry)
{
	kvfree(entry);
	if (atomic_dec_and_test(&entries_left))
		wake_up_var(&entries_left);
}

void adma_pin_entry_free(struct adma_pin_entry *entry)
{
	adma_memlock_uncharge(&entry->charge);
	pin_entry_end(entry);
}

/* ---- uses ---- */

void adma_pin_entry_use(struct adma_pin_entry *entry, struct adma_pin *pin)
{
	refcount_inc(&entry->refs);
	pin->entry = entry;
	pin->pages = &entry->pages[(pin->start - entry->span.start) >> PAGE_SHIFT];
	pin->error = 0;
	list_add(&pin->node, &entry->uses);
}

void adma_pin_entry_unuse(struct adma_pin_entry *entry, struct adma_pin *pin)
{
	spin_lock(&entry->lock);
	list_del(&pin->node);
	spin_unlock(&entry->lock);
	pin->entry = NULL;
	adma_pin_entry_put(entry);
}

bool adma_pin_entry_stick(struct adma_pin_entry *entry)
{
	bool was_stuck;

	spin_lock(&entry->lock);
	was_stuck = entry->stuck;
	entry->stuck = true;
	WRITE_ONCE(entry->dead, true);
	spin_unlock(&entry->lock);
	return !was_stuck;
}

/* ---- the last reference ---- */

static void pin_entry_release(struct adma_pin_entry *entry)
{
	if (entry->live) {
		unpin_user_pages_dirty_lock(entry->pages, entry->count, entry->write);
		adma_tally_add(NULL, ADMA_COUNT_PAGES_UNPINNED, entry->count);
	}
	adma_memlock_uncharge(&entry->charge);
}

static void pin_entry_remove(struct work_struct *work)
{
	struct adma_pin_entry *entry = container_of(work, struct adma_pin_entry, remove);

	mmu_interval_notifier_remove(&entry->notifier);
	pin_entry_end(entry);
}

void adma_pin_entry_put(struct adma_pin_entry *entry)
{
	if (!refcount_dec_and_test(&entry->refs))
		return;
	pin_entry_release(entry);
	INIT_WORK(&entry->remove, pin_entry_remove);
	queue_work(removals, &entry->remove);
}

/* ---- module ---- */

int adma_pin_entries_init(void)
{
	removals = alloc_workqueue("adma_pins_remove", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return removals ? 0 : -ENOMEM;
}

void adma_pin_entries_wait(void)
{
	wait_var_event(&entries_left, !atomic_read(&entries_left));
}

void adma_pin_entries_exit(void)
{
	destroy_workqueue(removals);
}
