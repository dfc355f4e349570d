/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * backoff.h - spinning before a sleep: the loop, and for how long it pays.
 *
 * Spinning pays if the event comes sooner than a thread can fall asleep and be woken. So a
 * short sleep shows that spinning for longer would have avoided it, and a long sleep shows
 * that the spin before it was wasted.
 */
#ifndef ADMA_BASE_BACKOFF_H
#define ADMA_BASE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/relax.h"

/* The clock is read once in so many looks, because reading it costs as much as several looks. */
#define ADMA_SPIN_STRIDE 32

/* The limits of a spin. Neither is 0. */
struct adma_backoff_limits {
	int64_t min_ns, max_ns;
};

/* Returns how long to spin before the next sleep, after a spin of up to `spin_ns` and a sleep of `slept_ns`. */
static inline int64_t adma_backoff_after_sleep(int64_t spin_ns, int64_t slept_ns, struct adma_backoff_limits limits)
{
	int64_t shorter = spin_ns * 3 / 4;

	if (slept_ns < limits.max_ns)
		return limits.max_ns;
	return shorter > limits.min_ns ? shorter : limits.min_ns;
}

/*
 * Call look(what) until it returns true, or until the clock has passed `end_ns`. Once in every
 * ADMA_SPIN_STRIDE looks, `look_seldom` is called as well, unless it is NULL: it is for what costs
 * more to look at, and for words whose writers frequent looks would slow down. Returns true when
 * either function did.
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
