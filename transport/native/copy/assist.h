/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lending.h - the engine's queues help with what is no copy: chunks of a channel's transfers.
 *
 * The mover lists a channel while it copies for it; idle queues then call its part(), several
 * at once, until there was nothing to do for one. It stands in the same lines as
 * copies, so that what is small goes first, and after each part behind all others of its
 * class, so that nothing waits for the whole of it. Not with `round-robin`, which is the paper's, for copies.
 *
 * Locks: adma_engine_assist() is called with the channel's, under which that of the engine is
 * taken; part() with none. adma_engine_assist_stop() with none, after the last lend, and before the memory goes.
 */
#ifndef ADMA_COPY_ASSIST_H
#define ADMA_COPY_ASSIST_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

struct adma_engine;

struct adma_assist {
	struct adma_work work;
	bool (*part)(struct adma_assist *lending); /* do one; false: there was none */

	/* the engine's own, with its lock */
	uint64_t bytes;                   /* of what is copied now */
	const struct adma_engine *engine; /* in whose lines it stands, if it is listed */
	uint32_t busy;                    /* queues in part() */
};

/* Set it up, once, before it is used; and anew in a forked child. */
static inline void adma_assist_init(struct adma_assist *assist, bool (*part)(struct adma_assist *assist))
{
	*assist = (struct adma_assist){.part = part};
}

/* Ask for up to `parts` queues; not again while it is listed. None comes where there are no queues. */
void adma_engine_assist(struct adma_assist *lending, uint64_t bytes, uint64_t parts);

/* No queue is or comes in part() any more. */
void adma_engine_assist_stop(struct adma_assist *lending);

/* Is this thread one of the queues? */
bool adma_queue_here(void);

#endif
