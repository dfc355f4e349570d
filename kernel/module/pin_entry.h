/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin_entry.h - pages of a process that are pinned for long, and the uses of them.
 *
 * References to an entry: the cache's, one for each use, and that of the drop work from when
 * the entry died until the work has run. Whoever puts the last one unpins the pages and
 * uncharges the user at once. The removal of the notifier may have to wait for an
 * invalidation, so it is left to a work of its own. A callback until then finds an entry
 * that nobody refers to, and does nothing. So nobody waits for the invalidations of a process
 * whose pins he drops.
 */
#ifndef ADMA_PIN_ENTRY_H
#define ADMA_PIN_ENTRY_H

#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "memlock.h"

struct adma_memory;
struct page;

/* A page-aligned part of an mm, pinned for long, with a notifier of its own. */
struct adma_pin_entry {
	struct mmu_interval_notifier notifier;
	struct interval_tree_node span; /* cache's mutex: in a tree, while cached */
	struct list_head lru;           /* cache's mutex: the same */
	bool cached;                    /* cache's mutex */
	unsigned long used;             /* cache's mutex: jiffies, when it was last seen in use */
	struct work_struct drop;
	struct work_struct remove;
	refcount_t refs;
	spinlock_t lock;                /* a leaf lock: nothing under it sleeps or allocates */
	struct list_head uses;          /* lock */
	bool live;                      /* lock: the pages are pinned, and were the mapped ones */
	bool dead;                      /* lock: the pages may not be the mapped ones any more */
	bool stuck;                     /* lock: an engine may use the pages */
	bool write;
	struct adma_charge charge;
	unsigned long count;
	struct page *pages[];
};

/* A use of pinned pages, for bytes of one range of a memory. It must not be moved. */
struct adma_pin {
	struct adma_pin_entry *entry; /* NULL: a short-term pin, or put */
	struct page **pages;          /* the first one holds start */
	unsigned long start, end;     /* addresses */
	struct list_head node;        /* entry's lock: among its uses */
	int error;                    /* entry's lock: -EFAULT, unmapped since; -ESRCH, exited */
};

static inline unsigned long adma_pin_pages(const struct adma_pin *pin)
{
	return (PAGE_ALIGN(pin->end) - (pin->start & PAGE_MASK)) >> PAGE_SHIFT;
}

/*
 * An entry of @count pages from @start on, whose pages are not pinned yet, with one
 * reference. It takes over @charge, which was made for them. NULL: no memory; then nothing was
 * uncharged.
 */
struct adma_pin_entry *adma_pin_entry_make(const struct adma_memory *memory, unsigned long start,
					   unsigned long count, const struct adma_charge *charge);

/* Free one whose notifier was never inserted. */
void adma_pin_entry_free(struct adma_pin_entry *entry);

/* Make @entry @pin's. Called with @entry's lock held. */
void adma_pin_entry_use(struct adma_pin_entry *entry, struct adma_pin *pin);

/* @pin does not use @entry any more. */
void adma_pin_entry_unuse(struct adma_pin_entry *entry, struct adma_pin *pin);

/* An engine may use its pages, which the uses keep pinned and charged. False: that is known. */
bool adma_pin_entry_stick(struct adma_pin_entry *entry);

void adma_pin_entry_put(struct adma_pin_entry *entry);

int adma_pin_entries_init(void);
/*
 * Nobody makes entries any more. Wait until all are freed: from then on no callback of theirs
 * runs, and no drop work is queued.
 */
void adma_pin_entries_wait(void);
void adma_pin_entries_exit(void);

#endif
