/* SPDX-License-Identifier: GPL-2.0 */
/*
 * transfer.h - a matched pair on its way: window by window, by DMA or by the CPU.
 *
 * It waits for an engine, and for nothing else: what memory it cannot have at once is fetched
 * (fetch.h), and it stalls meanwhile, without a worker. Whoever takes `parked` away lets it
 * go on: the fetch, a timer, or the close of an end.
 *
 * The maker owns the transfer and both memories until done() is called, once,
 * in process context, with no lock held. done() may free the transfer.
 */
#ifndef ADMA_TRANSFER_H
#define ADMA_TRANSFER_H

#include <linux/ktime.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "fetch.h"
#include "memory.h"

struct adma_transfer {
	struct work_struct work;
	struct workqueue_struct *queue;
	struct adma_waiter waiter;
	struct timer_list timer;
	spinlock_t lock;          /* leaf but for the work queues' and the timer's */
	bool parked;              /* lock: whoever clears it queues the work */
	bool woken;               /* lock: while it was not parked */
	bool closing;             /* lock: an end was closed */
	bool stalls;              /* since when it is without what it needs */
	unsigned long stalled;    /* jiffies */
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

/* Once, before anybody else knows of it. */
void adma_transfer_init(struct adma_transfer *transfer);

/*
 * Begin; the other fields are filled in. Never sleeps unless @here: then it may copy
 * in the caller's context, and have called done() when it returns.
 */
void adma_transfer_start(struct adma_transfer *transfer, bool here);

/*
 * An end of it is closed: if it stalls for a second it is done(), with -EPIPE. Does not sleep. The
 * caller sees to it that it is not done meanwhile.
 */
void adma_transfer_close(struct adma_transfer *transfer);

int adma_transfers_init(void);
/* Waits for all that were started. */
void adma_transfers_exit(void);

#endif
