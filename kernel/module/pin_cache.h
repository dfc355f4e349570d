/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin_cache.h - the cache behind pin.h: which entries there are, and who may have them.
 *
 * The protocol, references and lock order are told in pin.c.
 */
#ifndef ADMA_PIN_CACHE_H
#define ADMA_PIN_CACHE_H

#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "pin.h"

struct page;
struct user_struct;

/* A page-aligned stretch of an mm, pinned for long, with a notifier of its own. */
struct adma_pin_entry {
	struct mmu_interval_notifier notifier;
	struct interval_tree_node span; /* cache's mutex: in a tree, while cached */
	struct list_head lru;           /* cache's mutex: the same */
	bool cached;                    /* cache's mutex */
	struct work_struct drop;
	struct work_struct remove;
	refcount_t refs;
	spinlock_t lock;                /* leaf */
	struct list_head uses;          /* lock */
	bool live;                      /* lock: the pages are pinned, and were the mapped ones */
	bool dead;                      /* lock: they may be so no more */
	bool stuck;                     /* lock: they stay pinned */
	bool write;
	struct user_struct *user;       /* charged for it */
	unsigned long count;
	struct page *pages[];
};

/* A live entry that covers @pin's range becomes @pin's, and is the newest. */
bool adma_pin_cache_find(struct adma_pin *pin, const struct adma_memory *memory);

/*
 * @entry's pages are pinned. True: they were the mapped ones all the time; then it is live,
 * @pin's, and there for others too.
 */
bool adma_pin_cache_settle(struct adma_pin_entry *entry, struct adma_pin *pin,
			   unsigned long sequence);

/* Out of the cache with it, if it is there. */
void adma_pin_cache_forget(struct adma_pin_entry *entry);

/* With the lock of a live entry: it is dead from here on, and dropped soon. */
void adma_pin_cache_drop(struct adma_pin_entry *entry);

/* @entry has no reference left, no page and no charge: forget it once its mm allows that. */
void adma_pin_cache_remove(struct adma_pin_entry *entry);

/* Wait until what is dead by now and unused is let go; for nobody's invalidation. */
void adma_pin_cache_flush(void);

/* Let unused entries go, oldest first, until @count pages are found: @user's, or anybody's. */
bool adma_pin_cache_evict(const struct user_struct *user, unsigned long count);

/* Down to the limit, as far as entries are unused. */
void adma_pin_cache_trim(void);

/* Of pin.c. */
void adma_pin_attach(struct adma_pin *pin, struct adma_pin_entry *entry); /* with its lock */
void adma_pin_entry_put(struct adma_pin_entry *entry);

#endif
