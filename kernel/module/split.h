/* SPDX-License-Identifier: GPL-2.0 */
/*
 * split.h - cuts a copy into pieces, some for DMA channels and some for the CPU.
 *
 * The two buffers break at different places. A run is what is contiguous on
 * both sides at once:
 *
 *   run    |-------------------------------------------------|
 *          | head |   piece   |   piece   |   piece   | tail |
 *   by     | CPU  |    DMA    |    DMA    |    DMA    | CPU  |
 *
 * In the destination, pieces for DMA begin and end at multiples of both the engine's
 * alignment and the cache line size: so the CPU never writes to a cache line that an
 * engine writes to. The CPU copies a run whole if its two sides are not aligned alike, or
 * if it is too short to be worth a DMA descriptor.
 *
 * This is pure code. It compiles in user space too, where it is tested (kernel/tests/test_split.c,
 * fuzz_split.c). The same limits give the same pieces each time one goes through a copy.
 */
#ifndef ADMA_SPLIT_H
#define ADMA_SPLIT_H

#include <linux/types.h>

#include "extent.h"

enum adma_piece_kind {
	ADMA_PIECE_DMA,
	ADMA_PIECE_EDGE, /* by the CPU: the head or tail of a run that goes by DMA */
	ADMA_PIECE_CPU,  /* by the CPU: of any other run */
};

struct adma_piece {
	struct adma_place to;
	struct adma_place from;
	size_t length;
	enum adma_piece_kind kind;
};

/*
 * The limits that hold for every DMA channel that may get a piece. Alignment and line are
 * powers of 2.
 */
struct adma_split_limits {
	size_t align; /* for DMA: of both addresses and of the length; at most a page */
	size_t line;  /* for DMA: of the destination's beginning and end */
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
	bool inside; /* within a run, after a piece for DMA */
};

void adma_split_begin(struct adma_split *split, const struct adma_extent *to,
		      const struct adma_extent *from, size_t length,
		      const struct adma_split_limits *limits);

/* The next piece, in order. Returns false when none is left. */
bool adma_split_next(struct adma_split *split, struct adma_piece *piece);

#endif
