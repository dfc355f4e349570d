/* SPDX-License-Identifier: GPL-2.0 */
/*
 * transfer.h - copies a matched pair of buffers, window by window, by DMA or by the CPU.
 *
 * A transfer waits for an engine, and for nothing else. Memory that it cannot have at once is
 * fetched (fetch.h); it stalls meanwhile, without occupying a worker. Whoever clears `parked`
 * makes it go on: the fetch, a timer, or the close of an endpoint.
 *
 * The maker owns the transfer and both buffers until done() is called, once, in process
 * context, with no lock held. done() may free the transfer.
 */
#ifndef ADMA_TRANSFER_H
#define ADMA_TRANSFER_H

#include <linux/ktime.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "buffer.h"
#include "fetch.h"

struct adma_transfer {
	struct work_struct work;
	struct workqueue_struct *queue;
	struct adma_waiter waiter;
	struct timer_list timer;
	spinlock_t lock;          /* a leaf, but for the locks of work queues and of the timer */
	bool parked;              /* lock: whoever clears it queues the work */
	bool woken;               /* lock: while it was not parked */
	bool closing;             /* lock: an endpoint was closed */
	bool stalls;              /* it lacks memory, since `stalled` */
	unsigned long stalled;    /* jiffies */
	struct adma_buffer *destination;
	struct adma_buffer *source;
	u64 length;               /* bytes to copy: those of the source */
	u32 policy;               /* ADMA_BY_* */
	struct adma_tally *tally; /* of the endpoint whose post made the match */
	ktime_t matched;
	u64 copied;               /* bytes, so far */
	u64 pinned;               /* nanoseconds of pinning before the transfer was started */
	u64 pinned_first;         /* and before the first window was copied */
	ktime_t submitted;        /* the first piece */
	u64 start_ns;             /* out: ADMA_TIME_START */
	u64 copy_ns;              /* out: ADMA_TIME_COPY */
	ktime_t finished;         /* out: when the last byte was copied */
	void (*done)(struct adma_transfer *transfer, int error); /* 0 or a negated errno */
};

/* Call this once, before anybody else knows of the transfer. */
void adma_transfer_init(struct adma_transfer *transfer);

/*
 * Start; the caller has filled in destination, source, length, policy, tally, matched and done.
 * Never sleeps unless @here is true: then it may copy in the caller's context, and have called
 * done() when it returns.
 */
void adma_transfer_start(struct adma_transfer *transfer, bool here);

/*
 * One of its endpoints is closed: from now on, once the transfer has stalled for a second, it
 * is done(), with -EPIPE. Does not sleep. The caller makes sure that it is not done meanwhile.
 */
void adma_transfer_close(struct adma_transfer *transfer);

int adma_transfers_init(void);
/* Waits for all that were started. */
void adma_transfers_exit(void);

#endif
