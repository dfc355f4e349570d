/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - descriptors and eager payloads, with one producer and one consumer.
 *
 * Positions only grow, and wrap by masking. A cell belongs to the producer as long as its position
 * is less than the consumer's `head` + ADMA_CELLS; the producer fills the descriptor and then
 * stores seq = position + 1. Eager payloads lie in the bounce ring in the order of their
 * descriptors, each of them contiguous: a payload that would cross the end of the ring is placed
 * at its start, and the gap before the end is given back together with it.
 *
 *      bounce   |..done..|== taken ==|..free..|   offsets grow to the right
 *                        ^ bounce_head        ^ bounce_tail
 *
 * The consumer tells the producer about room only if the producer asked for that when it found none
 * (`wants_room`), and in steps of a quarter of the ring, not for each message (see adma_ring_take()). So a
 * producer that sleeps until an answer comes is not woken because its messages are taken. Steps of a
 * quarter lose no wake-up: when a producer finds no room, more than half of the ring is still to be taken. Nor
 * does the word: the producer sets it and then looks once more, the consumer gives room and then reads it
 * (tests/model/wakeup.pml).
 *
 * A payload that is too long for the bounce ring may have a bounce buffer for itself, if one is free. A
 * buffer belongs to the cell of its message, and is free again when `head` is past that cell. Nobody
 * waits for one (tests/model/buffers.pml).
 */
#ifndef ADMA_SHM_RING_H
#define ADMA_SHM_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

/* The writing side of a ring; private to the maker of the segment. */
struct adma_ring_out {
	struct adma_segment *segment;
	uint64_t tail;        /* position of the next descriptor */
	uint64_t head;        /* the consumer's, as last read and checked */
	uint64_t bounce_tail;
	uint64_t bounce_head;
	bool eager_off;       /* the consumer's word, as last read */
	bool wants_room;      /* our own word */
	_Atomic uint32_t buffered; /* the same of `buffered`; a hint, which is read without the lock as well */
	uint64_t free_at[ADMA_BUFFERS]; /* by bounce buffer: the head from which on it is free */
	bool has_buffers;     /* their pages are there */
	bool lacks_buffers;   /* there was no memory for these */
};

/* The reading side; private to the reader of the segment. */
struct adma_ring_in {
	struct adma_segment *segment;
	uint64_t head;
	uint64_t bounce_head;
	struct adma_desc desc; /* the next message: a private copy, which was checked */
	bool held;             /* desc is filled in */
	bool has_buffers;      /* the pages of the bounce buffers are there */
	bool lacks_buffers;    /* this process cannot have them */
};

/* 1: there is a free cell; 0: full; -EPROTO: the consumer's counter is impossible. */
int adma_ring_room(struct adma_ring_out *ring);

/*
 * Has the consumer asked for rendezvous? Its word has the cache line of its counters, so it is read with
 * these, and not for each message. What is published in between fits into one ring (worker/tags.c). Once the
 * word was set, it is read each time.
 */
bool adma_ring_eager_is_off(struct adma_ring_out *ring);

/*
 * Publish a message whose payload goes into the descriptor or the bounce ring. There must be room
 * for the descriptor. 1: it is published; 0: there is no room in the bounce ring; -EPROTO.
 */
int adma_ring_put(struct adma_ring_out *ring, struct adma_desc *desc, const void *payload);

/* Has the consumer asked for bounce buffers for messages of this size? Reads its word. */
bool adma_ring_wants_buffered(struct adma_ring_out *ring, uint32_t sizes);

/*
 * The same for a payload of more than ADMA_EAGER_MAX and up to ADMA_BUFFER_SIZE bytes, through a bounce buffer. 0:
 * none is free, there is no memory for them, or the consumer has asked for rendezvous. Fills in the descriptor's `u`.
 */
int adma_ring_put_buffered(struct adma_ring_out *ring, struct adma_desc *desc, const void *payload);

/* 1: there is room for a payload of n bytes; 0: not now; -EPROTO. Reads the consumer's counter if it has to. */
int adma_ring_payload_room(struct adma_ring_out *ring, uint64_t n);

/*
 * Is half of the ring, or of the bounce ring, taken? Reads the consumer's counters anew if it seems so. A
 * consumer that spoils them is found elsewhere.
 */
bool adma_ring_is_half_full(struct adma_ring_out *ring);

/* Publish a message that waits in a slot. There must be room for the descriptor. */
void adma_ring_put_slot(struct adma_ring_out *ring, struct adma_desc *desc);

/* Is there a message that was not peeked at yet? This is a hint: one load, and no checks. */
bool adma_ring_fresh(const struct adma_ring_in *ring);

/* Can this process read the bounce buffers? Their pages are there from then on. The answer never changes. */
bool adma_ring_reaches_buffers(struct adma_ring_in *ring);

/*
 * 1: ring->desc is the next message; 0: the ring is empty; -EPROTO: the cell or its descriptor is invalid, or there is
 * no memory for bounce buffers that we have not asked for.
 */
int adma_ring_peek(struct adma_ring_in *ring);

/* The payload of the message that adma_ring_peek() found, which waits in no slot. */
const void *adma_ring_payload(const struct adma_ring_in *ring);

/* The caller has finished with the message that adma_ring_peek() found. True: tell the producer that there is room. */
bool adma_ring_take(struct adma_ring_in *ring);

#endif
