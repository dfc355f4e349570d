/* SPDX-License-Identifier: BSD-3-Clause */
/* test_split.c - cuts copies: chosen cases, and many random ones. */
#include "require.h"
#include "split_rules.h"

static const struct adma_split_limits plain = { 8, 64, 1024, 65536 };

/* Makes a buffer that begins at @offset in its first page. No two of its pages are contiguous. */
static void scatter(struct side *side, u32 offset, size_t length)
{
	size_t n;

	for (; length; length -= n, offset = 0) {
		n = PAGE_BYTES - offset < length ? PAGE_BYTES - offset : length;
		side_add(side, offset, n);
	}
}

static void test_aligned(void)
{
	struct side to = { 0 }, from = { 0 };
	struct tally tally;

	side_add(&to, 0, 1 << 20);
	side_add(&from, 0, 1 << 20);
	tally = split_check(&to, &from, 1 << 20, &plain);
	REQUIRE(tally.dma == 1 << 20 && tally.pieces == 16);
	side_free(&to);
	side_free(&from);
}

/* Both sides are aligned alike, but to no cache line: there are a head and a tail only. */
static void test_edges(void)
{
	struct side to = { 0 }, from = { 0 };
	struct tally tally;

	side_add(&to, 24, 100000);
	side_add(&from, 24, 100000);
	tally = split_check(&to, &from, 100000, &plain);
	REQUIRE(tally.cpu == 0);
	REQUIRE(tally.edge > 0 && tally.edge < 2 * 64);
	side_free(&to);
	side_free(&from);
}

/* No pages are contiguous on either side, and the sides differ by half a page: so do the pieces. */
static void test_half_page(void)
{
	struct side to = { 0 }, from = { 0 };
	struct tally tally;

	scatter(&to, 2048, 40960);
	scatter(&from, 0, 40960);
	tally = split_check(&to, &from, 40960, &plain);
	REQUIRE(tally.dma == 40960 && tally.pieces == 20);
	side_free(&to);
	side_free(&from);
}

/* The sides' alignments differ: only an engine without alignment can copy. */
static void test_odd(void)
{
	const struct adma_split_limits any = { 1, 64, 1024, 65536 };
	struct side to = { 0 }, from = { 0 };
	struct tally tally;

	scatter(&to, 77, 65536);
	scatter(&from, 1030, 65536);
	tally = split_check(&to, &from, 65536, &plain);
	REQUIRE(tally.dma == 0 && tally.edge == 0);
	tally = split_check(&to, &from, 65536, &any);
	REQUIRE(tally.dma > 65536 / 2);
	side_free(&to);
	side_free(&from);
}

static void test_short(void)
{
	struct side to = { 0 }, from = { 0 };
	size_t n;

	side_add(&to, 0, 4096);
	side_add(&from, 0, 4096);
	REQUIRE(split_check(&to, &from, 0, &plain).dma == 0);
	for (n = 1; n < 1024; n++)
		REQUIRE(split_check(&to, &from, n, &plain).cpu == n);
	for (; n <= 4096; n++)
		REQUIRE(split_check(&to, &from, n, &plain).dma == n / 64 * 64);
	side_free(&to);
	side_free(&from);
}

/* The engine takes only pieces that are too short for it: the CPU copies, in bounded pieces. */
static void test_narrow(void)
{
	const struct adma_split_limits narrow = { 1, 64, 1024, 512 };
	struct side to = { 0 }, from = { 0 };

	side_add(&to, 0, 10000);
	side_add(&from, 0, 10000);
	REQUIRE(split_check(&to, &from, 10000, &narrow).cpu == 10000);
	side_free(&to);
	side_free(&from);
}

static void fill(struct side *side, size_t length, unsigned long long *seed)
{
	size_t n;

	while (length && side->count < 60) {
		n = 1 + draw(seed) % (draw(seed) % 4 ? 9000 : 100);
		if (n > length)
			n = length;
		side_add(side, draw(seed) % 2 ? 0 : draw(seed) % PAGE_BYTES, n);
		length -= n;
	}
}

static void test_random(void)
{
	unsigned long long seed = 20240229;
	struct adma_split_limits limits;
	struct side to = { 0 }, from = { 0 };
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		limits.align = 1u << draw(&seed) % 13;
		limits.line = 1u << draw(&seed) % 9;
		limits.least = 1 + draw(&seed) % 3000;
		limits.most = 1 + draw(&seed) % 70000;
		fill(&to, draw(&seed) % 60000, &seed);
		fill(&from, draw(&seed) % 60000, &seed);
		split_check(&to, &from, to.length < from.length ? to.length : from.length, &limits);
		side_free(&to);
		side_free(&from);
	}
}

int main(void)
{
	test_aligned();
	test_edges();
	test_half_page();
	test_odd();
	test_short();
	test_narrow();
	test_random();
	puts("split: all checks passed");
	return 0;
}
