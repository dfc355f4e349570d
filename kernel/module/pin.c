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
 * it ran. The last one unpins and uncharges at once, and leaves the removal of the notifier, which
 * may have to wait for an invalidation, to a work. Callbacks until then find an entry that
 * nobody refers to, and do nothing. So nobody waits for the invalidations of a process
 * whose pins he takes.
 *
 * Locks, the outer one first:
 *   mutex                 trees, LRU list, whether an entry is cached
 *   adma_pin_entry.lock   uses and state of an entry; taken by the notifier, so
 *                         that it is a leaf and nothing may sleep or allocate under it
 * Neither is held, nor is mmap_lock, where the mm layer may wait for an invalidation:
 * mmu_interval_notifier_insert(), mmu_interval_read_begin(), mmu_interval_notifier_remove().
 * mmap_lock is taken for the pinning proper, with nothing else held.
 *
 * Who waits: a post for what its own process does, a fetch for anything, a transfer for nothing.
 * So a transfer makes no lasting pins, and takes mmap_lock only if it is free.
 */
#include <linux/err.h>
#include <linux/mmu_notifier.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "compat.h"
#include "counters.h"
#include "pin.h"
#include "pin_cache.h"

/* Pinning is tried anew when an invalidation came between; not for ever. */
#define TRIES 64

/* ---- pages ---- */

static int error_of_pinning(long pinned)
{
	switch (pinned) {
	case -EINTR:
	case -ENOMEM:
	case -EFAULT:
		return pinned;
	case -EHWPOISON:
		return -EFAULT;
	case 0:
		return -EAGAIN;
	default: /* a DAX file, or a page that cannot be moved to where it may stay */
		return -EOPNOTSUPP;
	}
}

/*
 * With mmap_lock. How to fault in without waiting: a fault of anonymous memory starts what it
 * needs to read from swap and returns, nor does it wait for a userfaultfd. That of a file may
 * well wait, for FUSE's server for instance, whatever the flags: only what is there is taken.
 */
static int flags_without_waiting(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;
	int flags = FOLL_NOWAIT;

	for (; start < end; start = vma->vm_end) {
		vma = find_vma(mm, start);
		if (!vma || vma->vm_start > start)
			return -EFAULT;
		if (!vma_is_anonymous(vma))
			flags |= FOLL_NOFAULT;
	}
	return flags;
}

/* With mmap_lock, which is kept. 0: the first page would have to be waited for. */
static long pin_present(struct mm_struct *mm, unsigned long start, unsigned long count,
			unsigned int flags, struct page **pages)
{
	int more = flags_without_waiting(mm, start, start + (count << PAGE_SHIFT));
	long pinned;

	if (more < 0)
		return more;
	pinned = adma_pin_user_pages_remote(mm, start, count, flags | more, pages, NULL);
	/* It is not there yet, or not at all: who waits for the fault finds out. */
	return pinned == -EFAULT && more & FOLL_NOFAULT ? 0 : pinned;
}

static long pin_some(const struct adma_memory *memory, unsigned long start, unsigned long count,
		     unsigned int flags, struct page **pages)
{
	struct mm_struct *mm = memory->mm;
	long pinned;

	if (memory->patience == ADMA_PIN_AT_ONCE) {
		if (!mmap_read_trylock(mm))
			return 0;
	} else if (mmap_read_lock_killable(mm)) {
		return -EINTR;
	}
	pinned = pin_present(mm, start, count, flags, pages);
	mmap_read_unlock(mm);
	return pinned;
}

/* All or nothing; without waiting for faults. */
static int pin_pages(const struct adma_memory *memory, unsigned long start, unsigned long count,
		     unsigned int flags, struct page **pages)
{
	unsigned long done = 0;
	long pinned;

	if (memory->write)
		flags |= FOLL_WRITE;
	if (memory->patience == ADMA_PIN_OWN) /* most are there, and found without the lock */
		done = max(0, pin_user_pages_fast(start, count, flags | FOLL_NOFAULT, pages));
	while (done < count) {
		pinned = pin_some(memory, start + (done << PAGE_SHIFT), count - done, flags,
				  pages + done);
		if (pinned <= 0) {
			unpin_user_pages(pages, done);
			return error_of_pinning(pinned);
		}
		done += pinned;
	}
	return 0;
}

/*
 * Wait for the faults of these pages. Not with FOLL_LONGTERM, which would keep mmap_lock
 * meanwhile, and could not wait for a userfaultfd (before 6.3). @pages is for use meanwhile.
 */
static int touch(const struct adma_memory *memory, unsigned long start, unsigned long count,
		 struct page **pages)
{
	unsigned int flags = memory->write ? FOLL_WRITE : 0;
	struct mm_struct *mm = memory->mm;
	unsigned long done;
	long pinned;
	int locked;

	for (done = 0; done < count; done += pinned) {
		if (mmap_read_lock_killable(mm))
			return -EINTR;
		locked = 1;
		pinned = adma_pin_user_pages_remote(mm, start + (done << PAGE_SHIFT), count - done,
						    flags, pages, &locked);
		if (locked)
			mmap_read_unlock(mm);
		if (!pinned)
			return -EFAULT;
		if (pinned < 0)
			return error_of_pinning(pinned);
		unpin_user_pages(pages, pinned);
	}
	return 0;
}

