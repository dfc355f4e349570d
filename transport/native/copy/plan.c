/* SPDX-License-Identifier: BSD-3-Clause */
/* plan.c - planning a copy, and copying parts of it. */
#include "copy/plan.h"

#include <errno.h>
#include <string.h>

#include "copy/kernels.h"

/* ---- extents ---- */

static bool extents_meet(struct adma_extent a, struct adma_extent b)
{
	return a.from < b.to && b.from < a.to;
}

bool adma_plans_conflict(const struct adma_plan *a, const struct adma_plan *b)
{
	return extents_meet(a->writes, b->writes) || extents_meet(a->writes, b->reads) ||
	       extents_meet(a->reads, b->writes);
}

/* ---- planning: contiguous ---- */

static struct adma_extent extent_of(const void *from, uint64_t n)
{
	return (struct adma_extent){(uintptr_t)from, (uintptr_t)from + n};
}

/* How many parts a row has, where a row is at least one part. */
static uint64_t plan_parts_each_row(const struct adma_plan *plan)
{
	return plan->width ? (plan->width - 1) / plan->part_bytes + 1 : 0;
}

/* No part is ever much larger than `part_bytes`. */
void adma_plan_cut(struct adma_plan *plan, uint64_t part_bytes)
{
	plan->part_bytes = part_bytes;
	plan->rows_each = 0;
	if (plan->rows > 1 && plan->width <= part_bytes) {
		plan->rows_each = part_bytes / plan->width;
		plan->parts = (plan->rows - 1) / plan->rows_each + 1;
	} else {
		plan->parts = plan->rows * plan_parts_each_row(plan);
	}
	if (plan->staged)
		plan->parts *= 2;
}

void adma_plan_bytes(struct adma_plan *plan, void *dst, const void *src, uint64_t n)
{
	*plan = (struct adma_plan){
		.dst = dst,
		.src = src,
		.width = n,
		.rows = n ? 1 : 0,
		.bytes = n,
		.writes = extent_of(dst, n),
		.reads = extent_of(src, n),
	};
	adma_plan_cut(plan, ADMA_PART_BYTES);
	plan->in_order = extents_meet(plan->writes, plan->reads);
	plan->backwards = plan->in_order && (uintptr_t)dst > (uintptr_t)src;
}

/* ---- planning: strided ---- */

/* The bytes from the first element of a dimension to the last one. */
static int64_t dim_span(int64_t step, uint64_t count)
{
	return step * (int64_t)(count - 1);
}

/* Drop dimensions of one element, and make destination steps positive. -EINVAL: a destination step is 0. */
static int plan_tidy(struct adma_plan *plan)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < plan->ndim; i++) {
		struct adma_dim dim = plan->dims[i];

		if (dim.count == 1)
			continue;
		if (!dim.dst_step)
			return -EINVAL;
		if (dim.dst_step < 0) {
			plan->dst += dim_span(dim.dst_step, dim.count);
			plan->src += dim_span(dim.src_step, dim.count);
			dim.dst_step = -dim.dst_step;
			dim.src_step = -dim.src_step;
		}
		plan->dims[kept++] = dim;
	}
	plan->ndim = kept;
	return 0;
}

/* Sort the dimensions by their destination steps, the largest outermost. They are few, and mostly sorted. */
static void plan_sort_dims(struct adma_plan *plan)
{
	for (uint32_t i = 1; i < plan->ndim; i++) {
		struct adma_dim dim = plan->dims[i];
		uint32_t at = i;

		for (; at && plan->dims[at - 1].dst_step < dim.dst_step; at--)
			plan->dims[at] = plan->dims[at - 1];
		plan->dims[at] = dim;
	}
}

/*
 * Merge a dimension into its outer neighbour where both are contiguous in source and destination;
 * merge the innermost dimension into the width in the same way.
 */
static void plan_merge_dims(struct adma_plan *plan)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i < plan->ndim; i++) {
		struct adma_dim *outer = &plan->dims[last], inner = plan->dims[i];
		int64_t count = (int64_t)inner.count;

		if (outer->dst_step == inner.dst_step * count && outer->src_step == inner.src_step * count) {
			inner.count *= outer->count;
			*outer = inner;
		} else {
			plan->dims[++last] = inner;
		}
	}
	if (!plan->ndim)
		return;
	plan->ndim = last + 1;
	const struct adma_dim *innermost = &plan->dims[last];
	if (innermost->dst_step == (int64_t)plan->width && innermost->src_step == (int64_t)plan->width) {
		plan->width *= innermost->count;
		plan->ndim--;
	}
}

