/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - descriptors and eager payloads, one producer, one consumer.
 *
 * Positions only grow and wrap by masking. The producer owns a cell from the
 * consumer's `head` + ADMA_CELLS on; it fills the descriptor and then stores
 * seq = position + 1. Eager payloads lie in the bounce ring in the order of
 * their descriptors, each contiguous: one that would cross the end begins at
 * the start again, and the gap is given back with it.
 *
 *      bounce   |..done..|== taken ==|..free..|   offsets grow to the right
 *                        ^ bounce_head        ^ bounce_tail
 *
 * The consumer tells the producer about room in steps of a quarter ring
 * (`room` below), not for each message: whoever sleeps on its bell for an
 * answer is not woken for every message that is merely taken. A quarter is
 * enough: a producer that found no room left more than half a ring to take.
 */
#ifndef ADMA_SHM_RING_H
#define ADMA_SHM_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

/* The writing end of a ring; private to the half's maker. */
struct adma_ring_out {
	struct adma_segment *segment;
	uint64_t tail;        /* position of the next descriptor */
	uint64_t head;        /* the consumer's, as last read and checked */
	uint64_t bounce_tail;
	uint64_t bounce_head;
};

/* The reading end; private to the half's reader. */
struct adma_ring_in {
	struct adma_segment *segment;
	uint64_t head;
	uint64_t bounce_head;
	struct adma_desc desc; /* the first message in line: our own, checked copy */
	bool held;             /* desc is filled in */
};

/* 1: there is a free cell; 0: full; -EPROTO: the consumer's counter is impossible. */
int adma_ring_room(struct adma_ring_out *ring);

/*
 * Publish a message that rides in the descriptor or in the bounce ring. There
 * must be room for the descriptor. 1; 0: no room in the bounce ring; -EPROTO.
 */
int adma_ring_put(struct adma_ring_out *ring, struct adma_desc *desc, const void *payload);

/* Publish a message that waits in a slot. There must be room. */
void adma_ring_put_slot(struct adma_ring_out *ring, struct adma_desc *desc);

/* Is there a message that was not looked at? (A hint: no checks, one load.) */
bool adma_ring_fresh(const struct adma_ring_in *ring);

/* 1: ring->desc is the first message; 0: empty; -EPROTO: what stands there is impossible. */
int adma_ring_peek(struct adma_ring_in *ring);

/* The payload of the inline or eager message that peek found. */
const void *adma_ring_payload(const struct adma_ring_in *ring);

/* Done with the message that peek found. True: tell the producer that there is room. */
bool adma_ring_take(struct adma_ring_in *ring);

#endif
