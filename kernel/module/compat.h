/* SPDX-License-Identifier: GPL-2.0 */
/* compat.h - the differences between the kernels that the modules are built for, from 6.1 on. */
#ifndef ADMA_COMPAT_H
#define ADMA_COMPAT_H

#include <linux/dmaengine.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/timer.h>
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

/*
 * Flags to fault memory in for a long-term pin. From 6.2 on such a pin needs a page of its own also
 * where a private mapping is only read, and only a fault with FOLL_LONGTERM makes one. Before 6.3
 * that flag would keep mmap_lock while it waits.
 */
#if KERNEL_VERSION(6, 3, 0) > LINUX_VERSION_CODE
#define ADMA_FAULT_IN_LONGTERM 0
#else
#define ADMA_FAULT_IN_LONGTERM FOLL_LONGTERM
#endif

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

/* 6.15 removed the former name. Stable releases of 6.1 have both, the first ones do not. */
static inline int adma_timer_delete_sync(struct timer_list *timer)
{
#if KERNEL_VERSION(6, 2, 0) > LINUX_VERSION_CODE
	return del_timer_sync(timer);
#else
	return timer_delete_sync(timer);
#endif
}

static inline void adma_hrtimer_setup(struct hrtimer *timer,
				      enum hrtimer_restart (*function)(struct hrtimer *timer),
				      clockid_t clock, enum hrtimer_mode mode)
{
#if KERNEL_VERSION(6, 13, 0) > LINUX_VERSION_CODE
	hrtimer_init(timer, clock, mode);
	timer->function = function;
#else
	hrtimer_setup(timer, function, clock, mode);
#endif
}

static inline int adma_dma_channel_register(struct dma_device *device, struct dma_chan *channel)
{
#if KERNEL_VERSION(6, 8, 0) > LINUX_VERSION_CODE
	return dma_async_device_channel_register(device, channel);
#else
	return dma_async_device_channel_register(device, channel, NULL);
#endif
}

/*
 * Sparse has to be told that a true result means a held lock. From 7.0 on the declarations of
 * such functions tell the compiler.
 */
#ifndef __cond_lock
#define __cond_lock(lock, condition) (condition)
#endif

#endif
