/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * summary.h - which endpoints of a worker have news: memory of the worker that its peers share.
 *
 * Each endpoint has one bit, in one of 64 words. A top word tells which words have bits.
 *
 *   peer     publish;  set the endpoint's bit;  set the word's bit in the top word;  signal the event count
 *   worker   exchange the top word with 0;  exchange the words that it names with 0;  look at the
 *            endpoints that these name
 *
 * Bits are hints. A peer can set and clear the bits of all. So the worker relies on them for nothing
 * but which ring to look at first. Once in a millisecond of polling, and before it sleeps, it looks at
 * all rings whose event count may not be armed. The peer of an armed one sends a byte over the socket
 * of the pair, which nobody else can do or undo (tests/model/worker.pml).
 *
 * Only peers of one user share a summary. A peer of another user gets none, and its ring is looked at
 * directly.
 */
#ifndef ADMA_SHM_SUMMARY_H
#define ADMA_SHM_SUMMARY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

enum {
	ADMA_SUMMARY_WORDS = 64,
	ADMA_SUMMARY_BITS = ADMA_SUMMARY_WORDS * 64,
};

struct adma_summary {
	_Atomic uint64_t top;
	uint64_t nothing[7];
	/* Written by the worker: one of its threads waits. The same hint as `waiting` of a segment. */
	_Atomic uint32_t waiting;
	uint32_t nothing_more[15];
	_Atomic uint64_t words[ADMA_SUMMARY_WORDS];
};

/*
 * Peer: there is news for this endpoint. Release: whoever takes the bits, with acquire, sees what was
 * published before.
 */
static inline void adma_summary_set(struct adma_summary *summary, uint32_t bit)
{
	atomic_fetch_or_explicit(&summary->words[bit / 64], 1ull << bit % 64, memory_order_release);
	atomic_fetch_or_explicit(&summary->top, 1ull << bit / 64, memory_order_release);
}

/* Worker: may there be news? One load, relaxed: whoever acts on it takes the bits. */
static inline bool adma_summary_has_news(struct adma_summary *summary)
{
	return atomic_load_explicit(&summary->top, memory_order_relaxed) != 0;
}

/* Worker: take all bits, and call visit() with each. */
void adma_summary_take(struct adma_summary *summary, void (*visit)(void *arg, uint32_t bit), void *arg);

/* Make a summary: a sealed memfd, mapped. 0 or a negated errno. */
int adma_summary_make(int *fd, struct adma_summary **summary);

/* Map the summary of a peer. The descriptor stays the caller's. 0, -EPROTO: it is none, or a negated errno. */
int adma_summary_map(int fd, struct adma_summary **summary);

void adma_summary_unmap(struct adma_summary *summary);

#endif
