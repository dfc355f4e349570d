/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pin_pages.h - pins a number of pages of a process, or none of them.
 *
 * All of these sleep, but wait for no more than the memory's `wait` says. The caller has
 * entered the memory's mm (mmget()), or it is current's.
 */
#ifndef ADMA_PIN_PAGES_H
#define ADMA_PIN_PAGES_H

#include <linux/types.h>

struct adma_memory;
struct page;

/*
 * Pin @count pages from @start on, all or none, without waiting for page faults. -EAGAIN: one
 * would have to be waited for. -EFAULT, -ENOMEM, -EOPNOTSUPP, or -EINTR: killed.
 */
int adma_pages_pin(const struct adma_memory *memory, unsigned long start, unsigned long count,
		   unsigned int flags, struct page **pages);

/*
 * Wait for the page faults of these pages, whatever the memory's `wait` says. @long_term: for a
 * long-term pin. @pages is only used meanwhile. Errors as above.
 */
int adma_pages_fault_in(const struct adma_memory *memory, unsigned long start, unsigned long count,
			bool long_term, struct page **pages);

#endif
