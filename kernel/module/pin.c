// SPDX-License-Identifier: GPL-2.0
/*
 * pin.c - the pin cache; see pin.h. Its protocol is that of tests/model/pin.pml.
 *
 * An entry is a page-aligned stretch of an mm, pinned for long, and a notifier
 * of its own for it. The notifier is called before any page table entry of the stretch
 * changes; then the entry is dead: it serves nobody who comes later, and a work drops it from
 * the cache. Whoever copies at that time ends in the old pages, which it keeps pinned.
 *
 * That includes the end of copy-on-write. A read-only pin may be of a page that the next write
 * replaces: the zero page, or one of a private file mapping (up to 6.1 pinning unshares
 * anonymous pages only). But wp_page_copy(), hugetlb_wp() and the split of the huge
 * zero page invalidate (MMU_NOTIFY_CLEAR) before they replace, so such an entry dies, and
 * what was written is seen by the next copy.
 *
 * References: the cache's, one for each use, and the work's from when the entry died until
 * it ran. The last one removes the notifier, then unpins, then uncharges.
 *
 * Locks, the outer one first:
 *   mutex                 trees, LRU list, whether an entry is cached
 *   adma_pin_entry.lock   uses and state of an entry; taken by the notifier, so
 *                         that it is a leaf and nothing may sleep or allocate under it
 * Neither is held, nor is mmap_lock, where the mm layer may wait for an invalidation:
 * mmu_interval_notifier_insert(), mmu_interval_read_begin(), mmu_interval_notifier_remove().
 * mmap_lock is taken for the pinning proper, with nothing else held.
 */
#include <linux/err.h>
#include <linux/hash.h>
#include <linux/interval_tree.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "counters.h"
#include "pin.h"

static unsigned long pin_limit = 256 << 20;
module_param(pin_limit, ulong, 0644);
MODULE_PARM_DESC(pin_limit, "bytes that the pin cache keeps in all");

/* Pinning is tried anew when an invalidation came between; not for ever. */
#define TRIES 64

