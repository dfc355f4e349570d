/* SPDX-License-Identifier: BSD-3-Clause */
/* round.h - a round of progress over the endpoints of a worker. Called with the lock held, unless a comment says otherwise. */
#ifndef ADMA_WORKER_ROUND_H
#define ADMA_WORKER_ROUND_H

#include "worker/endpoint.h"

void adma_worker_init(struct adma_worker *worker);

/* Free what a worker without endpoints has in memory. Its lock is gone. */
void adma_worker_forget(struct adma_worker *worker);

/* An endpoint joins, or leaves, the worker. */
void adma_worker_add(struct adma_worker *worker, struct adma_endpoint *ep);
void adma_worker_remove(struct adma_worker *worker, struct adma_endpoint *ep);

/* With more than few endpoints: offer the worker's summary to all peers that may have it. */
void adma_worker_summarise(struct adma_worker *worker);

/* Look at one endpoint: make a round of progress on it. True when anything changed. */
bool adma_endpoint_advance(struct adma_endpoint *ep);

/* Look at all endpoints at which something may have happened. True when anything changed. */
bool adma_worker_advance(struct adma_worker *worker);

/*
 * Look at all endpoints whose event count may not be armed, whatever the summary says, and arm those at which
 * nothing happens. The peer of an armed one sends a byte, which adma_poll_check() reads. True when anything changed.
 */
bool adma_worker_look_at_unarmed(struct adma_worker *worker);

/* Has an endpoint transfers that could be copied now? */
bool adma_worker_ready(struct adma_worker *worker);

/* Store in our segments whether a thread of ours waits. */
void adma_worker_tell_waits(struct adma_worker *worker, bool waits);

/* Is anything pending that will not complete without our help? */
bool adma_worker_needs_progress(const struct adma_worker *worker);

/* Disarm the event counts: no thread sleeps or polls, and an armed one costs the peer a system call. */
void adma_worker_disarm(struct adma_worker *worker);

/* The same, with the checks that a hint leaves out: a read would not have to wait. May make a system call. */
bool adma_worker_find_message(struct adma_worker *worker);

/* Has any endpoint transfers? */
bool adma_worker_has_transfers(const struct adma_worker *worker);

/* Is there a message, or is an endpoint terminated? This is a hint, without any check. */
bool adma_worker_has_message(const struct adma_worker *worker);

/*
 * Called with the lock held, which is not held on return. The maps and descriptors of all endpoints stay in
 * place until adma_worker_retake(), which takes the lock again.
 */
void adma_worker_release_for_use(struct adma_worker *worker);
void adma_worker_retake(struct adma_worker *worker);

/* Does an endpoint complete requests without signalling its event count? */
bool adma_worker_is_silent(const struct adma_worker *worker);

#define adma_worker_for_each(ep, worker) \
	adma_list_for_each_entry(ep, &(worker)->endpoints, struct adma_endpoint, member)
#define adma_worker_for_each_active(ep, worker) \
	adma_list_for_each_entry(ep, &(worker)->active, struct adma_endpoint, active)

#endif
