/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * work.h - what a run queue holds: copies, and assists.
 *
 * An assist is work for copy worker threads that is no copy: chunks of a channel's transfers.
 * assist.h tells how it is asked for.
 */
#ifndef ADMA_COPY_WORK_H
#define ADMA_COPY_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "base/list.h"

struct adma_engine;

/* `part` is set by its owner; the rest is 0 at first. */
struct adma_assist {
	struct adma_work work;

	/*
	 * Called by copy worker threads, by several at once, with no lock held: do one piece.
	 * False: there was none to do.
	 */
	bool (*part)(struct adma_assist *assist);

	/* private to the copy engine, guarded by its lock */
	uint64_t bytes;                   /* of the transfer that is copied now */
	const struct adma_engine *engine; /* the one in whose run queue it is, while it is listed */
	uint32_t busy;                    /* how many workers are in part() */
	void (*orphan)(struct adma_assist *assist); /* the last of them calls this, which frees the memory */
};

static inline struct adma_copy *adma_work_copy(struct adma_work *work)
{
	return adma_container_of(work, struct adma_copy, work);
}

static inline struct adma_assist *adma_work_assist(struct adma_work *work)
{
	return adma_container_of(work, struct adma_assist, work);
}

#endif