struct adma_pin_entry {
	struct mmu_interval_notifier notifier;
	struct interval_tree_node span; /* mutex: in a tree, while cached */
	struct list_head lru;           /* mutex: the same */
	bool cached;                    /* mutex */
	struct work_struct drop;
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

/*
 * Entries overlap (a buffer and a part of it, read and written), and one that covers a
 * wanted range is as good as an equal one: hence interval trees. Many processes have their
 * memory at much the same addresses, so there are several, and each mm has its own
 * unless their hashes collide: a look-up goes down one tree past few that do not fit.
 */
#define TREE_BITS 8
static struct rb_root_cached trees[1 << TREE_BITS]; /* mutex */
static LIST_HEAD(lru);                              /* mutex: oldest first */
static unsigned long cached_pages;                  /* mutex */
static DEFINE_MUTEX(mutex);
static struct workqueue_struct *drops;

u64 adma_pin_limit(void)
{
	return READ_ONCE(pin_limit);
}

u64 adma_pins_cached(void)
{
	return (u64)READ_ONCE(cached_pages) << PAGE_SHIFT;
}

/* ---- pages ---- */

static long pin_some(struct mm_struct *mm, unsigned long start, unsigned long count,
		     unsigned int flags, struct page **pages)
{
	int locked = 1;
	long pinned;

	if (mm == current->mm)
		return pin_user_pages_fast(start, count, flags, pages);
	if (mmap_read_lock_killable(mm))
		return -EINTR;
	pinned = adma_pin_user_pages_remote(mm, start, count, flags, pages, &locked);
	if (locked)
		mmap_read_unlock(mm);
	return pinned;
}

/* All or nothing. */
static int pin_pages(const struct adma_memory *memory, unsigned long start, unsigned long count,
		     unsigned int flags, struct page **pages)
{
	unsigned long done = 0;
	long pinned;

	if (memory->write)
		flags |= FOLL_WRITE;
	while (done < count) {
		pinned = pin_some(memory->mm, start + (done << PAGE_SHIFT), count - done, flags,
				  pages + done);
		if (pinned <= 0)
			goto fail;
		done += pinned;
	}
	return 0;

fail:
	unpin_user_pages(pages, done);
	switch (pinned) {
	case -EINTR:
	case -ENOMEM:
	case -EFAULT:
		return pinned;
	case 0:
	case -EHWPOISON:
		return -EFAULT;
	default: /* a DAX file, or a page that cannot be moved to where it may stay */
		return -EOPNOTSUPP;
	}
}

/* ---- charges ---- */

static bool charge(const struct adma_memory *memory, unsigned long count)
{
	atomic_long_t *locked = &memory->user->locked_vm;
	long now = atomic_long_read(locked);

	do {
		if (count > memory->memlock || now > memory->memlock - count)
			return false;
	} while (!atomic_long_try_cmpxchg(locked, &now, now + count));
	return true;
}

static void uncharge(struct user_struct *user, unsigned long count)
{
	atomic_long_sub(count, &user->locked_vm);
}

static unsigned long room(const struct adma_memory *memory)
{
	unsigned long now = atomic_long_read(&memory->user->locked_vm);

	return memory->memlock > now ? memory->memlock - now : 0;
}

/* ---- the end of entries ---- */

static void discard(struct adma_pin_entry *entry)
{
	uncharge(entry->user, entry->count);
	free_uid(entry->user);
	kvfree(entry);
}

static void put(struct adma_pin_entry *entry)
{
	if (!refcount_dec_and_test(&entry->refs))
		return;
	mmu_interval_notifier_remove(&entry->notifier);
	if (entry->stuck) {
		kvfree(entry); /* the charge stays, and the user with it */
		return;
	}
	if (entry->live) {
		unpin_user_pages_dirty_lock(entry->pages, entry->count, entry->write);
		adma_tally_add(NULL, ADMA_COUNT_PAGES_UNPINNED, entry->count);
	}
	discard(entry);
}

/* With the mutex. The cache's reference goes to the list. */
static void uncache(struct adma_pin_entry *entry, struct rb_root_cached *tree,
		    struct list_head *victims)
{
	interval_tree_remove(&entry->span, tree);
	entry->cached = false;
	WRITE_ONCE(cached_pages, cached_pages - entry->count);
	list_move_tail(&entry->lru, victims);
}

/* Without it. */
static void put_all(struct list_head *victims)
{
	struct adma_pin_entry *entry, *next;

	list_for_each_entry_safe(entry, next, victims, lru)
		put(entry);
}

static struct rb_root_cached *tree_of(const struct mm_struct *mm)
{
	return &trees[hash_ptr(mm, TREE_BITS)];
}

static void forget(struct adma_pin_entry *entry)
{
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	if (entry->cached)
		uncache(entry, tree_of(entry->notifier.mm), &victims);
	mutex_unlock(&mutex);
	put_all(&victims);
}

static void drop(struct work_struct *work)
{
	struct adma_pin_entry *entry = container_of(work, struct adma_pin_entry, drop);

	forget(entry);
	put(entry);
}

/* With the mutex. An unused one stays so, for uses are found under it, or share with another. */
static bool in_use(struct adma_pin_entry *entry)
{
	bool used;

	spin_lock(&entry->lock);
	used = !list_empty(&entry->uses);
	spin_unlock(&entry->lock);
	return used;
}

/* Lets unused entries go, oldest first, until @count pages are found: @user's, or anybody's. */
static bool evict(const struct user_struct *user, unsigned long count)
{
	struct adma_pin_entry *entry, *next;
	unsigned long found = 0;
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	list_for_each_entry_safe(entry, next, &lru, lru) {
		if (found >= count)
			break;
		if ((user && entry->user != user) || in_use(entry))
			continue;
		found += entry->count;
		uncache(entry, tree_of(entry->notifier.mm), &victims);
	}
	mutex_unlock(&mutex);
	put_all(&victims);
	return found;
}

/* Entries in use may exceed the limit: RLIMIT_MEMLOCK is theirs. */
static void trim(void)
{
	unsigned long limit = READ_ONCE(pin_limit) >> PAGE_SHIFT;
	unsigned long cached = READ_ONCE(cached_pages);

	if (cached > limit)
		evict(NULL, cached - limit);
}

/* ---- the notifier ---- */

static bool unmaps(const struct mmu_notifier_range *range)
{
	return range->event == MMU_NOTIFY_UNMAP || range->event == MMU_NOTIFY_RELEASE;
}

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range, unsigned long sequence)
{
	struct adma_pin_entry *entry = container_of(notifier, struct adma_pin_entry, notifier);
	struct adma_pin *pin;

	spin_lock(&entry->lock);
	mmu_interval_set_seq(notifier, sequence);
	if (unmaps(range)) {
		list_for_each_entry(pin, &entry->uses, node) {
			if (pin->start < range->end && pin->end > range->start)
				pin->unmapped = true;
		}
	}
	/* Without references it is being freed already. */
	if (entry->live && !entry->dead && refcount_inc_not_zero(&entry->refs)) {
		WRITE_ONCE(entry->dead, true);
		adma_tally_add(NULL, ADMA_COUNT_INVALIDATIONS, 1);
		queue_work(drops, &entry->drop);
	}
	spin_unlock(&entry->lock);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_operations = {
	.invalidate = invalidate,
};

/* ---- uses ---- */

/* With the entry's lock. */
static void attach(struct adma_pin *pin, struct adma_pin_entry *entry)
{
	refcount_inc(&entry->refs);
	pin->entry = entry;
	pin->pages = &entry->pages[(pin->start - entry->span.start) >> PAGE_SHIFT];
	pin->unmapped = false;
	list_add(&pin->node, &entry->uses);
}

/* With the mutex. */
static struct adma_pin_entry *covering(const struct mm_struct *mm, unsigned long first,
				       unsigned long last, bool write)
{
	struct interval_tree_node *node = interval_tree_iter_first(tree_of(mm), first, first);
	struct adma_pin_entry *entry;

	for (; node; node = interval_tree_iter_next(node, first, first)) {
		entry = container_of(node, struct adma_pin_entry, span);
		if (entry->notifier.mm == mm && node->last >= last && entry->write >= write &&
		    !READ_ONCE(entry->dead))
			return entry;
	}
	return NULL;
}

static bool find(struct adma_pin *pin, const struct adma_memory *memory)
{
	struct adma_pin_entry *entry;
	bool found = false;

	mutex_lock(&mutex);
	entry = covering(memory->mm, pin->start & PAGE_MASK, PAGE_ALIGN(pin->end) - 1,
			 memory->write);
	if (entry) {
		list_move_tail(&entry->lru, &lru);
		spin_lock(&entry->lock);
		found = !entry->dead;
		if (found)
			attach(pin, entry);
		spin_unlock(&entry->lock);
	}
	mutex_unlock(&mutex);
	return found;
}

int adma_pin_share(struct adma_pin *pin, const struct adma_pin *held, unsigned long start,
		   unsigned long end)
{
	struct adma_pin_entry *entry = held->entry;
	int error = 0;

	pin->start = start;
	pin->end = min(end, held->end);
	spin_lock(&entry->lock);
	if (held->unmapped)
		error = -EFAULT;
	else if (entry->dead)
		error = -EAGAIN;
	else
		attach(pin, entry);
	spin_unlock(&entry->lock);
	return error;
}

/* ---- new entries ---- */

/* Charges @count pages, or what can be had of them; 0: not one. */
static unsigned long reserve(const struct adma_memory *memory, unsigned long count)
{
	bool waited = false;

	/* Both ends of a transfer are often one user's. */
	count = min(count, max(memory->memlock / 2, 1UL));
	while (!charge(memory, count)) {
		if (evict(memory->user, count))
			continue;
		if (!waited) {
			flush_workqueue(drops); /* dead ones are charged until they are dropped */
			waited = true;
			continue;
		}
		count = min(count - 1, room(memory));
		if (!count)
			break;
	}
	return count;
}

static struct adma_pin_entry *make(const struct adma_memory *memory, unsigned long start,
				   unsigned long count)
{
	struct adma_pin_entry *entry;

	count = reserve(memory, count);
	if (!count)
		return ERR_PTR(-ENOMEM);
	entry = kvzalloc(struct_size(entry, pages, count), GFP_KERNEL_ACCOUNT);
	if (!entry) {
		uncharge(memory->user, count);
		return ERR_PTR(-ENOMEM);
	}
	entry->span.start = start;
	entry->span.last = start + (count << PAGE_SHIFT) - 1;
	INIT_LIST_HEAD(&entry->lru);
	INIT_WORK(&entry->drop, drop);
	refcount_set(&entry->refs, 1);
	spin_lock_init(&entry->lock);
	INIT_LIST_HEAD(&entry->uses);
	entry->write = memory->write;
	entry->user = get_uid(memory->user);
	entry->count = count;
	return entry;
}

/*
 * With the mutex. Unless another came first, which does as well: then it is its
 * maker's alone. Those that it makes superfluous leave.
 */
static void insert(struct adma_pin_entry *entry, struct list_head *victims)
{
	unsigned long first = entry->span.start, last = entry->span.last;
	struct mm_struct *mm = entry->notifier.mm;
	struct rb_root_cached *tree = tree_of(mm);
	struct interval_tree_node *node, *next;
	struct adma_pin_entry *other;

	if (covering(mm, first, last, entry->write))
		return;
	for (node = interval_tree_iter_first(tree, first, last); node; node = next) {
		next = interval_tree_iter_next(node, first, last);
		other = container_of(node, struct adma_pin_entry, span);
		if (other->notifier.mm == mm && node->start >= first && node->last <= last &&
		    other->write <= entry->write)
			uncache(other, tree, victims);
	}
	refcount_inc(&entry->refs);
	interval_tree_insert(&entry->span, tree);
	entry->cached = true;
	WRITE_ONCE(cached_pages, cached_pages + entry->count);
	list_add_tail(&entry->lru, &lru);
}

/* Its pages are pinned. Were they mapped all the time? Then it is there for others too. */
static bool settle(struct adma_pin_entry *entry, struct adma_pin *pin, unsigned long sequence)
{
	LIST_HEAD(victims);

	mutex_lock(&mutex);
	spin_lock(&entry->lock);
	entry->live = !mmu_interval_read_retry(&entry->notifier, sequence);
	if (entry->live)
		attach(pin, entry);
	spin_unlock(&entry->lock);
	if (pin->entry)
		insert(entry, &victims);
	mutex_unlock(&mutex);
	put_all(&victims);
	return pin->entry;
}

static int fill(struct adma_pin_entry *entry, struct adma_pin *pin,
		const struct adma_memory *memory)
{
	unsigned long sequence;
	unsigned int tries;
	int error;

	for (tries = 0; tries < TRIES; tries++) {
		sequence = mmu_interval_read_begin(&entry->notifier);
		error = pin_pages(memory, entry->span.start, entry->count, FOLL_LONGTERM,
				  entry->pages);
		if (error)
			return error;
		if (settle(entry, pin, sequence))
			return 0;
		unpin_user_pages(entry->pages, entry->count);
	}
	return -EOPNOTSUPP;
}

static int pin_anew(struct adma_pin *pin, const struct adma_memory *memory)
{
	unsigned long start = pin->start & PAGE_MASK;
	struct adma_pin_entry *entry = make(memory, start, adma_pin_pages(pin));
	int error;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	error = mmu_interval_notifier_insert(&entry->notifier, memory->mm, start,
					     entry->count << PAGE_SHIFT, &notifier_operations);
	if (error) {
		discard(entry);
		return error;
	}
	pin->end = min(pin->end, entry->span.last + 1);
	error = fill(entry, pin, memory);
	if (!error)
		adma_tally_add(memory->tally, ADMA_COUNT_PAGES_PINNED, entry->count);
	put(entry);
	return error;
}

int adma_pin_get(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		 unsigned long end)
{
	int error;

	pin->entry = NULL;
	pin->start = start;
	pin->end = end;
	if (find(pin, memory)) {
		adma_tally_add(memory->tally, ADMA_COUNT_PIN_HITS, 1);
		return 0;
	}
	error = pin_anew(pin, memory);
	if (error)
		return error;
	adma_tally_add(memory->tally, ADMA_COUNT_PIN_MISSES, 1);
	trim();
	return 0;
}

int adma_pin_brief(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
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
	error = pin_pages(memory, start & PAGE_MASK, count, 0, pin->pages);
	if (error) {
		kvfree(pin->pages);
		return error;
	}
	adma_tally_add(memory->tally, ADMA_COUNT_PAGES_PINNED, count);
	return 0;
}

/* ---- the end of uses ---- */

static void put_brief(struct adma_pin *pin, struct adma_memory *memory)
{
	unsigned long count = adma_pin_pages(pin);

	unpin_user_pages_dirty_lock(pin->pages, count, memory->write);
	adma_tally_add(memory->tally, ADMA_COUNT_PAGES_UNPINNED, count);
	kvfree(pin->pages);
}

int adma_pin_put(struct adma_pin *pin, struct adma_memory *memory)
{
	struct adma_pin_entry *entry = pin->entry;

	if (!entry) {
		put_brief(pin, memory);
		return 0;
	}
	spin_lock(&entry->lock);
	list_del(&pin->node);
	spin_unlock(&entry->lock);
	pin->entry = NULL;
	put(entry);
	trim();
	return pin->unmapped ? -EFAULT : 0;
}

void adma_pin_abandon(struct adma_pin *pin, struct adma_memory *memory)
{
	struct adma_pin_entry *entry = pin->entry;

	spin_lock(&entry->lock);
	if (!entry->stuck)
		adma_tally_add(memory->tally, ADMA_COUNT_PAGES_STUCK, entry->count);
	entry->stuck = true;
	WRITE_ONCE(entry->dead, true);
	spin_unlock(&entry->lock);
	forget(entry);
	adma_pin_put(pin, memory);
}

/* ---- module ---- */

int adma_pins_init(void)
{
	drops = alloc_workqueue("adma_pins", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return drops ? 0 : -ENOMEM;
}

/* No pins are left but the cache's; of those that are dead the works are waited for. */
void adma_pins_exit(void)
{
	evict(NULL, ULONG_MAX);
	destroy_workqueue(drops);
}
