/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch.h - what a transfer would have to wait for, waited for elsewhere.
 *
 * A transfer's worker waits for nobody: neither for page faults, which another process may have
 * to serve, nor for a mapping's lock, nor for invalidations. What it would have to wait for is
 * fetched: pinned for long, or only faulted in, by a work of its own, which tells the
 * transfer when it is over. The transfer holds no worker meanwhile, and may end.
 *
 * Fetches stand in a lane, one for each user, by whose memory it is. A few of a user's run at a
 * time, and fewer of a process's, so that who serves no fault keeps only himself waiting.
 *
 * A memory has one at most. A fetch holds all that it needs, and the module: one that
 * nobody waits for any more ends when its fault does.
 */
#ifndef ADMA_FETCH_H
#define ADMA_FETCH_H

#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "memory.h"

struct adma_pin;

/* Told that a fetch is over, in process context; does not sleep. */
struct adma_waiter {
	void (*wake)(struct adma_waiter *waiter);
};

struct adma_lane {
	spinlock_t lock;        /* all below, and what their fetches say of it */
	struct list_head line;  /* oldest first */
	struct list_head going;
	unsigned int goings;
};

void adma_lane_init(struct adma_lane *lane);

/*
 * @memory's bytes from @start to @end, of one range, are to be fetched: pinned for long if
 * @lasting. Unless that, or more, is on its way already; what else was fetched is let go.
 * Without memory nothing is begun: the transfer tries again anyway.
 */
void adma_fetch_begin(struct adma_memory *memory, unsigned long start, unsigned long end,
		      bool lasting);

/*
 * Pin what was fetched, if it was pinned for long; it stays fetched. The fetch's error; -EAGAIN: it
 * is not over, it was of something else, or it is of no use any more.
 */
int adma_fetch_pin(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		   unsigned long end, bool lasting);

/* Has it stood in line for so long that one should do without it? */
bool adma_fetch_stands(const struct adma_memory *memory);

/* Whatever was fetched, or still is, is not waited for any more. */
void adma_fetch_end(struct adma_memory *memory);

int adma_fetches_init(void);
void adma_fetches_exit(void);

#endif
