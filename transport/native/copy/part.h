/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * part.h - making a part of a copy by a core: claim it, copy it, retire it.
 *
 * Several threads may make parts of the same copy at once. The functions are called with the
 * engine lock held.
 */
#ifndef ADMA_COPY_PART_H
#define ADMA_COPY_PART_H

#include <stdbool.h>

#include "adma_copy.h"

/* Who makes a part: a copy worker thread, of which no more work on a copy than it is spread over, or a caller. */
enum adma_part_maker { ADMA_PART_BY_WORKER, ADMA_PART_BY_CALLER };

enum adma_part_result {
	ADMA_PART_NONE,     /* no part of this copy can be made now */
	ADMA_PART_MADE,     /* the copy may be freed by now */
	ADMA_PART_RETURNED, /* a part was made, and the copy is back in its run queue, of which it had been taken out */
};

/* Put a copy into its run queue. */
void adma_part_enqueue(struct adma_copy *copy);

/* Take a copy out of its run queue, unless it was started: then this returns false. */
bool adma_part_dequeue(struct adma_copy *copy);

/*
 * Make the next part of a copy. The lock is dropped while bytes are copied. The copy leaves its run queue while no
 * further worker may claim a part of it. A caller may still do so.
 */
enum adma_part_result adma_part_make(struct adma_copy *copy, enum adma_part_maker maker);

/*
 * The copy that a caller, which is no worker, should make a part of, or NULL: the one that
 * worker 0 would take; with round robin, that of the first worker that has a copy. Assists are
 * left to the workers: the threads that wait for messages copy for themselves.
 */
struct adma_copy *adma_part_any_copy(void);

#endif
