/* SPDX-License-Identifier: GPL-2.0 */
/* compat.h - the differences between the kernels that the module is built for, 6.1 to 6.12. */
#ifndef ADMA_COMPAT_H
#define ADMA_COMPAT_H

#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
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

typedef unsigned long (*adma_shrink)(struct shrinker *shrinker, struct shrink_control *control);

/* Before 6.7 a shrinker was a variable of whoever registered it. NULL: no memory. */
static inline struct shrinker *adma_shrinker_make(const char *name, adma_shrink count,
						  adma_shrink scan)
{
	struct shrinker *shrinker;

#if KERNEL_VERSION(6, 7, 0) > LINUX_VERSION_CODE
	shrinker = kzalloc(sizeof(*shrinker), GFP_KERNEL);
#else
	shrinker = shrinker_alloc(0, "%s", name);
#endif
	if (!shrinker)
		return NULL;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker->seeks = DEFAULT_SEEKS;
#if KERNEL_VERSION(6, 7, 0) > LINUX_VERSION_CODE
	if (register_shrinker(shrinker, "%s", name)) {
		kfree(shrinker);
		return NULL;
	}
#else
	shrinker_register(shrinker);
#endif
	return shrinker;
}

static inline void adma_shrinker_free(struct shrinker *shrinker)
{
#if KERNEL_VERSION(6, 7, 0) > LINUX_VERSION_CODE
	unregister_shrinker(shrinker);
	kfree(shrinker);
#else
	shrinker_free(shrinker);
#endif
}

#endif
