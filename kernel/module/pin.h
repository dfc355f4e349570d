/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin.h - pins: pages of a process that stay where they are while somebody copies.
 *
 * Long-term pins come from the pin cache. There they stay for whoever wants them next, until
 * their mapping changes or room is needed. They are charged to the user who posted first, and
 * may be given to an engine. Short-term pins are for one copy by the CPU: they are neither
 * cached nor charged.
 *
 * The protocol of the cache is that of tests/model/pin.pml, which is its proof. An entry
 * (pin_entry.h) is a page-aligned part of an mm, pinned for long, with a notifier of its own.
 * The notifier is called before any page table entry of that part changes. Then the entry is
 * dead: nobody finds it any more, and a work drops it from the cache. A copy that is
 * running at that time ends in the old pages, which its use of the entry keeps pinned.
 *
 * That includes the end of copy-on-write. A read-only pin may be of a page that the next write
 * replaces: the zero page, or a page of a private file mapping (up to Linux 6.1 pinning
 * unshares anonymous pages only). But wp_page_copy(), hugetlb_wp() and the split of the huge
 * zero page invalidate (MMU_NOTIFY_CLEAR) before they replace the page. So such an entry dies,
 * and the next copy sees what was written.
 *
 * Locks, the outer one first:
 *   the cache's mutex     trees, LRU list, whether an entry is cached
 *   adma_pin_entry.lock   uses and state of an entry. The notifier takes it, so it is a
 *                         leaf, and nothing may sleep or allocate under it
 * Where the mm layer may wait for an invalidation, neither of them is held, nor is mmap_lock:
 * that is in mmu_interval_notifier_insert(), mmu_interval_read_begin() and
 * mmu_interval_notifier_remove(). mmap_lock is taken for the pinning proper, with nothing else
 * held.
 *
 * A post waits for what its own process does, a fetch for anything, a transfer for nothing.
 * So a transfer makes no long-term pins, and takes mmap_lock only if it is free.
 *
 * All of these functions sleep. In those that pin, the caller has entered the memory's mm
 * (mmget()), or it is current's. They wait for no more than memory->wait says, and return
 * -EAGAIN where they would have to wait for more.
 */
#ifndef ADMA_PIN_H
#define ADMA_PIN_H

#include "memory.h"
#include "pin_entry.h"

/*
 * Pin for long, from @start until @end or as far as the user's limit allows; pin->end
 * tells how far. -EFAULT, -ENOMEM, -EOPNOTSUPP, -EAGAIN, or -EINTR: killed meanwhile.
 */
int adma_pin_get(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		 unsigned long end);

/*
 * The same as far as @held reaches, which holds @start. -EAGAIN: the pages that it holds
 * are not the mapped ones any more. -EFAULT, -ESRCH: they were unmapped, by their process or
 * by its exit.
 */
int adma_pin_share(struct adma_pin *pin, const struct adma_pin *held, unsigned long start,
		   unsigned long end);

/* A short-term pin. -EFAULT, -ENOMEM, -EAGAIN or -EINTR. */
int adma_pin_get_short(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		       unsigned long end);

/*
 * Wait for the page faults that a short-term pin would have to wait for, whatever
 * memory->wait says.
 */
int adma_pin_fault_in(struct adma_memory *memory, unsigned long start, unsigned long end);

/* -EFAULT or -ESRCH when the pages were unmapped since, else 0. */
int adma_pin_put(struct adma_pin *pin, struct adma_memory *memory);

/*
 * An engine may go on using the pages of a long-term pin, so nobody else finds them any more.
 * They stay pinned and charged until adma_pin_put_abandoned().
 */
void adma_pin_abandon(struct adma_pin *pin, struct adma_memory *memory);
void adma_pin_put_abandoned(struct adma_pin *pin);

#endif
