/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * assist.h - copy worker threads assist the progress thread: they copy chunks of a channel's transfers.
 *
 * The progress thread asks for it while it copies for a channel. Free workers then call the
 * channel's part(), several at once, until one of them finds nothing to do. The assist is in the
 * same run queues as copies are, so that small work is served first. After each piece it goes to
 * the end of its run queue, so that nothing waits until the whole transfer is copied. Workers do
 * not assist under the policy `round-robin`, which is the paper's, for copies only.
 *
 * adma_engine_assist() is called with the channel's lock held; the engine lock is taken under it.
 * part() is called without a lock. The other functions are called without a lock, after the last
 * adma_engine_assist() and before the memory is freed.
 */
#ifndef ADMA_COPY_ASSIST_H
#define ADMA_COPY_ASSIST_H

#include <stdint.h>

#include "copy/work.h"

/*
 * Let up to `parts` workers assist with a transfer of `bytes` bytes. Does nothing while an
 * earlier request is still listed, or where the engine has no workers.
 */
void adma_engine_assist(struct adma_assist *assist, uint64_t bytes, uint64_t parts);

/* Withdraw the request, and wait until no worker is in part(), but not beyond `end`: a page may hold one up for ever. */
void adma_engine_assist_stop(struct adma_assist *assist, int64_t end);

/*
 * The channel is about to be freed. True: a worker is still in part(), and the last of them will call `orphan`,
 * which frees it. False: the caller frees it.
 */
bool adma_engine_assist_leave(struct adma_assist *assist, void (*orphan)(struct adma_assist *assist));

#endif
