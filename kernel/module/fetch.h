/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch.h - waits on behalf of transfers: fetches memory that a transfer cannot have at once.
 *
 * A transfer's work waits for nobody: not for page faults, which another process may have
 * to serve, nor for a mapping's lock, nor for invalidations. Memory that it would have to
 * wait for is fetched: a work of its own pins it for long, or only faults it in, and wakes
 * the transfer when that is completed. The transfer occupies no worker meanwhile, and may be
 * gone by then.
 *
 * Fetches take turns by the owner of the user namespace, by user and by process (fair_queue.h). A
 * few of a user run at a time, and fewer of one process; and fewer in all than the work queue can
 * run. So a process that serves no faults makes only its own user wait, and a user of many uids
 * makes only those wait that share with him.
 *
 * A client has one fetch at most. A fetch holds all that it needs, and the module. If nobody
 * waits for it any more, it is destroyed as soon as its page fault has been served.
 */
#ifndef ADMA_FETCH_H
#define ADMA_FETCH_H

#include <linux/types.h>

#include "memory.h"

struct adma_fetch;
struct adma_pin;

/* Its wake() is called when a fetch is completed, in process context; it must not sleep. */
struct adma_waiter {
	void (*wake)(struct adma_waiter *waiter);
};

/* For whom memory is fetched. */
struct adma_fetch_client {
	struct adma_waiter *waiter; /* woken when the fetch is completed */
	struct adma_fetch *fetch;   /* running, waiting or completed; or NULL */
};

/*
 * Fetch @memory's bytes from @start to @end, of one range; pin them for long if
 * @long_term. Nothing happens if that, or more, is being fetched already; otherwise
 * what was fetched before is released. If no memory is left nothing is begun: the transfer tries
 * again anyway.
 */
void adma_fetch_begin(struct adma_fetch_client *client, struct adma_memory *memory,
		      unsigned long start, unsigned long end, bool long_term);

/*
 * Share the pin of a completed fetch, which stays fetched. -EAGAIN: the fetch is not
 * completed, it is of other memory, it was not @long_term, or its pages are not the mapped
 * ones any more. Otherwise the error of the fetch.
 */
int adma_fetch_pin(struct adma_fetch_client *client, struct adma_pin *pin,
		   struct adma_memory *memory, unsigned long start, unsigned long end,
		   bool long_term);

/* Has the fetch waited for its turn for so long that the transfer should do without it? */
bool adma_fetch_is_delayed(const struct adma_fetch_client *client);

/* Release what was fetched, and do not wait any more for what still is being fetched. */
void adma_fetch_release(struct adma_fetch_client *client, struct adma_memory *memory);

int adma_fetches_init(void);
void adma_fetches_exit(void);

#endif
