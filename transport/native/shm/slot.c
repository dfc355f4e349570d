/* SPDX-License-Identifier: BSD-3-Clause */
/* slot.c - the swaps of the slot protocol; see slot.h. */
#include "shm/slot.h"

#include <errno.h>

/*
 * A failed swap means that another thread claimed or retired a chunk. The two endpoints have only a
 * few threads, so between honest endpoints a swap succeeds within a few tries. If a peer keeps
 * changing a word to hold us up, this bound is reached.
 */
#define SWAP_TRIES 100000

#define CLOSED_BIT 0x80000000u

static inline uint64_t word(uint32_t gen, uint32_t value)
{
	return (uint64_t)gen << 32 | value;
}

static inline uint32_t word_gen(uint64_t w)
{
	return (uint32_t)(w >> 32);
}

static inline uint32_t word_value(uint64_t w)
{
	return (uint32_t)w;
}

static inline bool swap(_Atomic uint64_t *at, uint64_t *expected, uint64_t desired)
{
	return atomic_compare_exchange_weak_explicit(at, expected, desired, memory_order_acq_rel, memory_order_acquire);
}

void adma_slot_post(struct adma_slot *slot, uint32_t gen)
{
	/*
	 * Relaxed stores: the peer reads these words only after it has seen the
	 * state of this generation, which is released last. A late swap of
	 * the previous life expects the previous generation, and that life
	 * was closed, so it changes nothing before or after.
	 */
	atomic_store_explicit(&slot->cursor, word(gen, 0), memory_order_relaxed);
	atomic_store_explicit(&slot->done, word(gen, 0), memory_order_relaxed);
	atomic_store_explicit(&slot->error, word(gen, 0), memory_order_relaxed);
	atomic_store_explicit(&slot->state, word(gen, ADMA_POSTED), memory_order_release);
}

/* `from` to `to`. 0; -EBUSY: this life is in another state; -EPROTO. */
static int slot_change(struct adma_slot *slot, uint32_t gen, uint32_t from, uint32_t to)
{
	uint64_t seen = word(gen, from);

	if (atomic_compare_exchange_strong_explicit(&slot->state, &seen, word(gen, to), memory_order_acq_rel,
						    memory_order_acquire))
		return 0;
	return word_gen(seen) == gen ? -EBUSY : -EPROTO;
}

/* What it means for the reader that its swap out of POSTED failed with `rc`. */
static int slot_lost_to_writer(struct adma_slot *slot, uint32_t gen, int rc)
{
	if (rc != -EBUSY)
		return rc;
	switch (adma_slot_state(slot, gen)) {
	case ADMA_CANCELLED:
	case ADMA_LOST:
		return -ECANCELED;
	default:
		return -EPROTO;
	}
}

int adma_slot_match(struct adma_slot *slot, uint32_t gen)
{
	int rc = slot_change(slot, gen, ADMA_POSTED, ADMA_MATCHED);

	if (rc == -EBUSY && !slot_change(slot, gen, ADMA_RESERVED, ADMA_MATCHED))
		return 0;
	return slot_lost_to_writer(slot, gen, rc);
}

int adma_slot_reserve(struct adma_slot *slot, uint32_t gen)
{
	return slot_lost_to_writer(slot, gen, slot_change(slot, gen, ADMA_POSTED, ADMA_RESERVED));
}

int adma_slot_cancel(struct adma_slot *slot, uint32_t gen, bool lost)
{
	return slot_change(slot, gen, ADMA_POSTED, lost ? ADMA_LOST : ADMA_CANCELLED);
}

int adma_slot_state(struct adma_slot *slot, uint32_t gen)
{
	uint64_t seen = atomic_load_explicit(&slot->state, memory_order_acquire);

	if (word_gen(seen) != gen || word_value(seen) > ADMA_AGAIN)
		return -EPROTO;
	return (int)word_value(seen);
}

int adma_slot_next_state(struct adma_slot *slot, uint32_t gen)
{
	/* Acquire: the fields of the next life are seen with its state. */
	uint64_t seen = atomic_load_explicit(&slot->state, memory_order_acquire);

	if (seen == word(gen, ADMA_AGAIN))
		return ADMA_FREE;
	if (seen == word(gen + 1, ADMA_POSTED) || seen == word(gen + 1, ADMA_CANCELLED) ||
	    seen == word(gen + 1, ADMA_LOST))
		return (int)word_value(seen);
	return -EPROTO;
}

