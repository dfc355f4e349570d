/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rings.h - when the progress thread drains the rings of a worker with tags.
 *
 * A peer whose ring is half full wakes the thread, so that no sender waits while this process computes. A process that
 * receives all the time drains its rings itself, and would be disturbed by that for each half of a ring. So when the thread
 * was woken and finds that others have looked at the rings since its last visit, it asks the peers to wake it no more, and
 * looks by itself after a pause. If others have looked again by then, it makes a pause that is twice as long; if nobody has,
 * it drains the rings, lets itself be woken again, and makes its next pause half as long.
 *
 * All functions are called with the lock held, by the progress thread that visits the worker.
 */
#ifndef ADMA_PROGRESS_RINGS_H
#define ADMA_PROGRESS_RINGS_H

#include "progress/progress.h"

/* Is the visit at this time one of those that a pause has ended? */
bool adma_rings_are_due(const struct adma_progress *progress, int64_t now);

/* A visit begins. `woken`: by an event, not by the clock. */
void adma_rings_visit(struct adma_progress *progress, bool woken, int64_t now);

/* A visit ends. Returns when the next one is due for the rings, or ADMA_NEVER. */
int64_t adma_rings_leave(struct adma_progress *progress);

#endif
