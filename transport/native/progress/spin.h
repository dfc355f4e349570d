/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.h - what a thread looks at while it spins on a channel, and for how long it does. */
#ifndef ADMA_PROGRESS_SPIN_H
#define ADMA_PROGRESS_SPIN_H

#include "progress/channel.h"

/* How long to spin: `asked` ns, or (< 0) the channel's own measure; 0 where spinning is in the way. */
int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now);

/* A sleep of `slept` ns is over: would spinning longer have saved it? */
void adma_spin_learn(struct adma_chan *chan, int64_t slept);

/* Words that are looked at without the lock, and what they were. */
struct adma_hint {
	_Atomic uint64_t *event_count;
	uint64_t events_seen;
	_Atomic uint64_t *seq;
	uint64_t seq_wanted; /* 0: messages are of no interest */
	struct adma_poll_word word;
};

/* With the lock. `events`: the event count as it was before the last look. */
struct adma_hint adma_hint_take(const struct adma_chan *chan, uint64_t events, bool messages);

/* Has a message come? Was the event count signalled? Did the request end that the endpoint waits for first? */
bool adma_hint_has_message(const struct adma_hint *hint);
bool adma_hint_is_signalled(const struct adma_hint *hint);
bool adma_hint_has_ended(const struct adma_hint *hint);

/* With the lock, dropped meanwhile: spin until a message is there. True when it is. */
bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns);

#endif
