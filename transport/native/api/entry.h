/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * entry.h - how every entry point of the core begins and ends.
 *
 * A query takes the lock, looks, and unlocks: it makes no progress and, unless its contract says
 * so, no system call. A call that changes something publishes before it unlocks.
 */
#ifndef ADMA_API_ENTRY_H
#define ADMA_API_ENTRY_H

#include "base/holds.h"
#include "progress/progress.h"

/* Take the lock of a worker, and return 0. If it cannot be used, do not take it, and return the negated reason. */
int adma_enter_worker(struct adma_progress *progress);

/* The same, but -ADMA_E_BUSY where another thread has the lock. */
int adma_try_enter_worker(struct adma_progress *progress);

/* Release the lock, and nothing else. */
static inline void adma_leave_worker(struct adma_progress *progress)
{
	pthread_mutex_unlock(&progress->worker.lock);
}

/*
 * Act on the marks that were set since the last publication. Sleepers are woken, waiters of poll
 * sets included. If a thread sleeps or polls, or the worker is delegated, look again until the event
 * counts can be armed. The descriptor of fileno() is made readable or not, as it should be. False: a peer signals its
 * event count faster than it can be armed. Called with the lock held.
 */
bool adma_publish(struct adma_progress *progress, bool by_progress_thread);

/* The same, and leave. The binding looks by itself for requests that are complete (adma_hold.h). */
static inline void adma_publish_and_leave_untold(struct adma_progress *progress)
{
	(void)adma_publish(progress, false);
	adma_leave_worker(progress);
}

/* The same, and the binding is told of requests that are complete. */
static inline void adma_publish_and_leave_worker(struct adma_progress *progress)
{
	adma_publish_and_leave_untold(progress);
	adma_holds_tell();
}

#endif
