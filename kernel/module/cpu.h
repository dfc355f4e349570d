/* SPDX-License-Identifier: GPL-2.0 */
/* cpu.h - the kernel-mapped copy: both sides' pages, mapped for a moment, and one memcpy(). */
#ifndef ADMA_CPU_H
#define ADMA_CPU_H

#include "memory.h"

/* Where a copy stands in an array of extents. All zero: at the beginning. */
struct adma_place {
	u32 extent;
	size_t offset; /* bytes into it */
};

/* Go @n bytes on; the extents are long enough. */
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

/* Bytes from there to the end of the extent. */
static inline size_t adma_place_rest(const struct adma_place *place,
				     const struct adma_extent *extents)
{
	return extents[place->extent].length - place->offset;
}

/* Bytes from the beginning of the extent's first page: an address, as far as alignment goes. */
static inline size_t adma_place_offset(const struct adma_place *place,
				       const struct adma_extent *extents)
{
	return extents[place->extent].offset + place->offset;
}

/* Copy @n bytes, and advance both places. Process context; gives way to others now and then. */
void adma_cpu_copy(const struct adma_extent *to, struct adma_place *to_at,
		   const struct adma_extent *from, struct adma_place *from_at, size_t n);

#endif