/* ---- charges ---- */

/* What is held while it waits to be matched leaves half of the limit to what is being copied. */
static unsigned long limit_of(const struct adma_memory *memory)
{
	return memory->patience == ADMA_PIN_OWN ? memory->memlock / 2 : memory->memlock;
}

static bool charge(const struct adma_memory *memory, unsigned long count)
{
	atomic_long_t *locked = &memory->user->locked_vm;
	unsigned long limit = limit_of(memory);
	long now = atomic_long_read(locked);

	do {
		if (count > limit || now > limit - count)
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
	unsigned long limit = limit_of(memory);

	return limit > now ? limit - now : 0;
}

/* ---- the end of entries ---- */

static void discharge(struct adma_pin_entry *entry)
{
	uncharge(entry->user, entry->count);
	free_uid(entry->user);
}

/* Stuck: the charge stays, and the user with it. */
static void release(struct adma_pin_entry *entry)
{
	if (entry->stuck)
		return;
	if (entry->live) {
		unpin_user_pages_dirty_lock(entry->pages, entry->count, entry->write);
		adma_tally_add(NULL, ADMA_COUNT_PAGES_UNPINNED, entry->count);
	}
	discharge(entry);
}

void adma_pin_entry_put(struct adma_pin_entry *entry)
{
	if (!refcount_dec_and_test(&entry->refs))
		return;
	release(entry);
	adma_pin_cache_remove(entry);
}

/* ---- the notifier ---- */

/* What it means for those who copy: nothing, or that their memory is gone. */
static int error_of(const struct mmu_notifier_range *range)
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

static bool invalidate(struct mmu_interval_notifier *notifier,
		       const struct mmu_notifier_range *range, unsigned long sequence)
{
	struct adma_pin_entry *entry = container_of(notifier, struct adma_pin_entry, notifier);
	int error = error_of(range);
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

static const struct mmu_interval_notifier_ops notifier_operations = {
	.invalidate = invalidate,
};

/* ---- uses ---- */

void adma_pin_attach(struct adma_pin *pin, struct adma_pin_entry *entry)
{
	refcount_inc(&entry->refs);
	pin->entry = entry;
	pin->pages = &entry->pages[(pin->start - entry->span.start) >> PAGE_SHIFT];
	pin->error = 0;
	list_add(&pin->node, &entry->uses);
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
		adma_pin_attach(pin, entry);
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
		if (adma_pin_cache_evict(memory->user, count))
			continue;
		if (!waited) {
			adma_pin_cache_flush(); /* dead ones are charged until they are dropped */
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
	refcount_set(&entry->refs, 1);
	spin_lock_init(&entry->lock);
	INIT_LIST_HEAD(&entry->uses);
	entry->write = memory->write;
	entry->user = get_uid(memory->user);
	entry->count = count;
	return entry;
}

static int fill(struct adma_pin_entry *entry, struct adma_pin *pin,
		const struct adma_memory *memory)
{
	unsigned long sequence;
	unsigned int tries;
	bool fit;
	int error;

	for (tries = 0; tries < TRIES; tries++) {
		sequence = mmu_interval_read_begin(&entry->notifier);
		error = pin_pages(memory, entry->span.start, entry->count, FOLL_LONGTERM,
				  entry->pages);
		if (error == -EAGAIN && memory->patience == ADMA_PIN_WAIT) {
			error = touch(memory, entry->span.start, entry->count, entry->pages);
			if (!error)
				continue; /* they are there, or were: memory may be scarce */
		}
		if (error)
			return error;
		fit = !entry->write || adma_memory_fit(memory->mm, entry->span.start,
						       entry->span.last + 1);
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
	struct adma_pin_entry *entry = make(memory, start, adma_pin_pages(pin));
	int error;

	if (IS_ERR(entry))
		return PTR_ERR(entry);
	error = mmu_interval_notifier_insert(&entry->notifier, memory->mm, start,
					     entry->count << PAGE_SHIFT, &notifier_operations);
	if (error) {
		discharge(entry);
		kvfree(entry);
		return error;
	}
	pin->end = min(pin->end, entry->span.last + 1);
	error = fill(entry, pin, memory);
	if (!error)
		adma_tally_add(memory->tally, ADMA_COUNT_PAGES_PINNED, entry->count);
	adma_pin_entry_put(entry);
	return error;
}

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
	if (memory->patience == ADMA_PIN_AT_ONCE)
		return -EAGAIN;
	error = pin_anew(pin, memory);
	if (error)
		return error;
	adma_tally_add(memory->tally, ADMA_COUNT_PIN_MISSES, 1);
	adma_pin_cache_trim();
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

int adma_pin_touch(struct adma_memory *memory, unsigned long start, unsigned long end)
{
	unsigned long first = start & PAGE_MASK;
	unsigned long count = (PAGE_ALIGN(end) - first) >> PAGE_SHIFT;
	struct page **pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	int error;

	if (!pages)
		return -ENOMEM;
	error = touch(memory, first, count, pages);
	kvfree(pages);
	return error;
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
	adma_pin_entry_put(entry);
	adma_pin_cache_trim();
	return pin->error;
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
	adma_pin_cache_forget(entry);
	adma_pin_put(pin, memory);
}
