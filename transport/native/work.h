/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * work.h - something that the queues of an engine do piece by piece.
 *
 * A copy is one; so is whatever a channel has to copy while nobody waits for
 * it. Work that can be claimed from is listed in the engine's schedule; a queue, or a
 * caller that waits, takes the first and
 *
 *   claim    (lock held)   which piece; false: none just now, it is unlisted
 *   run      (no lock)     do it
 *   retire   (lock held)   it is done; the work may be gone afterwards
 *
 * so that `run` of several pieces of one work may go on at once, in several
 * threads. After a claim the engine asks `more` whether the work stays listed.
 */
#ifndef ADMA_WORK_H
#define ADMA_WORK_H

#include <stdbool.h>
#include <stdint.h>

struct adma_work;

/* Part of a work, in whatever its owner counts. */
struct adma_piece {
	uint64_t from, to;
	int64_t ns;   /* its owner's: what it took */
	uint32_t how; /* its owner's: in which way it is done */
};

struct adma_work_ops {
	bool (*claim)(struct adma_work *work, struct adma_piece *piece);
	bool (*more)(const struct adma_work *work);
	void (*run)(struct adma_work *work, struct adma_piece *piece);
	void (*retire)(struct adma_work *work, const struct adma_piece *piece);
};

struct adma_work {
	const struct adma_work_ops *ops;
	uint64_t bytes; /* of the whole: small work goes first */

	/* the schedule's own */
	struct adma_work *next, *prev;
	uint32_t line; /* the line it stands in */
	uint32_t listed;
	uint32_t running; /* pieces claimed and not retired */
};

#endif
