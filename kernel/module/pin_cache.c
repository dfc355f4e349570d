// SPDX-License-Identifier: GPL-2.0
/* pin_cache.c - the cache of long-term pins; see pin_cache.h. */
#include <linux/hash.h>
#include <linux/interval_tree.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/shrinker.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "counters.h"
#include "memory.h"
#include "pin_cache.h"
#include "pin_entry.h"
#include "user.h"

static unsigned long pin_limit = 256 << 20;
module_param(pin_limit, ulong, 0644);
MODULE_PARM_DESC(pin_limit, "bytes that the pin cache keeps in all");

static unsigned int pin_idle_ms = 10000;
module_param(pin_idle_ms, uint, 0644);
MODULE_PARM_DESC(pin_idle_ms, "pins that are not used for so long are dropped from the cache; 0: they stay");

/*
 * Entries overlap: a buffer and a part of it, or the same buffer to be read and to be
 * written. An entry that covers a wanted range does as well as an equal one: hence interval
 * trees. Many processes have their memory at much the same addresses, so there are several
 * trees. Each mm has its own unless hashes collide, and a look-up rarely passes entries of
 * another process.
 */
#define TREE_BITS 8
static struct rb_root_cached trees[1 << TREE_BITS]; /* mutex */
static LIST_HEAD(lru);                              /* mutex: oldest first */
static unsigned long cached_pages;                  /* mutex */
static DEFINE_MUTEX(mutex);
static LIST_HEAD(shrunk);                           /* mutex: removed, to be put by a work */
static struct workqueue_struct *drops;
static struct shrinker *shrinker;

u64 adma_pin_cache_limit(void)
{
	return READ_ONCE(pin_limit);
}

u64 adma_pin_cache_bytes(void)
{
	return (u64)READ_ONCE(cached_pages) << PAGE_SHIFT;
}

/* ---- removal ---- */

/* Called with the mutex. */
static void pin_cache_used(struct adma_pin_entry *entry)
{
	entry->used = jiffies;
	list_move_tail(&entry->lru, &lru);
}

/* Called with the mutex. The cache's reference goes over to @victims. */
static void pin_cache_remove(struct adma_pin_entry *entry, struct rb_root_cached *tree,
			     struct list_head *victims)
{
	interval_tree_remove(&entry->span, tree);
	entry->cached = false;
	WRITE_ONCE(cached_pages, cached_pages - entry->count);
	list_move_tail(&entry->lru, victims);
}

/* Called without the mutex. */
static void pin_cache_put_all(struct list_head *victims)
{
	struct adma_pin_entry *entry, *next;

	list_for_each_entry_safe(entry, next, victims, lru)
		adma_pin_entry_put(entry);
}

static struct rb_root_cached *pin_cache_tree(const struct mm_struct *mm)
{
	return &trees[hash_ptr(mm, TREE_BITS)];
}

void adma_pin_cache_forget(struct adma_pin_entry *entry)
{
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	if (entry->cached)
		pin_cache_remove(entry, pin_cache_tree(entry->notifier.mm), &victims);
	mutex_unlock(&mutex);
	pin_cache_put_all(&victims);
}

static void pin_cache_drop_work(struct work_struct *work)
{
	struct adma_pin_entry *entry = container_of(work, struct adma_pin_entry, drop);

	adma_pin_cache_forget(entry);
	adma_pin_entry_put(entry);
}

void adma_pin_cache_drop(struct adma_pin_entry *entry)
{
	if (!refcount_inc_not_zero(&entry->refs))
		return; /* the last reference is gone already */
	adma_tally_add(NULL, ADMA_COUNT_INVALIDATIONS, 1);
	WRITE_ONCE(entry->dead, true);
	INIT_WORK(&entry->drop, pin_cache_drop_work);
	queue_work(drops, &entry->drop);
}

void adma_pin_cache_flush(void)
{
	flush_workqueue(drops);
}

/*
 * Called with the mutex. An entry without a use does not get one meanwhile: to find it takes
 * the mutex, and to share it takes a use.
 */
