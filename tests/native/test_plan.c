/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_plan.c - plans of copies, compared with a model that copies byte by byte.
 *
 * Random copies have their source and destination in one memory, so that they overlap in every
 * way. The model gathers all elements, then scatters them. The parts of a plan that is not
 * in_order are copied in a random order.
 */
#include <errno.h>
#include <string.h>

#include "copy/plan.h"
#include "require.h"

#define MEMORY (1u << 20)
#define DIMS 5

static uint8_t before[MEMORY], memory[MEMORY], model[MEMORY], gathered[MEMORY], touched[MEMORY];
static unsigned long long seed = 20250301;

struct drawn {
	uint64_t width;
	uint32_t ndim;
	struct adma_dim dims[DIMS];
	int64_t dst, src; /* the offsets of the element whose indices are all 0 */
	uint64_t elements;
};

static uint64_t below(uint64_t n)
{
	return n ? draw(&seed) % n : 0;
}

/* ---- the model ---- */

static void place(const struct drawn *c, uint64_t number, int64_t *dst, int64_t *src)
{
	*dst = c->dst;
	*src = c->src;
	for (uint32_t i = c->ndim; i-- > 0;) {
		int64_t index = (int64_t)(number % c->dims[i].count);

		number /= c->dims[i].count;
		*dst += index * c->dims[i].dst_step;
		*src += index * c->dims[i].src_step;
	}
}

/* False: two elements of the destination share bytes, so that the result is not defined. */
static bool make_model(const struct drawn *c)
{
	int64_t dst, src;

	memcpy(model, before, MEMORY);
	memset(touched, 0, MEMORY);
	for (uint64_t i = 0; i < c->elements; i++) {
		place(c, i, &dst, &src);
		memcpy(gathered + i * c->width, before + src, c->width);
	}
	for (uint64_t i = 0; i < c->elements; i++) {
		place(c, i, &dst, &src);
		for (uint64_t at = 0; at < c->width; at++)
			if (touched[dst + (int64_t)at]++)
				return false;
		memcpy(model + dst, gathered + i * c->width, c->width);
	}
	return true;
}

/* ---- drawing ---- */

static int64_t reach(int64_t step, uint64_t count)
{
	return step * (int64_t)(count - 1);
}

static void span(const struct drawn *c, bool dst, int64_t *low, int64_t *high)
{
	*low = 0;
	*high = (int64_t)c->width;
	for (uint32_t i = 0; i < c->ndim; i++) {
		int64_t r = reach(dst ? c->dims[i].dst_step : c->dims[i].src_step, c->dims[i].count);

		*low += r < 0 ? r : 0;
		*high += r > 0 ? r : 0;
	}
}

/* The steps of an array in C order with padded dimensions; the dimensions are shuffled. */
static void draw_steps(struct drawn *c, bool dst)
{
	uint32_t order[DIMS];
	int64_t step = (int64_t)c->width;

	for (uint32_t i = 0; i < c->ndim; i++)
		order[i] = i;
	for (uint32_t i = c->ndim; i > 1 && !below(2); i--) {
		uint32_t other = (uint32_t)below(i), kept = order[i - 1];

		order[i - 1] = order[other];
		order[other] = kept;
	}
	for (uint32_t i = c->ndim; i-- > 0;) {
		struct adma_dim *dim = &c->dims[order[i]];
		int64_t own = step;

		step *= (int64_t)dim->count;
		if (!below(3)) {
			own += (int64_t)below(c->width + 3);
			step = own * (int64_t)dim->count;
		}
		if (!below(4))
			own = -own;
		if (!dst && !below(8))
			own = 0;
		*(dst ? &dim->dst_step : &dim->src_step) = own;
	}
}

