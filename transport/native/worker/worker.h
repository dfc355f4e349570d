/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.h - a worker: what owns matching and progress for a set of endpoints.
 *
 * One lock guards a worker and all its endpoints. A channel is a worker with one endpoint.
 *
 * An endpoint is looked at for one of three reasons. Either the worker has few endpoints, and
 * looks at all of them; or the endpoint was named in the worker's summary (shm/summary.h); or the
 * worker looks at everything, which it does before it sleeps and once in a millisecond of polling,
 * because a summary is only a hint.
 *
 * Two lists keep the cost of a round independent of endpoints at which nothing happens:
 *
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

struct adma_endpoint;

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
	uint32_t users;              /* threads that use maps or descriptors of any endpoint without the lock */
	uint32_t count;              /* open endpoints */
	struct adma_list endpoints;  /* these */
	struct adma_list rearm;      /* see above */
	struct adma_list active;     /* see above */
};

#endif