static bool pin_cache_in_use(struct adma_pin_entry *entry)
{
	bool used;

	spin_lock(&entry->lock);
	used = !list_empty(&entry->uses);
	spin_unlock(&entry->lock);
	return used;
}

/* Would its end make room within @user's limits? */
static bool pin_cache_frees(const struct adma_pin_entry *entry, const struct adma_user *user)
{
	return !entry->charge.free && adma_user_shares(user, entry->charge.poster);
}

/* Called with the mutex. Removes unused entries of @count pages or more; returns of how many. */
static unsigned long pin_cache_remove_unused(const struct adma_user *user, unsigned long count,
					     struct list_head *victims)
{
	struct adma_pin_entry *entry, *next;
	unsigned long found = 0;

	list_for_each_entry_safe(entry, next, &lru, lru) {
		if (found >= count)
			break;
		if ((user && !pin_cache_frees(entry, user)) || pin_cache_in_use(entry))
			continue;
		found += entry->count;
		pin_cache_remove(entry, pin_cache_tree(entry->notifier.mm), victims);
	}
	return found;
}

bool adma_pin_cache_evict(const struct adma_user *user, unsigned long count)
{
	unsigned long found;
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	found = pin_cache_remove_unused(user, count, &victims);
	mutex_unlock(&mutex);
	pin_cache_put_all(&victims);
	return found;
}

/* Entries in use may exceed the limit: RLIMIT_MEMLOCK bounds them. */
void adma_pin_cache_trim(void)
{
	unsigned long limit = READ_ONCE(pin_limit) >> PAGE_SHIFT;
	unsigned long cached = READ_ONCE(cached_pages);

	if (cached > limit)
		adma_pin_cache_evict(NULL, cached - limit);
}

/* ---- pins that nobody uses ---- */

/*
 * Called with the mutex. The list is in the order of `used`. What is in use now is used last; so
 * the walk ends at the first entry that has been moved.
 */
static void pin_cache_remove_idle(unsigned long idle, struct list_head *victims)
{
	struct adma_pin_entry *entry, *next;

	list_for_each_entry_safe(entry, next, &lru, lru) {
		if (time_before(jiffies, entry->used + idle))
			return;
		if (pin_cache_in_use(entry))
			pin_cache_used(entry);
		else
			pin_cache_remove(entry, pin_cache_tree(entry->notifier.mm), victims);
	}
}

static void pin_cache_idle_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(idle_work, pin_cache_idle_work);

/* Looks again after a part of the time that pins may be idle, as long as there are any. */
static void pin_cache_look_later(void)
{
	unsigned long idle = msecs_to_jiffies(READ_ONCE(pin_idle_ms));

	queue_delayed_work(drops, &idle_work, clamp_t(unsigned long, idle / 4, 1, 5 * HZ));
}

static void pin_cache_idle_work(struct work_struct *work)
{
	unsigned long idle = msecs_to_jiffies(READ_ONCE(pin_idle_ms));
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	if (idle)
		pin_cache_remove_idle(idle, &victims);
	if (!list_empty(&lru))
		pin_cache_look_later();
	mutex_unlock(&mutex);
	pin_cache_put_all(&victims);
}

/* ---- memory is scarce ---- */

static unsigned long pin_cache_count(struct shrinker *unused, struct shrink_control *control)
{
	return READ_ONCE(cached_pages) ?: SHRINK_EMPTY;
}

static void pin_cache_shrink_work(struct work_struct *work)
{
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	list_splice_init(&shrunk, &victims);
	mutex_unlock(&mutex);
	pin_cache_put_all(&victims);
}

static DECLARE_WORK(shrink_work, pin_cache_shrink_work);

/*
 * To unpin may take page locks, which whoever needs memory may hold: so a work does that. For the
 * same reason the mutex is not waited for, though nothing under it needs memory.
 */
static unsigned long pin_cache_scan(struct shrinker *unused, struct shrink_control *control)
{
	unsigned long found;

	if (!mutex_trylock(&mutex))
		return SHRINK_STOP;
	found = pin_cache_remove_unused(NULL, control->nr_to_scan, &shrunk);
	if (found)
		queue_work(drops, &shrink_work);
	mutex_unlock(&mutex);
	return found ?: SHRINK_STOP;
}

