/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * news.h - which slots of a segment the other endpoint has changed.
 *
 * Each slot has one bit for the maker of the segment and one for its reader, in the news words of
 * its block. A top word tells which of 64 blocks have bits.
 *
 *   tell   change the slot;  set its bit in the word;  set the block's bit in the top word;
 *          signal the event count
 *   take   read the event count;  exchange the top words with 0;  exchange the words that they
 *          name with 0;  look at the slots that these name
 *
 * The order is what makes this work, in both: each step of the one reads what the step that mirrors
 * it in the other has stored (tests/model/news.pml). A bit is set by a read-modify-write even if it
 * seems to be set: the one who takes it may be about to look at a slot whose change it cannot see
 * yet.
 *
 * Ordering: bits are set with release and taken with acquire. So whoever takes a bit sees the change
 * of the slot that came before. Whoever saw the signal in the event count finds the bit, or another
 * thread has taken it.
 *
 * Bits are hints. They tell which slots to look at, and the words of the slot tell what happened.
 * A peer that sets too many makes us look in vain, at most once at each slot that we have. A peer
 * that sets too few, or clears them, holds up its own messages until it closes or dies, when all
 * slots are looked at.
 */
#ifndef ADMA_SHM_NEWS_H
#define ADMA_SHM_NEWS_H

#include <stdint.h>

#include "shm/layout.h"

/* There is news about this slot. The caller has changed the slot, and signals the event count after this. */
static inline void adma_news_set(struct adma_segment *segment, enum adma_news_for whose, uint32_t index)
{
	uint32_t block = index / ADMA_SLOT_BLOCK;

	atomic_fetch_or_explicit(&segment->blocks[block].news[whose].bits, 1ull << index % ADMA_SLOT_BLOCK,
				 memory_order_release);
	atomic_fetch_or_explicit(&segment->news_top[whose][block / 64], 1ull << block % 64, memory_order_release);
}

/*
 * Take all bits of the slots below `slots`, a multiple of ADMA_SLOT_BLOCK, and call visit() for each
 * of these slots. The event count has been read before.
 */
void adma_news_take(struct adma_segment *segment, enum adma_news_for whose, uint32_t slots,
		    void (*visit)(void *arg, uint32_t index), void *arg);

#endif
