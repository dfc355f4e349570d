/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.c - spinning on the words of a channel; see spin.h. */
#include "progress/spin.h"

#include "base/cpu.h"
#include "shm/eventcount.h"

#define SPIN_MAX_NS 100000
#define SPIN_MIN_NS 2000

static const struct adma_backoff_limits limits = {.min_ns = SPIN_MIN_NS, .max_ns = SPIN_MAX_NS};

int64_t adma_spin_max_ns(void)
{
	return SPIN_MAX_NS;
}

int64_t adma_spin_time(int64_t learned, int64_t asked, int64_t now)
{
	if (asked >= 0)
		return asked;
	return adma_cpu_oversubscribed(now) ? 0 : learned;
}

int64_t adma_spin_after_sleep(int64_t learned, int64_t slept)
{
	return adma_backoff_after_sleep(learned, slept, limits);
}

int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now)
{
	return adma_spin_time(atomic_load_explicit(&chan->waiters.spin_ns, memory_order_relaxed), asked, now);
}

void adma_spin_learn(struct adma_chan *chan, int64_t slept)
{
	int64_t spin_ns = atomic_load_explicit(&chan->waiters.spin_ns, memory_order_relaxed);

	atomic_store_explicit(&chan->waiters.spin_ns, adma_spin_after_sleep(spin_ns, slept), memory_order_relaxed);
}

struct adma_hint adma_hint_take(const struct adma_chan *chan, uint64_t events, bool messages)
{
	const struct adma_config *config = &chan->ep.connection.config;
	uint64_t head = chan->ep.receive.ring.head;

	return (struct adma_hint){
		.event_count = &config->local->event_count,
		.events_seen = events,
		.seq = &config->remote->cells[head & (ADMA_CELLS - 1)].seq,
		.seq_wanted = messages ? head + 1 : 0,
		.word = chan->ep.ops->poll_word(&chan->ep),
	};
}

/* Relaxed, here and below: a thread that finds something takes the lock and looks again, with acquire. */
bool adma_hint_has_message(const struct adma_hint *hint)
{
	return hint->seq_wanted && atomic_load_explicit(hint->seq, memory_order_relaxed) == hint->seq_wanted;
}

bool adma_hint_has_ended(const struct adma_hint *hint)
{
	return hint->word.word && atomic_load_explicit(hint->word.word, memory_order_relaxed) != hint->word.seen;
}

bool adma_hint_is_signalled(const struct adma_hint *hint)
{
	return adma_ec_read(hint->event_count) != hint->events_seen;
}

static bool spin_look(void *hint)
{
	return adma_hint_has_message(hint);
}

static bool spin_look_seldom(void *hint)
{
	return adma_hint_is_signalled(hint);
}

bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns)
{
	int64_t now = adma_now();
	int64_t end = now + adma_spin_limit(chan, spin_ns, now);
	struct adma_hint hint =
		adma_hint_take(chan, adma_ec_read(&chan->ep.connection.config.local->event_count), true);

	if (adma_hint_has_message(&hint))
		return true;
	if (end == now)
		return false;
	adma_endpoint_release_for_use(&chan->ep);
	/* The event count is looked at seldom: otherwise its cache line would travel between the peer and us. */
	(void)adma_spin(end, spin_look, spin_look_seldom, &hint);
	bool came = adma_hint_has_message(&hint);
	adma_endpoint_retake(&chan->ep);
	return came;
}
