/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ownership.h - who makes progress on a worker that has requests pending.
 *
 * A thread of this process that waits for something on the worker *owns* the worker's progress:
 * owners make all progress, and the progress thread makes none. When the last owner leaves for
 * good, and requests are pending that need our help, the worker is handed over: it is *delegated*
 * to the progress thread until a thread owns it again. (A small message needs no help, because it
 * lies in the ring.)
 *
 *   acquire    in adma_drive() and adma_sleep(); this takes the worker from the progress thread
 *   release    when these return: for good, or to come back in a moment. A blocking call drives,
 *              sleeps and drives, and does not hand over in between
 *   hand over  in a release for good, in a post that does not block, and in a cancel that comes
 *              too late
 *
 * Invariant, beside that of waiters.h: whenever the lock is free and the worker is delegated,
 * either its event counts are armed and the progress thread polls its sockets, or the progress thread
 * has been called and looks before it sleeps. adma_publish() restores this invariant, too.
 *
 * A worker that matches by tags is watched by the progress thread also when nothing is pending: its
 * peers wake the thread when one of its rings is half full.
 *
 * All functions are called with the lock held.
 */
#ifndef ADMA_PROGRESS_OWNERSHIP_H
#define ADMA_PROGRESS_OWNERSHIP_H

#include "progress/progress.h"

/*
 * An owner that left may come back in a moment, and then the progress thread would only be in its
 * way. So the progress thread waits for this long before it copies. A visit that was in vain
 * doubles the time, and a chunk that the progress thread had to copy resets it. So a program that
 * posts and soon waits is disturbed at most once in ADMA_GRACE_MAX_NS.
 */
#define ADMA_GRACE_NS 60000
#define ADMA_GRACE_MAX_NS 4000000

void adma_ownership_acquire(struct adma_progress *progress);
void adma_ownership_release(struct adma_progress *progress, bool for_good);

/* A thread is about to acquire the worker. The peers may know that before it is signalled. */
void adma_ownership_announce(struct adma_progress *progress);

/* If the worker needs progress and has no owner, delegate it to the progress thread. */
void adma_ownership_hand_over(struct adma_progress *progress);

/*
 * The progress thread was woken for a worker that is not delegated, because one of its rings is half full. It
 * delegates the worker to itself if what it found there needs progress, and else is woken again.
 */
void adma_ownership_resume(struct adma_progress *progress);

/* The worker is not delegated any more. */
void adma_delegation_end(struct adma_progress *progress);

/*
 * The event counts of a delegated worker were just armed: let the progress thread poll the worker.
 * `more`: there is something to do now, so the progress thread has to be called. If the progress
 * thread itself is the caller, no call is needed: it finds that out at the end of its visit.
 */
void adma_delegation_rearm(struct adma_progress *progress, bool more, bool by_progress_thread);

#endif
