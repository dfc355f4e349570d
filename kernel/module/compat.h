/* SPDX-License-Identifier: GPL-2.0 */
/* compat.h - the differences between the kernels that the module is built for, 6.1 to 6.12. */
#ifndef ADMA_COMPAT_H
#define ADMA_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>

#if KERNEL_VERSION(6, 3, 0) > LINUX_VERSION_CODE
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/*
 * Before 6.5 the function could return the VMAs, too. For a long-term pin @locked has to be
 * NULL: before 6.3 such a pin could not drop mmap_lock in between.
 */
static inline long adma_pin_user_pages_remote(struct mm_struct *mm, unsigned long start,
					      unsigned long count, unsigned int flags,
					      struct page **pages, int *locked)
{
#if KERNEL_VERSION(6, 5, 0) > LINUX_VERSION_CODE
	return pin_user_pages_remote(mm, start, count, flags, pages, NULL, locked);
#else
	return pin_user_pages_remote(mm, start, count, flags, pages, locked);
#endif
}

#endif
