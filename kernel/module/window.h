/* SPDX-License-Identifier: GPL-2.0 */
/* window.h - the part of a buffer that is pinned right now, as extents to copy from or to. */
#ifndef ADMA_WINDOW_H
#define ADMA_WINDOW_H

#include <linux/types.h>

#include "buffer.h"
#include "extent.h"

/* A buffer has one window at a time. */
struct adma_window {
	struct adma_extent *extents;
	u32 count;
	u64 length;            /* bytes of all extents */
	bool long_term;        /* an engine may use it; otherwise only the CPU may */
	struct adma_pin *pins; /* one for each range touched */
	u32 pinned;
};

/*
 * Pin from byte @at on, at most @most bytes and at most adma_buffer_window(); at
 * least one byte. 0 or a negated errno of struct adma_entry (EFAULT, ESRCH, ENOMEM,
 * EOPNOTSUPP). -EAGAIN: something would have had to be waited for, so a fetch was begun, and
 * the buffer's waiter is woken when it is completed. Process context; enters the mm for the
 * duration of the call.
 */
int adma_window_pin(struct adma_window *window, struct adma_buffer *buffer, u64 at, u64 most);

/*
 * The window has been copied: unpin it, and mark destinations dirty. -EFAULT or -ESRCH when a
 * range was unmapped meanwhile.
 */
int adma_window_unpin(struct adma_window *window, struct adma_buffer *buffer);

/*
 * An engine may still use a long-term window. Its pages are counted, and stay pinned until
 * adma_window_put_abandoned(), for which the buffer is not needed any more.
 */
void adma_window_abandon(struct adma_window *window, struct adma_buffer *buffer);
void adma_window_put_abandoned(struct adma_window *window);

#endif
