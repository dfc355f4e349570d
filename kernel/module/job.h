/* SPDX-License-Identifier: GPL-2.0 */
/*
 * job.h - one window's copy on its way over the DMA channels.
 *
 * The copy is gone over twice: once for the pieces that are for DMA, each given
 * to the next channel in turn that has room; and, whenever there is nothing to give,
 * once for those that are the CPU's. What a channel fails, or will not have, the
 * CPU copies too. The submitter does all this and sleeps in between; callbacks only
 * hand descriptors back.
 *
 * A job has at most ADMA_JOB_SHARE descriptors for each channel on their way. Copies of at
 * most ADMA_JOB_SMALL bytes are small: large ones leave them room on each channel (channel.h).
 *
 * References: the submitter holds one, and each stuck descriptor one. So a job with a
 * stuck descriptor stays as long as its engine may call back.
 */
#ifndef ADMA_JOB_H
#define ADMA_JOB_H

#include <linux/types.h>

#include "dma.h"

#define ADMA_JOB_SHARE    8
#define ADMA_JOB_SMALL    (64 << 10)
#define ADMA_PIECE_LEAST  1024       /* a shorter one is not worth a descriptor */
#define ADMA_SPREAD_LEAST (32 << 10) /* nor one shorter than this a channel more */

struct adma_dma_channel;

/* As adma_dma_copy(). A piece may take @timeout jiffies. */
int adma_job_run(struct adma_dma_copy *copy, struct adma_dma_channel *const *channels, u32 count,
		 unsigned long timeout);

#endif
