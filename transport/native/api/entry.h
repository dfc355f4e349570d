/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * entry.h - how every entry point of the core begins and ends.
 *
 * A query takes the lock, looks, and unlocks: it makes no progress and, unless its contract says
 * so, no system call. Whatever changes something publishes before it unlocks.
 */
#ifndef ADMA_API_ENTRY_H
#define ADMA_API_ENTRY_H

#include "progress/channel.h"

/* Take the lock, unless the channel cannot be used: 0, or negated why (the lock is not taken then). */
int adma_enter(struct adma_chan *chan);

/* Release the lock, and nothing else. */
static inline void adma_leave(struct adma_chan *chan)
{
	pthread_mutex_unlock(&chan->ep.lock);
}

/*
 * With the lock: act on the marks that were set since the last time. Sleepers are woken; if any
 * sleep or poll, or the progress thread has the channel, it is looked at again until its event
 * count can be armed; the descriptor of fileno() becomes what it should be. False: the event count
 * is signalled faster than it can be armed.
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
