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

#include <stdatomic.h>
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
 * What a waiter has learned from its waits. A short sleep may come again and again however long the spin before it is:
 * where the waker was put on the core of the thread that spins, it does not run before that thread sleeps. So spins of
 * the longest kind that avoided no sleep are counted. After a few in a row the waiter spins for the shortest time, and
 * tries a long spin again only after twice as many short sleeps as it did before.
 */
struct adma_backoff {
	_Atomic int64_t spin_ns;       /* how long to spin before the next sleep */
	_Atomic int64_t slept_ns;      /* in this wait so far: a thread may be woken for what it does not wait for */
	_Atomic uint32_t in_vain;      /* the longest spins in a row that avoided no sleep */
	_Atomic uint32_t short_sleeps; /* since the last of them */
};

static inline void adma_backoff_sleep(struct adma_backoff *backoff, int64_t slept_ns)
{
	atomic_fetch_add_explicit(&backoff->slept_ns, slept_ns, memory_order_relaxed);
}

#define ADMA_BACKOFF_CHANCE 2 /* so many may be in vain by chance */
#define ADMA_BACKOFF_MOST 6   /* a long spin is tried after 2^6 short sleeps at the latest */

static inline uint32_t adma_backoff_sleeps_to_try(uint32_t in_vain)
{
	uint32_t doublings = in_vain > ADMA_BACKOFF_CHANCE ? in_vain - ADMA_BACKOFF_CHANCE : 0;

	return 1u << (doublings < ADMA_BACKOFF_MOST ? doublings : ADMA_BACKOFF_MOST);
}

/* The waiter had spun for as long as it had learned to, and then slept for so long until something came. */
static inline void adma_backoff_learn(struct adma_backoff *backoff, int64_t slept_ns, struct adma_backoff_limits limits)
{
	int64_t spin_ns = atomic_load_explicit(&backoff->spin_ns, memory_order_relaxed);
	uint32_t in_vain = atomic_load_explicit(&backoff->in_vain, memory_order_relaxed);
	int64_t next = adma_backoff_after_sleep(spin_ns, slept_ns, limits);

	if (next == limits.max_ns && spin_ns == limits.max_ns) {
		atomic_store_explicit(&backoff->in_vain, ++in_vain, memory_order_relaxed);
		atomic_store_explicit(&backoff->short_sleeps, 0, memory_order_relaxed);
		next = in_vain > ADMA_BACKOFF_CHANCE ? limits.min_ns : limits.max_ns;
	} else if (next == limits.max_ns &&
		   atomic_fetch_add_explicit(&backoff->short_sleeps, 1, memory_order_relaxed) + 1 <
			   adma_backoff_sleeps_to_try(in_vain)) {
		next = spin_ns;
	}
	atomic_store_explicit(&backoff->spin_ns, next, memory_order_relaxed);
}

/* Something came: if the waiter has slept for it, it learns from that. */
static inline void adma_backoff_wake(struct adma_backoff *backoff, struct adma_backoff_limits limits)
{
	if (atomic_load_explicit(&backoff->slept_ns, memory_order_relaxed))
		adma_backoff_learn(backoff, atomic_exchange_explicit(&backoff->slept_ns, 0, memory_order_relaxed),
				   limits);
}

/* A spin has avoided a sleep. */
static inline void adma_backoff_hit(struct adma_backoff *backoff, struct adma_backoff_limits limits)
{
	if (atomic_load_explicit(&backoff->in_vain, memory_order_relaxed) &&
	    atomic_load_explicit(&backoff->spin_ns, memory_order_relaxed) > limits.min_ns)
		atomic_store_explicit(&backoff->in_vain, 0, memory_order_relaxed);
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
