/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spin.h - looking again and again before falling asleep, and for how long.
 *
 * Spinning pays while the answer takes less than falling asleep and being woken
 * does. How long a channel spins follows what its last sleeps were like.
 */
#ifndef ADMA_PROGRESS_SPIN_H
#define ADMA_PROGRESS_SPIN_H

#include "base/relax.h"
#include "worker/channel.h"

/* How long to spin: `asked` ns, or (< 0) the channel's own measure; 0 where spinning is in the way. */
int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now);

/* A sleep of `slept` ns is over: would spinning longer have saved it? */
void adma_spin_learned(struct adma_chan *chan, int64_t slept);

/* What a spinner looks at without the lock: two shared words and what they were. */
struct adma_hint {
	_Atomic uint64_t *event_count;
	uint64_t events_seen;
	_Atomic uint64_t *seq;
	uint64_t seq_wanted; /* 0: messages do not interest */
	const _Atomic uint64_t *entry; /* of the helper's oldest request, or NULL */
	uint64_t entry_seen;
};

static inline void adma_hint_at_entry(struct adma_hint *hint, const struct adma_chan *chan)
{
	const struct adma_req *oldest = chan->fifo ? chan->fifo->posted.first : NULL;

	hint->entry = oldest ? &chan->fifo->entries[oldest->slot_index].state : NULL;
	hint->entry_seen = oldest ? adma_device_pending(oldest->slot_gen) : 0;
}

static inline struct adma_hint adma_take_hint(struct adma_chan *chan, uint64_t events, bool messages)
{
	struct adma_hint hint = {
		.event_count = &chan->out.segment->event_count,
		.events_seen = events,
		.seq = &chan->in.segment->cells[chan->in.head & (ADMA_CELLS - 1)].seq,
		.seq_wanted = messages ? chan->in.head + 1 : 0,
	};

	adma_hint_at_entry(&hint, chan);
	return hint;
}

static inline bool adma_message_came(const struct adma_hint *hint)
{
	return hint->seq_wanted &&
	       atomic_load_explicit(hint->seq, memory_order_relaxed) == hint->seq_wanted;
}

static inline bool adma_entry_ended(const struct adma_hint *hint)
{
	return hint->entry &&
	       atomic_load_explicit(hint->entry, memory_order_relaxed) != hint->entry_seen;
}

static inline bool adma_hint_signalled(const struct adma_hint *hint)
{
	return adma_ec_read(hint->event_count) != hint->events_seen;
}

#endif
