/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin.h - pins: pages of a process that stay where they are while somebody copies.
 *
 * Lasting pins come from the pin cache, where they stay for the next one that
 * wants them until their mapping changes, or room is needed. They are charged to
 * the user who posted first, and fit for an engine. Brief ones are for one copy by the CPU:
 * neither cached nor charged. tests/model/pin.pml is the proof of the cache's protocol.
 *
 * All of these sleep. The mm of the memory is entered by the caller (mmget()), or
 * current's, in those that pin. Those wait for no more than memory->patience says, and
 * return -EAGAIN for what they would have to wait for.
 */
#ifndef ADMA_PIN_H
#define ADMA_PIN_H

#include <linux/list.h>
#include <linux/mm.h>
#include <linux/types.h>

#include "memory.h"

struct adma_pin_entry;

/* Somebody's use of pinned pages, for bytes of one range of a memory. It may not be moved. */
struct adma_pin {
	struct adma_pin_entry *entry; /* of the cache. NULL: brief, or put */
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
 * Pin from @start on, until @end or as far as the user's limit allows; pin->end
 * tells. -EFAULT, -ENOMEM, -EOPNOTSUPP, -EAGAIN, or -EINTR: killed meanwhile.
 */
int adma_pin_get(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		 unsigned long end);

/*
 * The same as far as @held reaches, which holds @start. -EAGAIN: what it holds
 * is not what is mapped there now; -EFAULT, -ESRCH: it
 * was unmapped, by its process or with it.
 */
int adma_pin_share(struct adma_pin *pin, const struct adma_pin *held, unsigned long start,
		   unsigned long end);

/* A brief one. -EFAULT, -ENOMEM, -EAGAIN or -EINTR. */
int adma_pin_brief(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		   unsigned long end);

/* Wait for the faults that a brief one would have to wait for, whatever the patience. */
int adma_pin_touch(struct adma_memory *memory, unsigned long start, unsigned long end);

/* -EFAULT or -ESRCH when it was unmapped, else 0. */
int adma_pin_put(struct adma_pin *pin, struct adma_memory *memory);

/* Put a lasting one, whose pages stay pinned and charged for good. */
void adma_pin_abandon(struct adma_pin *pin, struct adma_memory *memory);

/*
 * May an engine write to what is mapped there now? memory.c; takes mmap_lock. A post asks
 * for its whole memory; who pins asks again, within an interval that a change would end.
 */
bool adma_memory_fit(struct mm_struct *mm, unsigned long start, unsigned long end);

/* Pin a memory's first window, and hold it (window.c). Errors as of adma_pin_get(). */
int adma_memory_hold(struct adma_memory *memory);

#endif