static bool draw_copy(struct drawn *c)
{
	static const uint64_t widths[] = {1, 2, 3, 4, 8, 12, 16, 31, 1000, 131072, 150000, 300000};
	int64_t low, high, src_low, src_high, base;

	c->width = below(3) ? widths[below(sizeof(widths) / sizeof(widths[0]))] : 1 + below(70);
	c->ndim = (uint32_t)below(DIMS + 1);
	c->elements = 1;
	for (uint32_t i = 0; i < c->ndim; i++) {
		c->dims[i].count = below(3) ? 1 + below(5) : 1 + below(c->width < 100 ? 3000 : 9);
		c->elements *= c->dims[i].count;
	}
	if (c->elements * c->width > MEMORY / 2)
		return false;
	draw_steps(c, true);
	if (below(3))
		draw_steps(c, false);
	else
		for (uint32_t i = 0; i < c->ndim; i++)
			c->dims[i].src_step = c->dims[i].dst_step;
	span(c, true, &low, &high);
	span(c, false, &src_low, &src_high);
	if (high - low > MEMORY || src_high - src_low > MEMORY)
		return false;
	c->dst = -low + (int64_t)below((uint64_t)(MEMORY - (high - low) + 1));
	c->src = -src_low + (int64_t)below((uint64_t)(MEMORY - (src_high - src_low) + 1));
	base = c->dst + (int64_t)below(2 * c->width + 200) - (int64_t)c->width - 100;
	/* Mostly, the two are near each other. */
	if (below(4) && base + src_low >= 0 && base + src_high <= MEMORY)
		c->src = base;
	return true;
}

/* ---- running ---- */

static void run(const struct adma_plan *plan)
{
	static uint64_t order[4 * MEMORY];

	REQUIRE(plan->parts < sizeof(order) / sizeof(order[0]));
	for (uint64_t i = 0; i < plan->parts; i++)
		order[i] = i;
	for (uint64_t i = plan->parts; !plan->in_order && i > 1; i--) {
		uint64_t other = below(i), kept = order[i - 1];

		order[i - 1] = order[other];
		order[other] = kept;
	}
	for (uint64_t i = 0; i < plan->parts; i++)
		adma_plan_run(plan, order[i], (enum adma_kernel)(i % (uint64_t)adma_kernels()));
}

static void check_shape(const struct adma_plan *plan, const struct drawn *c)
{
	int64_t low, high;
	uint64_t halves = plan->staged ? 2 : 1;

	REQUIRE(plan->bytes == c->elements * c->width);
	REQUIRE(plan->bytes == plan->rows * plan->width);
	REQUIRE(plan->parts >= halves && plan->parts % halves == 0);
	/* No part is much too large, and none is needlessly small. */
	REQUIRE(plan->bytes <= plan->parts / halves * plan->part_bytes);
	REQUIRE(plan->parts / halves == 1 || plan->bytes > plan->parts / halves * plan->part_bytes / 4);
	span(c, true, &low, &high);
	REQUIRE(plan->writes.from == (uintptr_t)memory + (uintptr_t)(c->dst + low));
	REQUIRE(plan->writes.to == (uintptr_t)memory + (uintptr_t)(c->dst + high));
	span(c, false, &low, &high);
	REQUIRE(plan->reads.from == (uintptr_t)memory + (uintptr_t)(c->src + low));
	REQUIRE(plan->reads.to == (uintptr_t)memory + (uintptr_t)(c->src + high));
}

/* Mostly a plan keeps the parts that it has at first. */
static void cut(struct adma_plan *plan)
{
	REQUIRE(plan->part_bytes == ADMA_PART_BYTES || !plan->bytes);
	if (!below(3))
		adma_plan_cut(plan, 1ull << (12 + below(9)));
}

static bool test_one(void)
{
	struct drawn c;
	struct adma_plan plan;
	struct adma_dim dims[DIMS];

	if (!draw_copy(&c) || !make_model(&c))
		return false;
	memcpy(memory, before, MEMORY);
	memcpy(dims, c.dims, sizeof(dims));
	REQUIRE(!adma_plan_strided(&plan, memory + c.dst, memory + c.src, c.width, dims, c.ndim));
	cut(&plan);
	check_shape(&plan, &c);
	if (plan.staged)
		plan.stage = malloc(plan.bytes);
	run(&plan);
	free(plan.stage);
	REQUIRE(!memcmp(memory, model, MEMORY));
	return true;
}

