/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spread.h - over how many workers a copy is spread, and in how large parts, by what earlier copies took.
 *
 * Large parts cost less to claim. With smaller ones all copiers are busy until the end. More workers cost more
 * wake-ups, and do not help once memory is the limit. Which of these matters most differs between processors, and
 * between sizes. So a *way* is a size of the parts together with a number of workers:
 *
 *   the parts      ADMA_PART_BYTES, which is built in; or one for each copier, unless source and destination of a part
 *                  would not fit into the second-level cache
 *   the workers    all of them, which is built in; one; and a number between
 *
 * Copies whose caller waits from the beginning, and so makes parts itself, are not compared with those that only
 * workers make. If the caller computes, elapsed time does not tell what a copy takes from it. So then all workers serve,
 * as they were configured, and only the size of the parts is learnt. Whether the next caller will wait is not known when
 * a copy is posted. It is expected to do what the caller of the last copy of that class did, and there is no sample if
 * it does not.
 *
 * A sample is the time from the post to the completion. There is none of a copy beside which other work was listed:
 * what is posted beside others is spread as is built in, so that a large part keeps no small copy waiting. There is
 * none where cores are short.
 *
 * Pure: no lock, no clock. The engine lock guards it.
 */
#ifndef ADMA_COPY_SPREAD_H
#define ADMA_COPY_SPREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "copy/schedule.h"
#include "learn/estimate.h"

enum {
	ADMA_SPREAD_ALL = UINT32_MAX >> 1, /* workers: no limit */
	ADMA_SPREAD_SOON =
		8, /* a caller that makes its first part before one in so many is copied has waited from the beginning */
};

struct adma_spreads {
	struct adma_estimates of[2]; /* by `waits` of the copy */
	bool waits[ADMA_CLASSES]; /* the caller of the last copy of this class did */
	uint32_t workers; /* those of which the ways are numbered; 0: nothing is known */
	uint64_t largest; /* bytes of a part: see above */
};

/* Spread it as is built in. */
void adma_spread_plainly(struct adma_copy *copy);

/* Choose a way for the copy, which is alone, and cut it. */
void adma_spread_choose(struct adma_spreads *s, struct adma_copy *copy, uint32_t workers, bool callers_help);

/* The copy is complete. `undisturbed`: it was alone, and had cores. */
void adma_spread_note(struct adma_spreads *s, const struct adma_copy *copy, bool undisturbed);

/* See adma_engine_learnt() and adma_engine_take_up(). */
int adma_spread_tell(const struct adma_spreads *s, struct adma_spread *found, int room);
int adma_spread_take_up(struct adma_spreads *s, uint32_t workers, const struct adma_spread *spread);

#endif
