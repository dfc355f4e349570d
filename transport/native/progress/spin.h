/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.h - what a thread looks at while it spins on a channel, and for how long it spins. */
#ifndef ADMA_PROGRESS_SPIN_H
#define ADMA_PROGRESS_SPIN_H

#include "progress/channel.h"

/* How long to spin: `asked` ns or, if that is < 0, what the channel has learned; 0 where spinning would do harm. */
int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now);

/* The same, for a waiter that has learned to spin for `learned` ns. */
int64_t adma_spin_time(int64_t learned, int64_t asked, int64_t now);

/* What such a waiter learns from a sleep of `slept` ns, after a spin of up to `learned` ns. */
int64_t adma_spin_after_sleep(int64_t learned, int64_t slept);

/* Learn from a sleep of `slept` ns whether a longer spin would have avoided it. */
void adma_spin_learn(struct adma_chan *chan, int64_t slept);

/* Words to look at without the lock, and their values at an earlier look. */
struct adma_hint {
	_Atomic uint64_t *event_count;
	uint64_t events_seen;
	_Atomic uint64_t *seq;
	uint64_t seq_wanted; /* 0: do not look for messages */
	struct adma_poll_word word;
};

/* Called with the lock held. `events`: the event count as it was read before the last look. */
struct adma_hint adma_hint_take(const struct adma_chan *chan, uint64_t events, bool messages);

/* Has a message come? Was the event count signalled? Has the word of the endpoint's oldest request changed? */
bool adma_hint_has_message(const struct adma_hint *hint);
bool adma_hint_is_signalled(const struct adma_hint *hint);
bool adma_hint_has_ended(const struct adma_hint *hint);

/* Spin until a message comes. Called with the lock held, which is dropped meanwhile. True when a message came. */
bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns);

#endif
