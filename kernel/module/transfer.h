/* SPDX-License-Identifier: GPL-2.0 */
/*
 * transfer.h - a matched pair on its way: window by window, by DMA or by the CPU.
 *
 * The maker owns the transfer and both memories until done() is called, once,
 * in process context, with no lock held. done() may free the transfer.
 */
#ifndef ADMA_TRANSFER_H
#define ADMA_TRANSFER_H

#include <linux/ktime.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "memory.h"

struct adma_transfer {
	struct work_struct work;
	struct workqueue_struct *queue;
	struct adma_memory *destination;
	struct adma_memory *source;
	u64 length;               /* bytes to copy: those of the source */
	u32 policy;               /* ADMA_BY_* */
	struct adma_tally *tally; /* of the end whose post made the match */
	ktime_t matched;
	u64 copied;               /* bytes, so far */
	u64 pinned;               /* nanoseconds of pinning, before the first window */
	u64 pinned_first;         /* and when it was there */
	ktime_t submitted;        /* the first piece */
	u64 start_ns;             /* out: ADMA_TIME_START */
	u64 copy_ns;              /* out: ADMA_TIME_COPY */
	ktime_t ended;            /* out: when the last byte was copied */
	void (*done)(struct adma_transfer *transfer, int error); /* 0 or a negated errno */
};

/*
 * Begin; the other fields are filled in. Never sleeps unless @here: then it may copy
 * in the caller's context, and have called done() when it returns.
 */
void adma_transfer_start(struct adma_transfer *transfer, bool here);

int adma_transfers_init(void);
/* Waits for all that were started. */
void adma_transfers_exit(void);

#endif
