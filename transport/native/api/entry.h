/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * entry.h - how every entry point of the core begins and ends.
 *
 * A query takes the lock, looks, and unlocks: it makes no progress and, unless its contract says
 * so, no system call. A call that changes something publishes before it unlocks.
 */
#ifndef ADMA_API_ENTRY_H
#define ADMA_API_ENTRY_H

#include "progress/channel.h"

/* Take the lock, and return 0. If the channel cannot be used, do not take it, and return the negated reason. */
int adma_enter(struct adma_chan *chan);

/* Release the lock, and nothing else. */
static inline void adma_leave(struct adma_chan *chan)
{
	pthread_mutex_unlock(&chan->ep.lock);
}

/*
 * Act on the marks that were set since the last publication. Sleepers are woken, waiters of poll
 * sets included. If a thread sleeps or polls, or the channel is delegated, look again until the event count can be armed. The
 * descriptor of fileno() is made readable or not, as it should be. False: the peer signals the
 * event count faster than it can be armed. Called with the lock held.
 */
bool adma_publish(struct adma_chan *chan, bool by_progress_thread);

static inline void adma_publish_and_leave(struct adma_chan *chan)
{
	(void)adma_publish(chan, false);
	adma_leave(chan);
}

/* The event count of this endpoint, which the peer signals. */
static inline _Atomic uint64_t *adma_event_count(const struct adma_chan *chan)
{
	return &chan->ep.connection.config.local->event_count;
}

#endif