/* ---- look-up and insertion ---- */

/* Called with the mutex. */
static struct adma_pin_entry *pin_cache_covering(const struct mm_struct *mm, unsigned long first,
						 unsigned long last, bool write)
{
	struct interval_tree_node *node;
	struct adma_pin_entry *entry;

	node = interval_tree_iter_first(pin_cache_tree(mm), first, first);
	for (; node; node = interval_tree_iter_next(node, first, first)) {
		entry = container_of(node, struct adma_pin_entry, span);
		if (entry->notifier.mm == mm && node->last >= last && entry->write >= write &&
		    !READ_ONCE(entry->dead))
			return entry;
	}
	return NULL;
}

bool adma_pin_cache_find(struct adma_pin *pin, const struct adma_memory *memory)
{
	struct adma_pin_entry *entry;
	bool found = false;

	mutex_lock(&mutex);
	entry = pin_cache_covering(memory->mm, pin->start & PAGE_MASK, PAGE_ALIGN(pin->end) - 1,
				   memory->write);
	if (entry) {
		pin_cache_used(entry);
		spin_lock(&entry->lock);
		found = !entry->dead;
		if (found)
			adma_pin_entry_use(entry, pin);
		spin_unlock(&entry->lock);
	}
	mutex_unlock(&mutex);
	return found;
}

/*
 * Called with the mutex. If another thread was faster to insert an entry that does as well,
 * then @entry is not cached: only its maker uses it. Entries that @entry makes superfluous
 * are removed.
 */
static void pin_cache_insert(struct adma_pin_entry *entry, struct list_head *victims)
{
	unsigned long first = entry->span.start, last = entry->span.last;
	struct mm_struct *mm = entry->notifier.mm;
	struct rb_root_cached *tree = pin_cache_tree(mm);
	struct interval_tree_node *node, *next;
	struct adma_pin_entry *other;

	if (pin_cache_covering(mm, first, last, entry->write))
		return;
	for (node = interval_tree_iter_first(tree, first, last); node; node = next) {
		next = interval_tree_iter_next(node, first, last);
		other = container_of(node, struct adma_pin_entry, span);
		if (other->notifier.mm == mm && node->start >= first && node->last <= last &&
		    other->write <= entry->write)
			pin_cache_remove(other, tree, victims);
	}
	refcount_inc(&entry->refs);
	interval_tree_insert(&entry->span, tree);
	entry->cached = true;
	WRITE_ONCE(cached_pages, cached_pages + entry->count);
	pin_cache_used(entry);
	pin_cache_look_later();
}

bool adma_pin_cache_settle(struct adma_pin_entry *entry, struct adma_pin *pin,
			   unsigned long sequence)
{
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	spin_lock(&entry->lock);
	entry->live = !mmu_interval_read_retry(&entry->notifier, sequence);
	if (entry->live)
		adma_pin_entry_use(entry, pin);
	spin_unlock(&entry->lock);
	if (pin->entry)
		pin_cache_insert(entry, &victims);
	mutex_unlock(&mutex);
	pin_cache_put_all(&victims);
	return pin->entry;
}

/* ---- module ---- */

int adma_pin_cache_init(void)
{
	drops = alloc_workqueue("adma_pins", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!drops)
		return -ENOMEM;
	shrinker = adma_shrinker_make("adma_pins", pin_cache_count, pin_cache_scan);
	if (!shrinker) {
		destroy_workqueue(drops);
		return -ENOMEM;
	}
	return 0;
}

void adma_pin_cache_exit(void)
{
	adma_shrinker_free(shrinker);
	adma_pin_cache_evict(NULL, ULONG_MAX);
	cancel_delayed_work_sync(&idle_work);
	/* A callback may be about to queue a drop, although its entry is not cached any more. */
	adma_pin_entries_wait();
	destroy_workqueue(drops);
}
