/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * split_rules.h - lets split.c cut a copy, makes the copy in ordinary memory, and checks
 * everything that split.h promises.
 */
#ifndef SPLIT_RULES_H
#define SPLIT_RULES_H

#include "split.h"

#define PAGE_BYTES 4096

/* One side of a copy: a buffer of extents, each in an allocation of its own. */
struct side {
	struct adma_extent extents[64];
	u32 count;
	size_t length;
};

struct tally {
	size_t dma, edge, cpu; /* bytes */
	u32 pieces;            /* for DMA */
};

/* The extent begins @offset bytes into its first page. */
void side_add(struct side *side, u32 offset, size_t length);
void side_free(struct side *side);

/* Aborts when a promise is broken. */
struct tally split_check(const struct side *to, const struct side *from, size_t length,
			 const struct adma_split_limits *limits);

#endif
