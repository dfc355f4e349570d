/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ownership.h - who makes progress on a channel that has requests pending.
 *
 * A thread of this process that waits for something on the channel *owns* it: it makes all
 * progress that there is, and nobody else does any. When the last owner leaves for good, and
 * requests are pending that need our help (a small message needs none, it lies in the ring), the
 * channel is handed over: it is *delegated* to the progress thread until somebody owns it again.
 *
 *   acquire    in adma_drive() and adma_sleep(); it takes the channel from the progress thread
 *   release    at their end: for good, or to be back in a moment. A blocking call drives, sleeps
 *              and drives; it hands over nothing in between
 *   hand over  also in a post that does not block, and in a cancel that comes too late
 *
 * Invariant, with that of waiters.h: whenever the lock is free and the channel is delegated, its
 * event count is armed and the progress thread polls its socket, or the progress thread has been
 * called and looks before it sleeps. adma_publish() restores it, too.
 *
 * All functions are called with the lock.
 */
#ifndef ADMA_PROGRESS_OWNERSHIP_H
#define ADMA_PROGRESS_OWNERSHIP_H

#include "progress/channel.h"

/*
 * An owner that left may be back in a moment, and then the progress thread would only be in the
 * way: so it gives the owner this long. A wake-up that was in vain doubles the time, and a chunk
 * that the progress thread had to copy takes it back: a program that posts and waits at once is
 * disturbed once in ADMA_GRACE_MAX_NS at most.
 */
#define ADMA_GRACE_NS 60000
#define ADMA_GRACE_MAX_NS 4000000

void adma_ownership_acquire(struct adma_chan *chan);
void adma_ownership_release(struct adma_chan *chan, bool for_good);

/* A thread is about to acquire it: the peer may know before it is signalled. */
void adma_ownership_announce(struct adma_chan *chan);

/* If the channel needs somebody and has nobody, it is delegated to the progress thread from now on. */
void adma_ownership_hand_over(struct adma_chan *chan);

/* It is not delegated any more. */
void adma_delegation_end(struct adma_chan *chan);

/*
 * The event count of a delegated channel was just armed: have the progress thread poll it. `more`:
 * there is something to do now, so it has to be called; it is not if it is the caller itself, which
 * finds that on its way out.
 */
void adma_delegation_rearm(struct adma_chan *chan, bool more, bool by_progress_thread);

#endif
