/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - a worker: what owns matching and progress for a set of endpoints.
 *
 * One lock guards a worker and all its endpoints. A channel is a worker with one endpoint.
 *
 * A round looks at the endpoints at which something may have happened. With few endpoints these
 * are all. With more, peers of the same user name theirs in the worker's summary (shm/summary.h).
 * A summary is only a hint. So once in a millisecond of polling, and before a thread sleeps, all
 * endpoints are looked at whose event count may not be armed. The peer of an armed one sends a byte.
 *
 * Three lists keep the cost of a round independent of endpoints at which nothing happens:
 *
 *   direct   endpoints whose peers do not use the summary: each round looks at them
 *   rearm    endpoints whose event count may not be armed, because they were looked at or
 *            signalled since. Before a thread sleeps, these are looked at again and armed
 *   active   endpoints that have requests pending, or whose messages travel through the kernel helper
 */
#ifndef ADMA_WORKER_WORKER_H
#define ADMA_WORKER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/list.h"
#include "base/own.h"

struct adma_endpoint;
struct adma_summary;
struct adma_tags;

/* A worker with more endpoints than this does not look at all of them in each round. */
#define ADMA_FEW_ENDPOINTS 4

/* What an entry point has to do before it releases the lock. */
enum adma_mark {
	/* A sleeping thread of ours may wait for what just happened. */
	ADMA_MARK_WAITERS = 1,
	/* The event counts on the list `rearm` may not be armed for sleepers, pollers or the progress thread. */
	ADMA_MARK_REARM = 2,
};

struct adma_worker {
	pthread_mutex_t lock;
	_Atomic bool forked;         /* this is a forked child's copy */
	bool closed;                 /* nobody enters any more */
	bool torn_down;              /* descriptors and maps are gone */
	bool waits;                  /* a thread of ours waits: what our segments say */
	uint32_t marks;              /* mask of enum adma_mark */
	uint32_t unobserved;         /* completed requests that no caller has looked at */
	uint32_t unreceived; /* the same of reads for objects and their parts, which are no requests of a program */
	uint32_t users; /* threads that use maps or descriptors of any endpoint without the lock */
	uint32_t settling; /* threads that wait for users to leave: nobody spins meanwhile */
	uint32_t count; /* open endpoints */
	uint32_t removed; /* endpoints that there were and that are gone */
	/*
	 * Since when a thread of ours has looked for messages without a break, which now looks at what it found; 0: none has.
	 * Set once it has found something by spinning, until the end of the round that follows.
	 */
	int64_t watched_since;
	bool copies_next; /* this round is followed by a copy under the same lock: see adma_signal_match() */
	struct adma_list endpoints; /* these */
	struct adma_list direct, rearm, active; /* see above */
	struct adma_list untold; /* endpoints whose peers are to be signalled before the lock is released */
	struct adma_tags *tags; /* of a shared worker, which matches by tags; NULL: a channel's */
	struct adma_summary *summary; /* set once it has more than few endpoints */
	int summary_fd;
	struct adma_own summary_own;
	struct adma_endpoint **by_bit; /* endpoints by their bit in the summary, or NULL */
	uint32_t bits; /* the length of by_bit */
};

#endif