int64_t adma_slot_claim(struct adma_slot *slot, uint32_t gen, uint32_t chunks)
{
	uint64_t seen = atomic_load_explicit(&slot->cursor, memory_order_acquire);

	for (int i = 0; i < SWAP_TRIES; i++) {
		uint32_t next = word_value(seen);

		if (word_gen(seen) != gen)
			return -EPROTO;
		if (next & CLOSED_BIT)
			return -ENODATA;
		if (!chunks) /* there are no bytes: the reader is about to close the cursor */
			return -ENODATA;
		if (next >= chunks) /* all are claimed, but it is open: only a dishonest peer leaves it so */
			return -EPROTO;
		uint32_t after = next + 1 == chunks ? chunks | CLOSED_BIT : next + 1;
		if (swap(&slot->cursor, &seen, word(gen, after)))
			return next;
	}
	return -EPROTO;
}

int adma_slot_close(struct adma_slot *slot, uint32_t gen)
{
	uint64_t seen = atomic_load_explicit(&slot->cursor, memory_order_acquire);

	for (int i = 0; i < SWAP_TRIES; i++) {
		if (word_gen(seen) != gen)
			return -EPROTO;
		if (word_value(seen) & CLOSED_BIT)
			return 0;
		if (swap(&slot->cursor, &seen, seen | CLOSED_BIT))
			return 0;
	}
	return -EPROTO;
}

static int slot_note_error(struct adma_slot *slot, uint32_t gen, int err)
{
	uint64_t seen = word(gen, 0);

	if (atomic_compare_exchange_strong_explicit(&slot->error, &seen, word(gen, (uint32_t)err), memory_order_acq_rel,
						    memory_order_acquire))
		return 0;
	return word_gen(seen) == gen ? 0 : -EPROTO; /* an earlier error is kept */
}

int adma_slot_fail(struct adma_slot *slot, uint32_t gen, int err)
{
	int rc = slot_note_error(slot, gen, err);

	return rc ? rc : adma_slot_close(slot, gen);
}

int adma_slot_retire(struct adma_slot *slot, uint32_t gen, int err)
{
	/* The error is stored first: a thread that sees the slot quiet must see it. */
	int rc = err ? adma_slot_fail(slot, gen, err) : 0;

	if (rc)
		return rc;
	uint64_t seen = atomic_load_explicit(&slot->done, memory_order_acquire);
	for (int i = 0; i < SWAP_TRIES; i++) {
		if (word_gen(seen) != gen || word_value(seen) >= ADMA_CHUNKS_MAX)
			return -EPROTO;
		if (swap(&slot->done, &seen, seen + 1))
			return 0;
	}
	return -EPROTO;
}

int adma_slot_look(struct adma_slot *slot, uint32_t gen, struct adma_slot_result *result)
{
	/*
	 * `done` is read first. It never passes `next`. So if the cursor, read
	 * after it, is closed at the same number, both had these values at one moment.
	 */
	uint64_t done = atomic_load_explicit(&slot->done, memory_order_acquire);
	uint64_t cursor = atomic_load_explicit(&slot->cursor, memory_order_acquire);
	uint64_t error = atomic_load_explicit(&slot->error, memory_order_acquire);

	if (word_gen(done) != gen || word_gen(cursor) != gen || word_gen(error) != gen)
		return -EPROTO;
	result->next = word_value(cursor) & ~CLOSED_BIT;
	result->closed = word_value(cursor) & CLOSED_BIT;
	result->retired = word_value(done);
	result->quiet = result->closed && result->retired == result->next;
	result->error = (int)word_value(error);
	if (result->retired > result->next || result->error < 0)
		return -EPROTO;
	return 0;
}

void adma_slot_complete(struct adma_slot *slot, uint32_t gen, bool aborted)
{
	atomic_store_explicit(&slot->state, word(gen, aborted ? ADMA_ABORTED : ADMA_DONE), memory_order_release);
}

void adma_slot_ask_again(struct adma_slot *slot, uint32_t gen)
{
	/* Release: the writer posts the next life after it has seen this, and so after all that we did in this one. */
	atomic_store_explicit(&slot->state, word(gen, ADMA_AGAIN), memory_order_release);
}

void adma_slot_see(struct adma_slot *slot, uint32_t gen)
{
	atomic_store_explicit(&slot->seen, word(gen, 1), memory_order_release);
}

bool adma_slot_seen(struct adma_slot *slot, uint32_t gen)
{
	return atomic_load_explicit(&slot->seen, memory_order_acquire) == word(gen, 1);
}
