/* SPDX-License-Identifier: GPL-2.0 */
/*
 * split.h - a copy, cut into pieces for DMA channels and for the CPU.
 *
 * Two buffers are broken up in different ways. A run is what is contiguous on
 * both sides at once:
 *
 *   run    |-------------------------------------------------|
 *          | head |   piece   |   piece   |   piece   | tail |
 *   by     | CPU  |    DMA    |    DMA    |    DMA    | CPU  |
 *
 * Pieces for DMA begin and end, in the destination, at multiples of both the
 * engine's alignment and the cache line: the CPU never writes to a line that an
 * engine writes to. Runs whose two sides are not aligned alike, and those too short to be
 * worth a descriptor, are the CPU's.
 *
 * Pure code: it compiles in user space too, where it is tested (kernel/tests/test_split.c,
 * fuzz_split.c). The same limits give the same pieces, however often one goes over a copy.
 */
#ifndef ADMA_SPLIT_H
#define ADMA_SPLIT_H

#include <linux/types.h>

#include "cpu.h"

enum adma_piece_kind {
	ADMA_PIECE_DMA,
	ADMA_PIECE_EDGE, /* by the CPU: head or tail of a run that goes by DMA */
	ADMA_PIECE_CPU,  /* by the CPU: of any other run */
};

struct adma_piece {
	struct adma_place to;
	struct adma_place from;
	size_t length;
	enum adma_piece_kind kind;
};

/* What all channels that may get a piece agree to. Alignment and line are powers of 2. */
struct adma_split_limits {
	size_t align; /* of both addresses and the length, for DMA; at most a page */
	size_t line;  /* of the destination's ends, for DMA */
	size_t least; /* bytes of a piece for DMA; not 0 */
	size_t most;  /* bytes of any piece; not 0 */
};

struct adma_split {
	const struct adma_extent *to;
	const struct adma_extent *from;
	size_t left; /* bytes */
	struct adma_split_limits limits;
	struct adma_place to_at;
	struct adma_place from_at;
	bool inside; /* of a run, behind a piece for DMA */
};

void adma_split_begin(struct adma_split *split, const struct adma_extent *to,
		      const struct adma_extent *from, size_t length,
		      const struct adma_split_limits *limits);

/* The next piece, in order. false: there is none any more. */
bool adma_split_next(struct adma_split *split, struct adma_piece *piece);

#endif
