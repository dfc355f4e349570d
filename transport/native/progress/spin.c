/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.c - how long to spin, and the spin of a read that waits for one message. */
#include "progress/spin.h"

#include "base/cpu.h"

#define SPIN_MAX_NS 100000
#define SPIN_MIN_NS 2000

int64_t adma_spin_max_ns(void)
{
	return SPIN_MAX_NS;
}

/* ---- how long to spin ---- */

int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now)
{
	if (asked >= 0)
		return asked;
	return adma_cpu_oversubscribed(now) ? 0 : atomic_load_explicit(&chan->spin_ns, memory_order_relaxed);
}

/* What spinning brought: found something, or ended in a sleep of `slept` ns. */
void adma_spin_learned(struct adma_chan *chan, int64_t slept)
{
	int64_t spin_ns = atomic_load_explicit(&chan->spin_ns, memory_order_relaxed);

	if (slept < SPIN_MAX_NS)
		spin_ns = SPIN_MAX_NS; /* a little longer would have done */
	else if (spin_ns > SPIN_MIN_NS)
		spin_ns = spin_ns * 3 / 4;
	atomic_store_explicit(&chan->spin_ns, spin_ns, memory_order_relaxed);
}

bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns)
{
	int64_t now = adma_now();
	int64_t end = now + adma_spin_limit(chan, spin_ns, now);
	struct adma_hint hint = adma_take_hint(chan, adma_ec_read(&chan->out.segment->event_count), true);
	bool came = adma_message_came(&hint);

	if (came || end == now)
		return came;
	chan->users++;
	pthread_mutex_unlock(&chan->lock);
	for (unsigned int i = 1; !came; i++) {
		adma_relax();
		came = adma_message_came(&hint);
		/* Seldom: the peer's ringing and our reading of the bell would trade its line. */
		if (i % 32 == 0 && (adma_now() > end || adma_hint_signalled(&hint)))
			break;
	}
	came = adma_message_came(&hint);
	pthread_mutex_lock(&chan->lock);
	chan->users--;
	return came;
}
