/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dma.h - the DMA channels, and one window's copy spread over them.
 *
 * Channels are private, taken when the first descriptor is opened and given
 * back when the last one is closed. A copy is cut into pieces (split.h), given to
 * the channels round robin with small copies ahead of large ones, and waited for
 * by its submitter, which sleeps. What a channel cannot take, or fails, the CPU
 * copies. After a time-out the channel is stopped and retired: only when it is
 * known to have stopped does the CPU finish; otherwise the copy is stuck.
 */
#ifndef ADMA_DMA_H
#define ADMA_DMA_H

#include <linux/ktime.h>
#include <linux/types.h>

#include "memory.h"

struct adma_tally;

struct adma_dma_copy {
	const struct adma_extent *to;
	const struct adma_extent *from;
	size_t length;            /* bytes: the sum of either side at most */
	struct adma_tally *tally;
	ktime_t submitted;        /* out: the first piece; 0: none went to an engine */
	ktime_t ended;            /* out: the last byte was copied */
};

/*
 * Copy, and sleep until it is done. 0: all bytes are copied, by whom the
 * counters tell. -EIO: stuck; the engine may still write, so the pages may
 * not be let go (adma_window_abandon()). -ENOMEM: nothing was submitted.
 */
int adma_dma_copy(struct adma_dma_copy *copy);

/*
 * The first get takes the channels (none there is no error), the last put gives back those
 * that work. May sleep.
 */
void adma_dma_get(void);
void adma_dma_put(void);

bool adma_dma_works(void);   /* at least one channel that is neither retired nor lost */
u64 adma_dma_min(void);      /* parameter: shorter transfers are the CPU's */
void adma_dma_count(u32 *channels, u32 *retired);
/* 0 or -ENOENT; fills in all but size, flags and index. */
int adma_dma_describe(u32 index, struct adma_channel *out);

/* -EINVAL: a parameter that makes no sense. */
int adma_dma_init(void);
void adma_dma_exit(void);

#endif
