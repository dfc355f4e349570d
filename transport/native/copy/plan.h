/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.h - the geometry of a copy, and copying a part of it. Pure: no lock, no thread.
 *
 * A copy is `rows` runs of `width` bytes. Contiguous memory is one row. A strided array is
 * planned once: dimensions of one element are dropped, destination steps are made positive, the
 * dimensions are sorted with the largest step outermost, and dimensions that are contiguous in
 * both arrays are merged. So rows are written in the order of their addresses.
 *
 * The result is that of memmove(). If the extents of source and destination meet, there are two
 * cases:
 *
 *   the same steps in both    The source is the destination moved by a constant. So if the parts
 *                             are copied in the order of addresses, or against it, they never
 *                             write what is still to be read. The copy is `in_order`.
 *   other steps               The bytes go through memory of the library's own: they are gathered
 *                             there, then scattered. The copy is `staged`, and in order.
 *
 * The parts of a copy that is not in order are independent: they may be copied in any order, and
 * at the same time.
 */
#ifndef ADMA_COPY_PLAN_H
#define ADMA_COPY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

/*
 * Copy part number `part`. Parts are numbered in the order in which they are copied: part 0 of a
 * copy that goes backwards is its last one. The part is copied in the way `kernel` where
 * adma_plan_has_choice(), else by libc.
 */
void adma_plan_run(const struct adma_plan *plan, uint64_t part, enum adma_kernel kernel);

/* Is this a whole part of contiguous bytes that do not overlap? */
bool adma_plan_has_choice(const struct adma_plan *plan, uint64_t part);

/* Cut the copy into parts of about so many bytes. It was planned, and no part of it was started. */
void adma_plan_cut(struct adma_plan *plan, uint64_t part_bytes);

/* Copy all parts in this call. */
void adma_plan_run_all(const struct adma_plan *plan);

/*
 * Does either plan write what the other one touches? The extents are compared, not the bytes: so
 * columns that are interleaved conflict.
 */
bool adma_plans_conflict(const struct adma_plan *a, const struct adma_plan *b);

#endif
