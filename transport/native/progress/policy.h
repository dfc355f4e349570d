/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * policy.h - when the progress thread copies for a worker, and when it is patient.
 *
 * The progress thread takes note, publishes and matches at once. It copies only when nobody else
 * does, because it uses cycles with which the program could compute:
 *
 *   - It does not copy while a thread of this process owns the worker, nor during the grace after
 *     that (ownership.h).
 *   - Of chunks that either endpoint may copy, it copies none while the peer is copying one, and
 *     none before the peer had time to begin with the next. That time is short when no thread
 *     waits at the peer, and shorter for the reader's progress thread than for the writer's. It
 *     is longer when a thread waits there.
 *
 * Event count and sockets are armed also while it is patient, so that whatever the peer signals
 * ends its sleep. The sleep is timed for peers that signal nothing. The claims in the slot decide
 * which thread copies which chunk: two progress threads that stop waiting at the same time share
 * the chunks.
 *
 * Once the progress thread copies a transfer of several chunks that either endpoint may copy, idle
 * copy worker threads are asked to assist. They follow the same rules for each chunk.
 *
 * All functions are called with the lock held. Copying drops it.
 */
#ifndef ADMA_PROGRESS_POLICY_H
#define ADMA_PROGRESS_POLICY_H

#include "progress/progress.h"

/* A visit by the clock has begun. It is in vain if an owner came back meanwhile: that lengthens the grace. */
void adma_policy_learn(struct adma_progress *progress);

/* Copy one chunk that is due. True when something was copied, or an endpoint is terminated. */
bool adma_policy_copy(struct adma_progress *progress, int64_t now);

/* The same on behalf of a copy worker thread that assists. */
bool adma_policy_assist(struct adma_progress *progress, int64_t now);

/* The progress thread has copied a chunk: ask copy worker threads to assist. */
void adma_policy_ask_assist(struct adma_progress *progress);

/* When there will be something to copy; ADMA_NEVER: not before something is signalled. */
int64_t adma_policy_next(struct adma_progress *progress, int64_t now);

#endif
