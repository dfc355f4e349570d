/* SPDX-License-Identifier: BSD-3-Clause */
/* drive.h - what adma_drive() and adma_sleep() ask about a wait. Called without a lock. */
#ifndef ADMA_API_DRIVE_H
#define ADMA_API_DRIVE_H

#include <stdbool.h>

#include "api/channel.h"

/* A wait for one request, or with *req NULL for a message, on one channel. */
static inline struct adma_wait adma_wait_for_one(struct adma_chan **chan, struct adma_req **req)
{
	int n = *req != NULL;

	return (struct adma_wait){.chans = chan, .nchans = 1, .reqs = req, .nreqs = n, .need = n, .also = -1};
}

/* How many workers a wait is about, and the i-th of them; NULL: it was freed. */
static inline int adma_wait_count(const struct adma_wait *wait)
{
	return wait->nchans + wait->nworkers;
}

static inline struct adma_progress *adma_wait_progress(const struct adma_wait *wait, int i)
{
	if (i < wait->nchans)
		return wait->chans[i] ? &wait->chans[i]->progress : NULL;
	return adma_progress_of(wait->workers[i - wait->nchans]);
}

/*
 * At most once in a millisecond: read the sockets of peers that tell something, and look at all endpoints
 * whose event count is not armed, whatever a summary says. A caller that sleeps when it finds nothing polls them by that:
 * it checks only once it has been awake for so long, since `awake_since`; otherwise that is 0. True when anything changed.
 * Called with the lock held.
 */
bool adma_check_peers(struct adma_progress *progress, int64_t now, int64_t awake_since);

/*
 * adma_drive_one() for a call that has queued this request under the lock, which it still holds: it is not held on return.
 * After ADMA_READY the request is observed, unless another thread has completed it.
 */
int adma_drive_posted(struct adma_chan *chan, struct adma_req *req, int64_t budget_ns);

/* Is the request done, or does it need a buffer? */
bool adma_request_is_ready(const struct adma_req *req);

/* Are `need` of the requests ready; or, without requests, is there a message on the first worker? */
bool adma_wait_is_satisfied(const struct adma_wait *wait);

/*
 * One round for a caller that does not wait: take note of what happened, and copy at most one chunk. 1: something
 * changed; 0; or why the worker cannot be used.
 */
int adma_drive_once(struct adma_progress *progress);

#endif
