/* SPDX-License-Identifier: BSD-3-Clause */
/* test_entries.c - completion entries are used by one request at a time, each time with a new generation. */
#include <string.h>

#include "kdev/entries.h"
#include "require.h"

#define BASE 100
#define CAPACITY 37

static unsigned long long seed = 20250304;

/* Taking and returning at random, compared with a table of the entries in use. */
static void entries_are_used_by_one_at_a_time(void)
{
	static struct adma_entries entries;
	bool used[CAPACITY] = {0};
	uint32_t generation[CAPACITY], count = 0;

	adma_entries_init(&entries, BASE, CAPACITY, 1);
	for (int i = 0; i < CAPACITY; i++)
		generation[i] = 1;
	for (int step = 0; step < 20000; step++) {
		uint32_t i = (uint32_t)(draw(&seed) % CAPACITY);

		REQUIRE(adma_entries_idle(&entries) == !count && adma_entries_full(&entries) == (count == CAPACITY));
		if (used[i]) {
			adma_entries_return(&entries, BASE + i, draw(&seed) % 2);
			used[i] = false;
			count--;
			continue;
		}
		int entry = adma_entries_take(&entries);

		if (count == CAPACITY) {
			REQUIRE(entry == -1);
			continue;
		}
		REQUIRE(entry >= BASE && entry < BASE + CAPACITY && !used[entry - BASE]);
		used[entry - BASE] = true;
		count++;
		REQUIRE(adma_entries_generation(&entries, (uint32_t)entry) == ++generation[entry - BASE]);
	}
}

static void a_returned_entry_is_next_or_last(void)
{
	static struct adma_entries entries;
	int first, second;

	adma_entries_init(&entries, 0, 3, 0);
	first = adma_entries_take(&entries);
	adma_entries_return(&entries, (uint32_t)first, false);
	REQUIRE(adma_entries_take(&entries) == first);
	adma_entries_return(&entries, (uint32_t)first, true);
	second = adma_entries_take(&entries);
	REQUIRE(second != first && adma_entries_take(&entries) != first && adma_entries_take(&entries) == first);
	REQUIRE(adma_entries_take(&entries) == -1);
}

/* A generation wraps around, and 0 is left out. */
static void no_generation_is_zero(void)
{
	static struct adma_entries entries;

	adma_entries_init(&entries, 0, 1, UINT32_MAX - 1);
	for (int i = 0; i < 3; i++) {
		static const uint32_t expected[] = {UINT32_MAX, 1, 2};

		REQUIRE(adma_entries_take(&entries) == 0 && adma_entries_generation(&entries, 0) == expected[i]);
		adma_entries_return(&entries, 0, true);
	}
}

int main(void)
{
	entries_are_used_by_one_at_a_time();
	a_returned_entry_is_next_or_last();
	no_generation_is_zero();
	puts("entries: each is used by one request at a time, under a new generation");
	return 0;
}
