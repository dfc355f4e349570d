/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mechanism.h - how a matched transfer moves its bytes.
 *
 * The core matches, counts chunks, completes and cleans up; a mechanism only
 * moves the bytes of one chunk (ADMA_EITHER_ENDPOINT: any end may claim any
 * chunk), or pushes an ordered stream forward (ADMA_STREAM: the writer fills,
 * the reader drains, chunk by chunk, one transfer after the other). A new
 * mechanism is one file and one line in mechanism.c.
 */
#ifndef ADMA_MECH_MECHANISM_H
#define ADMA_MECH_MECHANISM_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "shm/layout.h"

struct adma_transfer;

enum adma_mechanism_flags {
	ADMA_EITHER_ENDPOINT = 1, /* chunks are independent; copy() may run on both ends at once */
	ADMA_STREAM = 2,     /* fill() and drain() in order, each on its own end */
};

struct adma_mechanism {
	const char *name;
	uint32_t flags;

	/* Bytes of a chunk for a transfer of this length. */
	uint64_t (*chunk)(uint64_t length);

	/*
	 * EITHER_END: copy bytes [at, at + n) of the transfer. Called without
	 * the channel's lock. 0 or a positive errno, ADMA_E_DIED when the peer was
	 * found replaced.
	 */
	int (*copy)(struct adma_chan *chan, const struct adma_transfer *transfer, uint64_t at, uint64_t n);

	/* EITHER_END: may this end copy, in this direction, on this channel? */
	bool (*able)(const struct adma_chan *chan, bool outbound);

	/*
	 * STREAM: move up to one chunk, without the channel's lock; one thread at a
	 * time. 1 moved something, 0 would block, negative errno failed.
	 * `*at` is where this end stands in the transfer, kept by the core.
	 */
	int (*fill)(struct adma_chan *chan, const struct adma_transfer *transfer, uint64_t *at);
	int (*drain)(struct adma_chan *chan, const struct adma_transfer *transfer, uint64_t *at);

	/*
	 * STREAM, optional: an inbound transfer is over, maybe before its end;
	 * what this end drains next is chunk number `next` of the direction.
	 */
	void (*go_on)(struct adma_chan *chan, uint64_t next);

	/* STREAM: what to sleep on besides the bell, or -1. */
	int (*waitfd)(const struct adma_chan *chan);
};

/* By enum adma_mechanism_id; NULL for an id that is not compiled in. */
const struct adma_mechanism *adma_mechanism(uint32_t id);

extern const struct adma_mechanism adma_mech_shared;
extern const struct adma_mechanism adma_mech_cma;
extern const struct adma_mechanism adma_mech_tcp;

#endif
