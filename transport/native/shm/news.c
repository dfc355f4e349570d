/* SPDX-License-Identifier: BSD-3-Clause */
/* news.c - taking the news of slots; see news.h. */
#include "shm/news.h"

/*
 * Take the bits of a word. Where nothing is set, one load is all: the cache line stays where it is.
 * Relaxed: a bit that this load misses was not signalled yet when the event count was read.
 */
static uint64_t news_exchange(_Atomic uint64_t *word)
{
	if (!atomic_load_explicit(word, memory_order_relaxed))
		return 0;
	return atomic_exchange_explicit(word, 0, memory_order_acquire);
}

static uint32_t news_next(uint64_t *bits)
{
	uint32_t bit = (uint32_t)__builtin_ctzll(*bits);

	*bits &= *bits - 1;
	return bit;
}

void adma_news_take(struct adma_segment *segment, enum adma_news_for whose, uint32_t slots,
		    void (*visit)(void *arg, uint32_t index), void *arg)
{
	uint32_t blocks = slots / ADMA_SLOT_BLOCK;

	for (uint32_t first = 0; first < blocks; first += 64) {
		uint64_t named = news_exchange(&segment->news_top[whose][first / 64]);

		while (named) {
			uint32_t block = first + news_next(&named);
			uint64_t bits;

			if (block >= blocks)
				break; /* no such slots are in use, so this bit came from nowhere */
			bits = news_exchange(&segment->blocks[block].news[whose].bits);
			while (bits)
				visit(arg, block * ADMA_SLOT_BLOCK + news_next(&bits));
		}
	}
}
