/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bell.h - how a sleeper learns that its peer did something.
 *
 * A bell is one 64-bit word {events:63, armed:1} in the half of the end that
 * sleeps on it.
 *
 *   sleeper:  v = bell_read();  look at everything;  nothing to do:
 *             bell_arm(v) -> true: sleep on the socket;  false: look again
 *   ringer:   publish something (release);  bell_ring() -> true: the sleeper
 *             is (about to be) asleep and this ringer was first: send a byte
 *
 * Arm and re-check are one compare-and-swap: it fails when anything was rung
 * since bell_read(), so there is no moment between the last look and the
 * sleep in which an event is lost. A plain store of `armed` followed by a
 * load of the ring passes in a sequentially consistent world and deadlocks
 * behind a store buffer (tests/model/wakeup.pml shows both).
 *
 * Ordering: ringing is a read-modify-write with release, so what was
 * published before it is visible to whoever reads the bell with acquire.
 */
#ifndef ADMA_SHM_EVENTCOUNT_H
#define ADMA_SHM_EVENTCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ADMA_EC_ARMED 1ull
#define ADMA_EC_EVENT 2ull

static inline uint64_t adma_ec_read(_Atomic uint64_t *bell)
{
	return atomic_load_explicit(bell, memory_order_acquire);
}

/* True when the caller may sleep: nothing was rung since `seen` was read. */
static inline bool adma_ec_arm(_Atomic uint64_t *bell, uint64_t seen)
{
	return atomic_compare_exchange_strong_explicit(bell, &seen, seen | ADMA_EC_ARMED,
						       memory_order_seq_cst, memory_order_relaxed);
}

static inline void adma_ec_disarm(_Atomic uint64_t *bell)
{
	atomic_fetch_and_explicit(bell, ~ADMA_EC_ARMED, memory_order_acq_rel);
}

/*
 * True when the caller has to send the byte that ends the sleep. Two ringers
 * may both see the bell armed; the one whose swap clears it sends.
 */
static inline bool adma_ec_signal(_Atomic uint64_t *bell)
{
	uint64_t before = atomic_fetch_add_explicit(bell, ADMA_EC_EVENT, memory_order_seq_cst);

	if (!(before & ADMA_EC_ARMED))
		return false;
	return atomic_fetch_and_explicit(bell, ~ADMA_EC_ARMED, memory_order_seq_cst) & ADMA_EC_ARMED;
}

#endif
