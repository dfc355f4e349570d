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
#ifndef ADMA_COPY_PLAN_H
#define ADMA_COPY_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

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
