/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waiters.h - threads of this process that sleep on a channel. All with the lock, unless said.
 *
 * Invariant: whenever the lock is free and the channel has sleepers or a polled descriptor, its
 * event count is armed, or a byte is on its way, or a thread is inside that will look again
 * before it leaves. adma_publish() in api/entry.c restores it.
 */
#ifndef ADMA_PROGRESS_WAITERS_H
#define ADMA_PROGRESS_WAITERS_H

#include <poll.h>

#include "progress/channel.h"

enum { ADMA_FDS_PER_CHANNEL = 4 };

/* A thread that sleeps, or is about to, on one of the channels that it waits for. */
struct adma_sleeper {
	uint64_t epoch;
	bool in;       /* it is counted among the channel's sleepers */
	bool listener; /* it waits for a message */
};

/* 0, or a negated errno. */
int adma_waiters_init(struct adma_waiters *waiters);

/* Wake this process's sleepers on the channel. */
void adma_waiters_wake(struct adma_chan *chan);

/* Wake them if something happened that they may wait for, and take the mark back. */
void adma_waiters_wake_marked(struct adma_chan *chan);

/* Another thread was at a stream while they fell asleep: do they wait for less of its descriptor than they should? */
bool adma_waiters_miss_events(const struct adma_chan *chan);

/*
 * The caller joins the sleepers: the descriptors that it has to sleep on, none if `blind`. The
 * channel stays in place until adma_sleeper_leave().
 */
void adma_sleeper_join(struct adma_chan *chan, struct adma_sleeper *sleeper, struct pollfd *fds, bool blind);

/* It is awake. */
void adma_sleeper_leave(struct adma_chan *chan, struct adma_sleeper *sleeper);

#endif
