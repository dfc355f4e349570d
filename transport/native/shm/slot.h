/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slot.h - the life of a large message, from post to reuse.
 *
 *            writer                         reader
 *   free --- post ---> POSTED --- match ------------> MATCHED --- quiet ---> DONE
 *                       |  |                            ^              or ABORTED, or AGAIN
 *                       |  +--- reserve --> RESERVED ---+ match
 *                       +------ cancel ---> CANCELLED or LOST
 *
 * Every word is {generation:32, value:32}. A word that both endpoints change is changed by a
 * compare-and-swap of the whole word, so that a late claim of one life can never take a chunk of
 * the next one. Post, complete and see are release stores, each of a word that nobody else writes
 * at that time. Match, reserve and cancel race on one swap of `state`; after a match or a reserve,
 * cancel fails. LOST says that the writer's close has taken the message back: nothing after it may
 * be delivered. What the program itself cancels leaves no such hole. A reader reserves a message that it takes before it has a buffer for it. Only the
 * reader leaves RESERVED: it matches the slot, also to refuse the message or to close. If it is
 * proven dead instead, nobody copies, and the writer has its buffer back.
 * Whichever endpoint is free claims a chunk from `cursor`, copies it, and then retires it in
 * `done`, also if the copy failed:
 *
 *   claim    cursor {gen, open, i} -> {gen, i + 1 == chunks, i + 1}
 *   close    cursor {gen, open, i} -> {gen, closed, i}       (nothing else)
 *   retire   done   {gen, n}       -> {gen, n + 1}
 *   quiet    cursor is closed and done == next
 *
 * Nobody touches the buffers of a slot that is quiet. A buffer is let go only then, or when our
 * own chunks are retired and the peer is proven dead. An error is stored before the cursor is
 * closed and before its chunk is retired, and only by a thread that holds an unretired chunk, or
 * where no chunk can be claimed. So a thread that sees the slot quiet sees the error. The writer
 * uses the slot again, with the next generation, when it has taken the result and the reader's
 * `seen` carries this generation.
 *
 * A copy that the kernel refuses can be made by another mechanism. So a reader that finds the slot quiet
 * with such an error may end the life with AGAIN instead of ABORTED. That is its last store in it. The
 * writer, which has waited for this verdict, then posts the next life of the slot for the same write, and
 * the reader matches that life with the same read. No descriptor announces it. A second life is the last.
 *
 * Swap loops are bounded: each failed swap means that another thread made a step, and honest
 * endpoints have few steps to make. Past the bound, or when a word has another generation, the
 * functions return -EPROTO.
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
	ADMA_RESERVED = 6,
	ADMA_LOST = 7,
	ADMA_AGAIN = 8,
};

#define ADMA_CHUNKS_MAX 0x7fffffffu

/* Writer: publish a life. The writer's plain fields have been filled in before. */
void adma_slot_post(struct adma_slot *slot, uint32_t gen);

/*
 * Reader: POSTED, or RESERVED by this reader, to MATCHED. The reader's plain fields have been filled
 * in before. 0; -ECANCELED when the writer has cancelled; -EPROTO.
 */
int adma_slot_match(struct adma_slot *slot, uint32_t gen);

/* Reader: POSTED to RESERVED. 0; -ECANCELED when the writer has cancelled; -EPROTO. */
int adma_slot_reserve(struct adma_slot *slot, uint32_t gen);

/* Writer: POSTED to CANCELLED, or to LOST. 0; -EBUSY when the reader has matched or reserved; -EPROTO. */
int adma_slot_cancel(struct adma_slot *slot, uint32_t gen, bool lost);

/* The state of this generation, or -EPROTO when the slot holds another. */
int adma_slot_state(struct adma_slot *slot, uint32_t gen);

/* Claim a chunk. Returns its number; -ENODATA when none is left; -EPROTO. */
int64_t adma_slot_claim(struct adma_slot *slot, uint32_t gen, uint32_t chunks);

/* Close the cursor: no chunk is claimed after this. 0 or -EPROTO. */
int adma_slot_close(struct adma_slot *slot, uint32_t gen);

/* Store this positive errno, unless an error is stored already, and close the cursor. 0 or -EPROTO. */
int adma_slot_fail(struct adma_slot *slot, uint32_t gen, int err);

/* A claimed chunk was copied, or failed with `err` (a positive errno; the first one is kept). 0 or -EPROTO. */
int adma_slot_retire(struct adma_slot *slot, uint32_t gen, int err);

struct adma_slot_result {
	bool quiet;       /* the cursor is closed, and every claimed chunk is retired */
	bool closed;      /* the cursor is closed: no chunk is claimed any more */
	uint32_t next;    /* chunks claimed */
	uint32_t retired; /* chunks retired */
	int error;        /* the first errno, 0 if there is none; valid when quiet */
};

/* Read how far this life has come. 0 or -EPROTO. */
int adma_slot_look(struct adma_slot *slot, uint32_t gen, struct adma_slot_result *result);

/* Reader: MATCHED to DONE or ABORTED. The reader has taken the result. */
void adma_slot_complete(struct adma_slot *slot, uint32_t gen, bool aborted);

/* Reader: MATCHED to AGAIN. The slot is quiet, and the reader waits for its next life from now on. */
void adma_slot_ask_again(struct adma_slot *slot, uint32_t gen);

/* Reader: the state of the life after this one; ADMA_FREE while the writer has not posted it; -EPROTO. */
int adma_slot_next_state(struct adma_slot *slot, uint32_t gen);

/* Reader: it has finished with this life. This is its last store in it. */
void adma_slot_see(struct adma_slot *slot, uint32_t gen);

/* Writer: may the slot begin its next life? */
bool adma_slot_seen(struct adma_slot *slot, uint32_t gen);

#endif
