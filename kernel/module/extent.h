/* SPDX-License-Identifier: GPL-2.0 */
/*
 * extent.h - pinned memory as a list of physically contiguous extents, and a place in it.
 *
 * It compiles in user space too, for the tests of split.c.
 */
#ifndef ADMA_EXTENT_H
#define ADMA_EXTENT_H

#include <linux/types.h>

struct page;

/* Physically contiguous bytes of pinned memory. */
struct adma_extent {
	struct page *page; /* the first one */
	u32 offset;        /* into it, below PAGE_SIZE */
	size_t length;     /* bytes; they may reach into the pages that follow */
};

/* Where a copy stands in an array of extents. A place of all zeroes is the beginning. */
struct adma_place {
	u32 extent;
	size_t offset; /* bytes into it */
};

/* Advance @n bytes. The extents must be long enough. */
static inline void adma_place_advance(struct adma_place *place, const struct adma_extent *extents,
				      size_t n)
{
	n += place->offset;
	while (n && n >= extents[place->extent].length) {
		n -= extents[place->extent].length;
		place->extent++;
	}
	place->offset = n;
}

/* Bytes from the place to the end of its extent. */
static inline size_t adma_place_rest(const struct adma_place *place,
				     const struct adma_extent *extents)
{
	return extents[place->extent].length - place->offset;
}

/*
 * Bytes from the beginning of the extent's first page to the place. As far as alignment is
 * concerned this is the place's address.
 */
static inline size_t adma_place_offset(const struct adma_place *place,
				       const struct adma_extent *extents)
{
	return extents[place->extent].offset + place->offset;
}

#endif
