/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copy.h - the geometry of a copy, and doing a part of it. Pure: no lock, no thread.
 *
 * A copy is `rows` runs of `width` bytes. Contiguous memory is one row. A strided
 * array is planned once: dimensions of one element dropped, destination steps made positive,
 * the largest step outermost, what lies together in both merged. So rows are
 * written in the order of their addresses.
 *
 * memmove semantics. If the bytes of source and destination may meet,
 *
 *   the same steps in both    the source is the destination moved by a constant, so
 *                             parts in the order of addresses, or against it, never
 *                             write what is still to be read: `in_order`
 *   other steps               through memory of our own, `staged`: gather, then scatter
 *
 * Parts of a copy that is not in_order are independent and may be done in any
 * order, at once.
 */
#ifndef ADMA_COPY_H
#define ADMA_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels.h"

enum {
	ADMA_DIMS_MAX = 64,
	ADMA_PART_BYTES = 128 * 1024, /* about what one part moves */
};

/* One dimension: how many, and the bytes from one to the next in each array. */
struct adma_dim {
	uint64_t count;
	int64_t dst_step, src_step;
};

/* The bytes that a copy may touch, [from, to). */
struct adma_extent {
	uintptr_t from, to;
};

struct adma_plan {
	uint8_t *dst;
	const uint8_t *src;
	uint64_t width;
	uint64_t rows;
	uint64_t bytes;      /* rows * width */
	uint64_t parts;      /* how many parts it is cut into; 0 for no bytes */
	uint64_t rows_each;  /* rows of a part; 0: a row is one part or several */
	struct adma_extent writes, reads;
	struct adma_dim *dims; /* outermost first, the caller's memory; changed by the planning */
	uint32_t ndim;
	uint8_t in_order;
	uint8_t backwards;   /* the last part first */
	uint8_t staged;      /* the first half of the parts gathers, the second scatters */
	uint8_t *stage;      /* `bytes` bytes, the owner's to allocate and free */
};

/* n contiguous bytes. */
void adma_plan_bytes(struct adma_plan *plan, void *dst, const void *src, uint64_t n);

/*
 * Elements of `width` bytes in `ndim` dimensions, outermost first. `dims` must live as
 * long as the plan. -EINVAL: two elements of the destination are the same memory
 * (a step of 0); -E2BIG: more than ADMA_DIMS_MAX dimensions; -EOVERFLOW.
 */
int adma_plan_strided(struct adma_plan *plan, void *dst, const void *src, uint64_t width,
		      struct adma_dim *dims, uint32_t ndim);

/*
 * Do part number `part`, in the order of work: of a copy that is backwards, 0 is the last one.
 * `kernel` serves where adma_plan_has_choice(), else libc.
 */
void adma_plan_run(const struct adma_plan *plan, uint64_t part, enum adma_kernel kernel);

/* Is this part a whole one of contiguous bytes that do not overlap? */
bool adma_plan_has_choice(const struct adma_plan *plan, uint64_t part);

/* All of it, in the caller's thread. */
void adma_plan_run_all(const struct adma_plan *plan);

/* Does either write what the other touches? Extents, not bytes: interleaved columns count as meeting. */
bool adma_plans_conflict(const struct adma_plan *a, const struct adma_plan *b);

#endif
