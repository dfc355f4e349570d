/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * descriptors.h - whether the descriptors on which threads sleep are still ours (base/own.h).
 *
 * A thread that sleeps on descriptors that somebody has closed is woken by nobody. So no sleep
 * lasts longer than a second, and whoever wakes looks at the descriptors, at most once a second. An
 * endpoint that has lost its socket, or whose worker has lost what wakes its sleepers, is terminated.
 */
#ifndef ADMA_PROGRESS_DESCRIPTORS_H
#define ADMA_PROGRESS_DESCRIPTORS_H

#include "progress/progress.h"

/* Look, unless a thread has looked within the last second. Called with the lock held, at time `now`. */
void adma_descriptors_check(struct adma_progress *progress, int64_t now);

/* The caller has a reason to look: the next check looks in any case. Called with the lock held. */
static inline void adma_descriptors_suspect(struct adma_progress *progress)
{
	progress->waiters.owned_at = 0;
}

/*
 * Are the descriptors that the progress thread polls for the worker still ours? Called without the lock, by a
 * thread that keeps the worker from being torn down.
 */
bool adma_descriptors_are_lost(const struct adma_progress *progress);

#endif
