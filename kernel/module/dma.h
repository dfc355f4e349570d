/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dma.h - the DMA channels that the module holds, and copies by them.
 *
 * DMA channels are private. They are taken when the first file descriptor is opened, and
 * released when the last one is closed: those of drivers that are known to report errors
 * (dma_driver.h). Each one has to pass a self-test before.
 *
 * A copy is cut into pieces (split.h), which are submitted to the DMA channels round robin,
 * small copies ahead of large ones; the submitting thread sleeps until they are completed
 * (job.h). What a DMA channel cannot take, or fails, the CPU copies. After a timeout the DMA
 * channel is stopped and retired. The CPU finishes the copy only if the DMA channel is known to
 * have stopped; otherwise the copy is stuck.
 */
#ifndef ADMA_DMA_H
#define ADMA_DMA_H

#include <linux/types.h>

#include "job.h"

struct adma_channel;
struct adma_refused;

/*
 * As adma_job_run(), over all DMA channels. When it is stuck, the pages have to stay pinned
 * (adma_window_abandon()) until adma_job_leave() releases them.
 */
int adma_dma_copy(struct adma_dma_copy *copy);

/*
 * The first get takes the DMA channels (that there are none is no error), the last put
 * releases those that work. Both may sleep.
 */
void adma_dma_get(void);
void adma_dma_put(void);

bool adma_dma_works(void);   /* at least one DMA channel works */
u64 adma_dma_min(void);      /* parameter: the CPU copies shorter transfers */
/*
 * These wait for nobody; the caller holds a get. 0 or -ENOENT; each fills in all of @out but
 * size, flags and index.
 */
void adma_dma_count(u32 *channels, u32 *retired);
int adma_dma_describe(u32 index, struct adma_channel *out);
int adma_dma_describe_refused(u32 index, struct adma_refused *out);
/* For debugfs, whose reader holds no get. */
void adma_dma_lock(void);
void adma_dma_unlock(void);

/* -EINVAL: a parameter that makes no sense. */
int adma_dma_init(void);
void adma_dma_exit(void);

#endif
