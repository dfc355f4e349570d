/* SPDX-License-Identifier: GPL-2.0 */
/*
 * job.h - the copy of one window, spread over the DMA channels.
 *
 * The job goes through the copy twice. The first pass finds the pieces for DMA, each of
 * which is submitted to the next DMA channel that has room, round robin. Whenever nothing
 * can be submitted, the second pass finds a piece that is the CPU's. What a DMA channel
 * fails or refuses, the CPU copies too. The submitting thread does all of this, and sleeps
 * in between; callbacks only return descriptors.
 *
 * A job has at most ADMA_JOB_SHARE descriptors per DMA channel in flight. Copies of at
 * most ADMA_JOB_SMALL bytes are small: large ones leave room for them on each DMA channel
 * (dma_channel.h).
 *
 * References: the submitter holds one, and each stuck descriptor holds one. So a job with a
 * stuck descriptor stays as long as its engine may call back. When the last one has, the
 * submitter's function is called that releases the pages.
 */
#ifndef ADMA_JOB_H
#define ADMA_JOB_H

#include <linux/ktime.h>
#include <linux/types.h>

#include "extent.h"

#define ADMA_JOB_SHARE    8
#define ADMA_JOB_SMALL    (64 << 10)
#define ADMA_PIECE_LEAST  1024       /* a shorter piece is not worth a descriptor */
#define ADMA_SPREAD_LEAST (32 << 10) /* a shorter piece is not worth one more DMA channel */

struct adma_dma_channel;
struct adma_job;
struct adma_tally;

struct adma_dma_copy {
	const struct adma_extent *to;
	const struct adma_extent *from;
	size_t length;            /* bytes: at most the sum of either side */
	struct adma_tally *tally;
	ktime_t submitted;        /* in: 0. Out: the first piece; 0: none went to an engine */
	ktime_t finished;         /* out: when the last byte was copied */
	struct adma_job *stuck;   /* out, on -EIO: for adma_job_leave() */
};

/*
 * Copy, and sleep until that is done. A piece may take @timeout jiffies. On 0 all bytes are
 * copied; the counters tell by whom. -EIO: stuck; the engine may still write, so the pages
 * must stay pinned, and the caller has to leave the job. -ENOMEM: nothing was submitted.
 */
int adma_job_run(struct adma_dma_copy *copy, struct adma_dma_channel *const *channels, u32 count,
		 unsigned long timeout);

/*
 * Leave a stuck job. Once no engine can touch its pages any more, @release is called in process
 * context, which may never happen.
 */
void adma_job_leave(struct adma_job *job, void (*release)(void *argument), void *argument);

int adma_jobs_init(void);
/* Waits for the releases that are due. */
void adma_jobs_exit(void);

#endif
