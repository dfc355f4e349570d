/* SPDX-License-Identifier: GPL-2.0 */
/*
 * buffer.h - one side of a transfer: memory that was posted, and the pins held of it.
 *
 * A buffer is taken at the post, in the poster's context. Its first window is pinned there, as
 * far as no page fault has to be waited for. The rest is pinned when it is copied, with
 * the mm entered for that one window only.
 */
#ifndef ADMA_BUFFER_H
#define ADMA_BUFFER_H

#include <linux/types.h>

#include "fetch.h"
#include "memory.h"
#include "pin_entry.h"

#define ADMA_IOV_MAX 64

struct adma_buffer {
	struct adma_memory memory;
	struct adma_pin *held; /* pinned at the post: of the first ranges, in their order */
	u32 held_count;
	struct adma_fetch_client fetch; /* the transfer fills in the waiter */
};

/*
 * Take what an ADMA_IOC_POST describes. 0, or the negated errno of the post; then nothing is
 * held. Process context, current is the poster.
 */
int adma_buffer_take(struct adma_buffer *buffer, const struct adma_iovec __user *iov, u32 count,
		     bool write, u32 policy, const struct adma_poster *poster);

/* The same for one range (ADMA_IOC_COPY). */
int adma_buffer_take_range(struct adma_buffer *buffer, u64 address, u64 length, bool write,
			   u32 policy, const struct adma_poster *poster);

/* Let go of all that is held. May sleep. A buffer of all zeroes is fine. */
void adma_buffer_drop(struct adma_buffer *buffer);

/*
 * Pin the ranges from byte @offset of range @index on, at most @most bytes, until one is not
 * pinned to its end. 0 if at least one pin was made; otherwise an error of adma_pin_get(). With
 * ADMA_PIN_NOWAIT, on -EAGAIN a fetch was begun of what would have had to be waited for.
 */
int adma_buffer_pin(struct adma_buffer *buffer, struct adma_pin *pins, u32 *pinned, u32 index,
		    size_t offset, size_t most, bool long_term);

/* All before byte @offset of range @index is copied: put the pins held of it. */
void adma_buffer_put_before(struct adma_buffer *buffer, u32 index, size_t offset);

/* How many bytes of a buffer are pinned at a time. */
u64 adma_buffer_window(void);

#endif