static void test_bytes(void)
{
	struct adma_plan plan;

	for (int i = 0; i < 400; i++) {
		uint64_t n = below(3) ? below(300) : below(MEMORY / 2);
		uint64_t to = below(MEMORY - n + 1), from = below(4) ? to + below(600) : below(MEMORY - n + 1);

		if (from + n > MEMORY)
			continue;
		memcpy(memory, before, MEMORY);
		memcpy(model, before, MEMORY);
		memmove(model + to, model + from, n);
		adma_plan_bytes(&plan, memory + to, memory + from, n);
		cut(&plan);
		REQUIRE(!plan.staged && plan.bytes == n && !n == !plan.parts);
		run(&plan);
		REQUIRE(!memcmp(memory, model, MEMORY));
	}
}

/* Parts of copies that are far apart go in any order; copies that overlap with the same steps need no stage. */
static void test_judgement(void)
{
	struct adma_plan plan;
	struct adma_dim far[] = {{100, 300, 500}, {10, 20, 30}}, alike[] = {{100, 300, 300}, {10, 20, 20}};
	struct adma_dim other[] = {{100, 300, 300}, {10, 20, 30}};

	REQUIRE(!adma_plan_strided(&plan, memory, memory + MEMORY / 2, 4, far, 2));
	REQUIRE(!plan.in_order && !plan.staged);
	REQUIRE(!adma_plan_strided(&plan, memory + 8, memory, 4, alike, 2));
	REQUIRE(plan.in_order && plan.backwards && !plan.staged);
	REQUIRE(!adma_plan_strided(&plan, memory + 8, memory, 4, other, 2));
	REQUIRE(plan.in_order && !plan.backwards && plan.staged);
}

static void test_refused(void)
{
	struct adma_plan plan;
	struct adma_dim zero = {.count = 2, .dst_step = 0, .src_step = 1};
	struct adma_dim single = {.count = 1, .dst_step = 0, .src_step = 0};
	struct adma_dim none[] = {{.count = 0, .dst_step = 0, .src_step = 0}, {3, 1, 1}};
	struct adma_dim huge[] = {{1ull << 40, 1, 0}, {1ull << 40, 1, 0}};
	struct adma_dim many[ADMA_DIMS_MAX + 1] = {{1, 1, 1}};

	REQUIRE(adma_plan_strided(&plan, memory, memory + 9, 1, &zero, 1) == -EINVAL);
	REQUIRE(adma_plan_strided(&plan, memory, memory + 9, 1, huge, 2) == -EOVERFLOW);
	REQUIRE(adma_plan_strided(&plan, memory, memory + 9, 1, many, ADMA_DIMS_MAX + 1) == -E2BIG);
	REQUIRE(!adma_plan_strided(&plan, memory, memory + 9, 3, &single, 1) && plan.bytes == 3);
	REQUIRE(!adma_plan_strided(&plan, memory, memory + 9, 3, none, 2) && !plan.bytes && !plan.parts);
	REQUIRE(!adma_plan_strided(&plan, memory, memory + 9, 0, &single, 1) && !plan.parts);
}

static void test_conflicts(void)
{
	struct adma_plan a, b;

	for (int i = 0; i < 3000; i++) {
		uint64_t at[4], n[2] = {1 + below(50), 1 + below(50)};
		bool want = false;

		for (int k = 0; k < 4; k++)
			at[k] = below(400);
		adma_plan_bytes(&a, memory + at[0], memory + at[1], n[0]);
		adma_plan_bytes(&b, memory + at[2], memory + at[3], n[1]);
		/* Does either write what the other touches? */
		for (uint64_t byte = 0; byte < 500; byte++) {
			bool aw = byte - at[0] < n[0], ar = byte - at[1] < n[0];
			bool bw = byte - at[2] < n[1], br = byte - at[3] < n[1];

			want |= (aw && (bw || br)) || (bw && ar);
		}
		REQUIRE(adma_plans_conflict(&a, &b) == want);
		REQUIRE(adma_plans_conflict(&b, &a) == want);
	}
}

int main(void)
{
	int done = 0;

	for (uint32_t i = 0; i < MEMORY; i++)
		before[i] = (uint8_t)draw(&seed);
	for (int i = 0; i < 4000; i++)
		done += test_one();
	REQUIRE(done > 800); /* otherwise the random copies are no good */
	test_bytes();
	test_judgement();
	test_refused();
	test_conflicts();
	printf("plan: %d strided copies are as in the model\n", done);
	return 0;
}
