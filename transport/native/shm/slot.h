/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slot.h - the life of a large message, from post to reuse.
 *
 *            writer                         reader
 *   free --- post ---> POSTED --- match ---> MATCHED --- quiet ---> DONE
 *                        |                      |            or ABORTED
 *                        +-- cancel -> CANCELLED +
 *
 * Every word is {generation:32, value:32}. What both endpoints change is changed by
 * compare-and-swap on the whole word, so that a late claimer of one life can never take a chunk of
 * the next one. To post, to complete and to see are release stores, each of a word that nobody
 * else writes at that time. Match and cancel race on one swap of `state`; after a match, cancel
 * fails. Chunks are claimed from `cursor` by whichever endpoint is free, copied, and then retired
 * in `done`, whether they were copied or failed:
 *
 *   claim    cursor {gen, open, i} -> {gen, i + 1 == chunks, i + 1}
 *   close    cursor {gen, open, i} -> {gen, closed, i}       (nothing else)
 *   retire   done   {gen, n}       -> {gen, n + 1}
 *   quiet    cursor is closed and done == next
 *
 * Nobody touches the buffers of a slot that is quiet. Only then are buffers let go, or when our
 * own chunks are retired and the peer is proven dead. An error is stored before the cursor is
 * closed and before its chunk is retired, and only by a thread that holds an unretired chunk, or
 * where no chunk can be claimed. So whoever sees the slot quiet sees the error. The writer uses
 * the slot again, with the next generation, when it has taken the result and the reader's `seen`
 * carries this generation.
 *
 * Swap loops are bounded: each failed swap means that the other endpoint made a step, and an
 * honest one has few steps to make. Past the bound, or on a foreign generation, the functions
 * return -EPROTO.
 */
#ifndef ADMA_SHM_SLOT_H
#define ADMA_SHM_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

enum adma_slot_state {
	ADMA_FREE = 0,
	ADMA_POSTED = 1,
	ADMA_MATCHED = 2,
	ADMA_CANCELLED = 3,
	ADMA_ABORTED = 4,
	ADMA_DONE = 5,
};

#define ADMA_CHUNKS_MAX 0x7fffffffu

/* Writer: publish a life. The plain fields have been filled in before. */
void adma_slot_post(struct adma_slot *slot, uint32_t gen);

/*
 * Reader: POSTED to MATCHED; the reader's plain fields have been filled in before.
 * 0; -ECANCELED when the writer withdrew it; -EPROTO.
 */
int adma_slot_match(struct adma_slot *slot, uint32_t gen);

/* Writer: POSTED to CANCELLED. 0; -EBUSY when it was matched; -EPROTO. */
int adma_slot_cancel(struct adma_slot *slot, uint32_t gen);

/* The state of this generation, or -EPROTO when the slot holds another. */
int adma_slot_state(struct adma_slot *slot, uint32_t gen);

/* The next chunk's number; -ENODATA when none is left; -EPROTO. */
int64_t adma_slot_claim(struct adma_slot *slot, uint32_t gen, uint32_t chunks);

/* No chunk is claimed after this. 0 or -EPROTO. */
int adma_slot_close(struct adma_slot *slot, uint32_t gen);

/* The transfer fails with this positive errno, unless it has failed before, and no chunk is claimed any more. 0 or -EPROTO. */
int adma_slot_fail(struct adma_slot *slot, uint32_t gen, int err);

/* A claimed chunk was copied, or failed with `err` (a positive errno), which stays if it is the first. 0 or -EPROTO. */
int adma_slot_retire(struct adma_slot *slot, uint32_t gen, int err);

struct adma_slot_result {
	bool quiet;       /* closed, and every claimed chunk is retired */
	bool closed;      /* no chunk is claimed any more */
	uint32_t next;    /* chunks claimed */
	uint32_t retired; /* chunks retired */
	int error;        /* first errno, 0 if none; valid when quiet */
};

/* Where the life stands. 0 or -EPROTO. */
int adma_slot_look(struct adma_slot *slot, uint32_t gen, struct adma_slot_result *result);

/* Reader: MATCHED to DONE or ABORTED; the result was taken. */
void adma_slot_complete(struct adma_slot *slot, uint32_t gen, bool aborted);

/* Reader: it is through with this life. This is the last word that it writes in it. */
void adma_slot_see(struct adma_slot *slot, uint32_t gen);

/* Writer: may the slot begin its next life? */
bool adma_slot_seen(struct adma_slot *slot, uint32_t gen);

#endif