/* Does each destination step reach over all that lies inside it? Then the rows are in the order of their addresses. */
static bool plan_is_nested(const struct adma_plan *plan)
{
	uint64_t inner = plan->width;

	for (uint32_t i = plan->ndim; i-- > 0;) {
		const struct adma_dim *dim = &plan->dims[i];

		if ((uint64_t)dim->dst_step < inner)
			return false;
		inner += (uint64_t)dim_span(dim->dst_step, dim->count);
	}
	return true;
}

static bool plan_has_same_steps(const struct adma_plan *plan)
{
	for (uint32_t i = 0; i < plan->ndim; i++)
		if (plan->dims[i].dst_step != plan->dims[i].src_step)
			return false;
	return true;
}

/* The extents, the number of rows and of bytes. */
static void plan_measure(struct adma_plan *plan)
{
	plan->writes = extent_of(plan->dst, plan->width);
	plan->reads = extent_of(plan->src, plan->width);
	plan->rows = 1;
	for (uint32_t i = 0; i < plan->ndim; i++) {
		const struct adma_dim *dim = &plan->dims[i];
		int64_t reach = dim_span(dim->src_step, dim->count);

		plan->rows *= dim->count;
		plan->writes.to += (uint64_t)dim_span(dim->dst_step, dim->count);
		if (reach < 0)
			plan->reads.from += (uint64_t)reach;
		else
			plan->reads.to += (uint64_t)reach;
	}
	plan->bytes = plan->rows * plan->width;
}

static int plan_check_size(const struct adma_plan *plan)
{
	uint64_t bytes = plan->width;

	for (uint32_t i = 0; i < plan->ndim; i++)
		if (__builtin_mul_overflow(bytes, plan->dims[i].count, &bytes))
			return -EOVERFLOW;
	return bytes > INT64_MAX ? -EOVERFLOW : 0;
}

static bool plan_is_empty(const struct adma_plan *plan)
{
	bool none = !plan->width;

	for (uint32_t i = 0; i < plan->ndim; i++)
		none |= !plan->dims[i].count;
	return none;
}

int adma_plan_strided(struct adma_plan *plan, void *dst, const void *src, uint64_t width, struct adma_dim *dims,
		      uint32_t ndim)
{
	int rc;

	if (ndim > ADMA_DIMS_MAX)
		return -E2BIG;
	*plan = (struct adma_plan){.dst = dst, .src = src, .width = width, .dims = dims, .ndim = ndim};
	if (plan_is_empty(plan)) {
		adma_plan_bytes(plan, dst, src, 0);
		return 0;
	}
	rc = plan_check_size(plan);
	rc = rc ? rc : plan_tidy(plan);
	if (rc)
		return rc;
	plan_sort_dims(plan);
	plan_merge_dims(plan);
	if (!plan->ndim) {
		adma_plan_bytes(plan, plan->dst, plan->src, plan->width);
		return 0;
	}
	plan_measure(plan);
	if (!extents_meet(plan->writes, plan->reads)) {
		plan->in_order = !plan_is_nested(plan); /* a byte may be written twice, and the last one counts */
	} else {
		plan->in_order = 1;
		plan->backwards = (uintptr_t)plan->dst > (uintptr_t)plan->src;
		plan->staged = !plan_has_same_steps(plan) || !plan_is_nested(plan);
	}
	plan->backwards = plan->backwards && !plan->staged;
	adma_plan_cut(plan, ADMA_PART_BYTES);
	return 0;
}

/* ---- running ---- */

/* Copy `count` elements of a fixed width by single loads and stores. Source and destination may overlap. */
#define COPY_ELEMENTS(type) \
	for (uint64_t i = 0; i < count; i++, dst += dst_step, src += src_step) { \
		type element; \
		memcpy(&element, src, sizeof(element)); \
		memcpy(dst, &element, sizeof(element)); \
	}

struct sixteen_bytes {
	uint64_t words[2];
};

static void copy_elements(uint8_t *dst, const uint8_t *src, uint64_t width, uint64_t count, int64_t dst_step,
			  int64_t src_step)
{
	switch (width) {
	case 1:
		COPY_ELEMENTS(uint8_t)
		break;
	case 2:
		COPY_ELEMENTS(uint16_t)
		break;
	case 4:
		COPY_ELEMENTS(uint32_t)
		break;
	case 8:
		COPY_ELEMENTS(uint64_t)
		break;
	case 16:
		COPY_ELEMENTS(struct sixteen_bytes)
		break;
	default:
		/* memmove(), because in a copy that is in order a row may overlap its own source. */
		for (uint64_t i = 0; i < count; i++, dst += dst_step, src += src_step)
			memmove(dst, src, width);
	}
}

/* Where a row is: its index in each dimension, and its offsets in both arrays. */
struct cursor {
	uint64_t index[ADMA_DIMS_MAX];
	int64_t dst, src;
};

