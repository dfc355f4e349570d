/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waiters.h - threads of this process that sleep on a worker. All functions but
 * adma_waiters_init() are called with the lock held.
 *
 * Invariant: whenever the lock is free and the worker has sleepers or a poll descriptor, each of its
 * event counts is armed, or a byte is on its way, or a thread is in a call of the core and will
 * look again before it returns. adma_publish() in api/entry.c restores this invariant.
 */
#ifndef ADMA_PROGRESS_WAITERS_H
#define ADMA_PROGRESS_WAITERS_H

#include <poll.h>

#include "progress/progress.h"

enum { ADMA_FDS_PER_WORKER = 4 };

/* A thread that sleeps, or is about to, and one of the workers that it waits for. */
struct adma_sleeper {
	uint64_t epoch;
	bool in;       /* the thread is counted among the worker's sleepers */
	bool listener; /* it waits for a message, not for a request */
	bool owns;     /* it owns the worker while it sleeps */
};

/* 0, or a negated errno. */
int adma_waiters_init(struct adma_waiters *waiters);

/* Wake the threads of this process that sleep on the worker. */
void adma_waiters_wake(struct adma_progress *progress);

/* Wake them if they are marked to be woken, and clear the mark. */
void adma_waiters_wake_marked(struct adma_progress *progress);

/* Do sleepers wait for too few events of the data descriptor? (A stream may have changed since they fell asleep.) */
bool adma_waiters_miss_events(const struct adma_progress *progress);

/*
 * The caller joins the sleepers. Fills in the descriptors that it has to sleep on, unless it is
 * `blind`. The worker's descriptors stay in place until adma_sleeper_leave().
 */
void adma_sleeper_join(struct adma_progress *progress, struct adma_sleeper *sleeper, struct pollfd *fds, bool blind);

/* The caller is awake, and leaves the sleepers. */
void adma_sleeper_leave(struct adma_progress *progress, struct adma_sleeper *sleeper);

#endif
