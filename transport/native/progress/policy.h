/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * policy.h - when the progress thread copies for a channel, and when it holds back.
 *
 * It takes note, publishes and matches at once. It copies only when nobody else does, for each of
 * its cycles is one that the program computes with:
 *
 *   - not while a thread of ours owns the channel, nor in the moment after (ownership.h)
 *   - of chunks that either endpoint may copy, not while the peer is copying one, nor before the
 *     peer had time to begin with the next: little time when nobody waits there, and then the
 *     reader's progress thread goes first; more time when somebody does
 *
 * While it holds back, event count and sockets are armed all the same, so that whatever the peer
 * signals ends the sleep; the sleep by the clock is for a peer that signals nothing. Slots decide
 * who copies what: two progress threads that lose patience at once share the chunks.
 *
 * Once it copies a transfer of several chunks that either endpoint may copy, idle copy worker
 * threads are asked to assist. They follow the same rules, chunk by chunk.
 *
 * All functions are called with the lock. A step drops it while it copies.
 */
#ifndef ADMA_PROGRESS_POLICY_H
#define ADMA_PROGRESS_POLICY_H

#include "progress/channel.h"

/* A visit that was due has come: did somebody see to the channel all the same? */
void adma_policy_learn(struct adma_chan *chan);

/* Copy one chunk that is due. True when something moved. */
bool adma_policy_copy(struct adma_chan *chan, int64_t now);

/* The same on behalf of a copy worker thread that assists. */
bool adma_policy_assist(struct adma_chan *chan, int64_t now);

/* The progress thread has begun to copy: copy worker threads may join in. */
void adma_policy_ask_assist(struct adma_chan *chan);

/* When there is something to do again; ADMA_NEVER: not before something is signalled. */
int64_t adma_policy_next(struct adma_chan *chan, int64_t now);

#endif
