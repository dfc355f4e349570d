/* SPDX-License-Identifier: GPL-2.0 */
/*
 * counters.h - what an endpoint, and the module as a whole, have done so far.
 *
 * There is one tally for each endpoint and one for the module. The order of the counts is
 * that of the fields of struct adma_counters, so that reading a tally out is a loop.
 */
#ifndef ADMA_COUNTERS_H
#define ADMA_COUNTERS_H

#include <linux/atomic.h>
#include <linux/types.h>

#include <uapi/linux/adma.h>

enum adma_count {
	ADMA_COUNT_POSTS,
	ADMA_COUNT_MATCHES,
	ADMA_COUNT_DONE,
	ADMA_COUNT_FAILED,
	ADMA_COUNT_BYTES_DMA,
	ADMA_COUNT_BYTES_CPU,
	ADMA_COUNT_BYTES_EDGE,
	ADMA_COUNT_BYTES_RESCUED,
	ADMA_COUNT_PIECES,
	ADMA_COUNT_PIN_HITS,
	ADMA_COUNT_PIN_MISSES,
	ADMA_COUNT_PAGES_PINNED,
	ADMA_COUNT_PAGES_UNPINNED,
	ADMA_COUNT_PAGES_STUCK,
	ADMA_COUNT_INVALIDATIONS,
	ADMA_COUNT_TIMEOUTS,
	ADMA_COUNT_TIMES, /* ADMA_TIMES of them */
	ADMA_COUNTS = ADMA_COUNT_TIMES + ADMA_TIMES,
};

struct adma_tally {
	atomic64_t count[ADMA_COUNTS];
};

extern struct adma_tally adma_total;

/* @tally is an endpoint's, or NULL where only the module's total changes. */
static inline void adma_tally_add(struct adma_tally *tally, enum adma_count what, u64 n)
{
	if (tally)
		atomic64_add(n, &tally->count[what]);
	atomic64_add(n, &adma_total.count[what]);
}

/* Fills in all of @out but size and flags. */
void adma_tally_read(struct adma_tally *tally, struct adma_counters *out);

#endif