/* Set the cursor to row number `row`. */
static void plan_seek(const struct adma_plan *plan, uint64_t row, struct cursor *at)
{
	at->dst = at->src = 0;
	for (uint32_t i = plan->ndim; i-- > 0;) {
		const struct adma_dim *dim = &plan->dims[i];

		at->index[i] = row % dim->count;
		row /= dim->count;
		at->dst += (int64_t)at->index[i] * dim->dst_step;
		at->src += (int64_t)at->index[i] * dim->src_step;
	}
}

/* A staged copy gathers the source into the stage, then scatters the stage into the destination. */
enum plan_pass { PASS_DIRECT, PASS_GATHER, PASS_SCATTER };

/* Copy `count` rows along the innermost dimension, from the cursor on. `row` is the number of the first one. */
static void plan_copy_run(const struct adma_plan *plan, const struct cursor *at, uint64_t row, uint64_t count,
			  enum plan_pass pass)
{
	const struct adma_dim *inner = &plan->dims[plan->ndim - 1];
	int64_t width = (int64_t)plan->width;

	switch (pass) {
	case PASS_DIRECT:
		copy_elements(plan->dst + at->dst, plan->src + at->src, plan->width, count, inner->dst_step,
			      inner->src_step);
		break;
	case PASS_GATHER:
		copy_elements(plan->stage + row * plan->width, plan->src + at->src, plan->width, count, width,
			      inner->src_step);
		break;
	case PASS_SCATTER:
		copy_elements(plan->dst + at->dst, plan->stage + row * plan->width, plan->width, count, inner->dst_step,
			      width);
		break;
	}
}

/* Copy the rows [from, to), the first one first: one run along the innermost dimension after the other. */
static void plan_copy_rows(const struct adma_plan *plan, uint64_t from, uint64_t to, enum plan_pass pass)
{
	const struct adma_dim *inner = &plan->dims[plan->ndim - 1];
	struct cursor at;

	while (from < to) {
		plan_seek(plan, from, &at);
		uint64_t count = inner->count - at.index[plan->ndim - 1];

		if (count > to - from)
			count = to - from;
		plan_copy_run(plan, &at, from, count, pass);
		from += count;
	}
}

/* Copy the rows [from, to), the last one first. */
static void plan_copy_rows_backwards(const struct adma_plan *plan, uint64_t from, uint64_t to)
{
	struct cursor at;

	while (to > from) {
		plan_seek(plan, --to, &at);
		memmove(plan->dst + at.dst, plan->src + at.src, plan->width);
	}
}

bool adma_plan_has_choice(const struct adma_plan *plan, uint64_t part)
{
	return !plan->ndim && !plan->in_order && (part + 1) * plan->part_bytes <= plan->bytes;
}

/* Copy a part that is a piece of one row. */
static void plan_run_bytes(const struct adma_plan *plan, uint64_t part, enum plan_pass pass, enum adma_kernel kernel)
{
	uint64_t row = part / plan_parts_each_row(plan), from = part % plan_parts_each_row(plan) * plan->part_bytes;
	uint64_t n = plan->width - from < plan->part_bytes ? plan->width - from : plan->part_bytes;
	struct cursor at;
	uint8_t *dst;
	const uint8_t *src;

	plan_seek(plan, row, &at);
	dst = pass == PASS_GATHER ? plan->stage + row * plan->width : plan->dst + at.dst;
	src = pass == PASS_SCATTER ? plan->stage + row * plan->width : plan->src + at.src;
	if (plan->in_order)
		memmove(dst + from, src + from, n);
	else
		adma_kernel_copy(kernel, dst + from, src + from, n);
}

void adma_plan_run(const struct adma_plan *plan, uint64_t part, enum adma_kernel kernel)
{
	uint64_t gathers = plan->parts / 2; /* of a staged copy */
	enum plan_pass pass = !plan->staged ? PASS_DIRECT : part < gathers ? PASS_GATHER : PASS_SCATTER;

	if (pass == PASS_SCATTER)
		part -= gathers;
	if (plan->backwards)
		part = plan->parts - 1 - part;
	if (!plan->rows_each) {
		plan_run_bytes(plan, part, pass, adma_plan_has_choice(plan, part) ? kernel : ADMA_KERNEL_LIBC);
		return;
	}
	uint64_t from = part * plan->rows_each, to = from + plan->rows_each;

	to = to < plan->rows ? to : plan->rows;
	if (plan->backwards)
		plan_copy_rows_backwards(plan, from, to);
	else
		plan_copy_rows(plan, from, to, pass);
}

void adma_plan_run_all(const struct adma_plan *plan)
{
	for (uint64_t part = 0; part < plan->parts; part++)
		adma_plan_run(plan, part, ADMA_KERNEL_LIBC);
}
