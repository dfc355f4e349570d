/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin_cache.h - the cache of long-term pins: which entries there are, and who may use them.
 *
 * pin.h tells the protocol. Lock order: the cache's mutex, then an entry's lock. The mutex
 * protects the trees, the LRU list, and whether an entry is cached.
 *
 * Entries that nobody uses for a while are dropped, because the user is charged for them, and may
 * want to pin something else. They are also dropped when memory is scarce: pinned pages can neither
 * be moved nor written to swap.
 */
#ifndef ADMA_PIN_CACHE_H
#define ADMA_PIN_CACHE_H

#include <linux/types.h>

#include "pin_entry.h"

struct adma_user;

/* If a live entry covers @pin's range, then it becomes @pin's, and the most recently used one. */
bool adma_pin_cache_find(struct adma_pin *pin, const struct adma_memory *memory);

/*
 * @entry's pages are pinned. True: they were the mapped ones all the time. Then @entry is
 * live, @pin's, and cached for others to find.
 */
bool adma_pin_cache_settle(struct adma_pin_entry *entry, struct adma_pin *pin,
			   unsigned long sequence);

/* Remove @entry from the cache, if it is cached. */
void adma_pin_cache_forget(struct adma_pin_entry *entry);

/* Called with the lock of a live entry: it is dead from now on, and a work forgets it. */
void adma_pin_cache_drop(struct adma_pin_entry *entry);

/*
 * Wait until all unused entries that are dead by now have been dropped. This waits for no
 * invalidation.
 */
void adma_pin_cache_flush(void);

/*
 * Drop unused entries, least recently used first, until @count pages are found. @user: only
 * those of users who share with this one, or NULL for anybody's. False: there was none.
 */
bool adma_pin_cache_evict(const struct adma_user *user, unsigned long count);

/* Evict until the cache is within its limit, as far as entries are unused. */
void adma_pin_cache_trim(void);

u64 adma_pin_cache_bytes(void); /* cached pins of all processes */
u64 adma_pin_cache_limit(void); /* the parameter */

int adma_pin_cache_init(void);
/* No use is left. Forgets all entries, and waits until they are freed. */
void adma_pin_cache_exit(void);

#endif
