/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * eventcount.h - how a sleeper learns that its peer did something.
 *
 * An event count is one 64-bit word {events:63, armed:1} in the segment of the endpoint that
 * sleeps on it.
 *
 *   sleeper:    v = ec_read();  look at everything;  there is nothing to do:
 *               ec_arm(v) -> true: sleep on the socket;  false: look again
 *   signaller:  publish something (release);  ec_signal() -> true: the sleeper is asleep, or
 *               about to be, and this signaller was the first to see that: send it a byte
 *
 * To arm is one compare-and-swap, which fails if anything was signalled since ec_read(). So there
 * is no moment between the last look and the sleep in which an event is lost. A plain store of
 * `armed` that is followed by a load of the ring works where memory is sequentially consistent, and
 * deadlocks where stores are buffered (tests/model/wakeup.pml shows both).
 *
 * Ordering: to signal is a read-modify-write with release. So a thread that reads the event count
 * with acquire sees what was published before the signal.
 */
#ifndef ADMA_SHM_EVENTCOUNT_H
#define ADMA_SHM_EVENTCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ADMA_EC_ARMED 1ull
#define ADMA_EC_EVENT 2ull

static inline uint64_t adma_ec_read(_Atomic uint64_t *event_count)
{
	return atomic_load_explicit(event_count, memory_order_acquire);
}

/* True when the caller may sleep: nothing was signalled since `seen` was read. */
static inline bool adma_ec_arm(_Atomic uint64_t *event_count, uint64_t seen)
{
	return atomic_compare_exchange_strong_explicit(event_count, &seen, seen | ADMA_EC_ARMED, memory_order_seq_cst,
						       memory_order_relaxed);
}

static inline void adma_ec_disarm(_Atomic uint64_t *event_count)
{
	atomic_fetch_and_explicit(event_count, ~ADMA_EC_ARMED, memory_order_acq_rel);
}

/*
 * True when the caller has to send the byte that ends the sleep. Two signallers may both see the
 * event count armed; the one whose swap disarms it sends.
 */
static inline bool adma_ec_signal(_Atomic uint64_t *event_count)
{
	uint64_t before = atomic_fetch_add_explicit(event_count, ADMA_EC_EVENT, memory_order_seq_cst);

	if (!(before & ADMA_EC_ARMED))
		return false;
	return atomic_fetch_and_explicit(event_count, ~ADMA_EC_ARMED, memory_order_seq_cst) & ADMA_EC_ARMED;
}

#endif
