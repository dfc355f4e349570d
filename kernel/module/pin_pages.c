// SPDX-License-Identifier: GPL-2.0
/* pin_pages.c - pins a number of pages of a process; see pin_pages.h. */
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include "compat.h"
#include "memory.h"
#include "pin_pages.h"

static int pages_error(long pinned)
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
	default: /* a DAX file, or a page that cannot be moved to where it may stay pinned */
		return -EOPNOTSUPP;
	}
}

/*
 * How to fault in without waiting. Called with mmap_lock held. With FOLL_NOWAIT a fault of
 * anonymous memory starts to read from swap and returns, and does not wait for a userfaultfd
 * either. A fault of a file may wait whatever the flags are, for FUSE's server for instance:
 * of files only pages that are present are taken.
 */
static int pages_nowait_flags(struct mm_struct *mm, unsigned long start, unsigned long end)
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

/* Called with mmap_lock, which it does not drop. 0: the first page's fault has to be waited for. */
static long pages_pin_present(struct mm_struct *mm, unsigned long start, unsigned long count,
			      unsigned int flags, struct page **pages)
{
	int more = pages_nowait_flags(mm, start, start + (count << PAGE_SHIFT));
	long pinned;

	if (more < 0)
		return more;
	pinned = adma_pin_user_pages_remote(mm, start, count, flags | more, pages, NULL);
	/* The page is not present yet, or there is none: whoever waits for the fault finds out. */
	return pinned == -EFAULT && more & FOLL_NOFAULT ? 0 : pinned;
}

static long pages_pin_some(const struct adma_memory *memory, unsigned long start,
			   unsigned long count, unsigned int flags, struct page **pages)
{
	struct mm_struct *mm = memory->mm;
	long pinned;

	if (memory->wait == ADMA_PIN_NOWAIT) {
		if (!mmap_read_trylock(mm))
			return 0;
	} else if (mmap_read_lock_killable(mm)) {
		return -EINTR;
	}
	pinned = pages_pin_present(mm, start, count, flags, pages);
	mmap_read_unlock(mm);
	return pinned;
}

int adma_pages_pin(const struct adma_memory *memory, unsigned long start, unsigned long count,
		   unsigned int flags, struct page **pages)
{
	unsigned long done = 0;
	long pinned;

	if (memory->write)
		flags |= FOLL_WRITE;
	/* Most pages are present, and can be pinned without mmap_lock. */
	if (memory->wait == ADMA_PIN_WAIT_OWN)
		done = max(0, pin_user_pages_fast(start, count, flags | FOLL_NOFAULT, pages));
	while (done < count) {
		pinned = pages_pin_some(memory, start + (done << PAGE_SHIFT), count - done, flags,
					pages + done);
		if (pinned <= 0) {
			unpin_user_pages(pages, done);
			return pages_error(pinned);
		}
		done += pinned;
	}
	return 0;
}

static int pages_fault_in(const struct adma_memory *memory, unsigned long start,
			  unsigned long count, unsigned int flags, struct page **pages)
{
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
			return pages_error(pinned);
		unpin_user_pages(pages, pinned);
	}
	return 0;
}

int adma_pages_fault_in(const struct adma_memory *memory, unsigned long start, unsigned long count,
			bool long_term, struct page **pages)
{
	unsigned int flags = memory->write ? FOLL_WRITE : 0;
	int error;

	if (!long_term || !ADMA_FAULT_IN_LONGTERM)
		return pages_fault_in(memory, start, count, flags, pages);
	error = pages_fault_in(memory, start, count, flags | ADMA_FAULT_IN_LONGTERM, pages);
	if (error != -EFAULT)
		return error;
	/* Is it not there, or may it only not be pinned for long? */
	return pages_fault_in(memory, start, count, flags, pages) ?: -EOPNOTSUPP;
}
