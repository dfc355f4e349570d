/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backoff.h - spinning before a sleep: the loop, and for how long it pays.
 *
 * Spinning pays while the answer takes less time than falling asleep and being woken does.
 * So a sleep that turned out short says that spinning for longer would have saved it, and
 * each long sleep says that there is less to wait for.
 */
#ifndef ADMA_BASE_BACKOFF_H
#define ADMA_BASE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/relax.h"

/* Looks between two readings of the clock, which costs as much as some of them. */
#define ADMA_SPIN_STRIDE 32

/* How long to spin before the next sleep, from what the sleeps before it were like. Limits: not 0. */
struct adma_backoff_limits {
	int64_t min_ns, max_ns;
};

/* A sleep of `slept_ns` is over. Returns how long to spin next, given how long that was so far. */
static inline int64_t adma_backoff_after_sleep(int64_t spin_ns, int64_t slept_ns, struct adma_backoff_limits limits)
{
	int64_t shorter = spin_ns * 3 / 4;

	if (slept_ns < limits.max_ns)
		return limits.max_ns;
	return shorter > limits.min_ns ? shorter : limits.min_ns;
}

/*
 * Call look(what) until it returns true, or until the clock has passed `end_ns`. Every
 * ADMA_SPIN_STRIDE looks, `look_seldom`, which may be NULL, is called as well: it is for what
 * costs more to look at, or what the looking itself would disturb. True when either did.
 */
static inline __attribute__((always_inline)) bool adma_spin(int64_t end_ns, bool (*look)(void *what),
							    bool (*look_seldom)(void *what), void *what)
{
	for (unsigned int i = 1;; i++) {
		adma_relax();
		if (look(what))
			return true;
		if (i % ADMA_SPIN_STRIDE)
			continue;
		if (adma_now() > end_ns)
			return false;
		if (look_seldom && look_seldom(what))
			return true;
	}
}

#endif
