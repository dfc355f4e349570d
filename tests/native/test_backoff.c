/* SPDX-License-Identifier: BSD-3-Clause */
/* test_backoff.c - for how long a waiter spins: what it learns from sleeps, and from spins in vain. */
#include <stdio.h>

#include "base/backoff.h"
#include "require.h"

#define SHORTEST 2000
#define LONGEST 100000

static const struct adma_backoff_limits limits = {.min_ns = SHORTEST, .max_ns = LONGEST};

static int64_t after(struct adma_backoff *backoff, int64_t slept_ns)
{
	adma_backoff_sleep(backoff, slept_ns);
	adma_backoff_wake(backoff, limits);
	return backoff->spin_ns;
}

/* A sleep that a long spin would have avoided leads to one, and long sleeps end that. */
static void sleeps_teach(void)
{
	struct adma_backoff backoff = {.spin_ns = SHORTEST};
	int64_t spin_ns;

	REQUIRE(after(&backoff, LONGEST - 1) == LONGEST);
	for (spin_ns = LONGEST; spin_ns > SHORTEST; spin_ns = backoff.spin_ns)
		REQUIRE(after(&backoff, LONGEST) < spin_ns);
	REQUIRE(after(&backoff, LONGEST) == SHORTEST);
}

/* How many short sleeps it takes until a long spin is tried. */
static int sleeps_until_long(struct adma_backoff *backoff)
{
	int sleeps = 0;

	while (backoff->spin_ns < LONGEST) {
		sleeps++;
		(void)after(backoff, SHORTEST);
	}
	return sleeps;
}

/* Long spins that avoid no sleep are tried more and more seldom, but are not given up; and a hit makes up for all. */
static void spins_in_vain_teach(void)
{
	struct adma_backoff backoff = {.spin_ns = LONGEST};
	int sleeps = 1;

	for (int i = 0; i < ADMA_BACKOFF_CHANCE; i++)
		REQUIRE(after(&backoff, SHORTEST) == LONGEST); /* by chance */
	for (int i = 0; i < 2 * ADMA_BACKOFF_MOST; i++) {
		REQUIRE(after(&backoff, SHORTEST) == SHORTEST);
		sleeps *= sleeps < 1 << ADMA_BACKOFF_MOST ? 2 : 1;
		REQUIRE(sleeps_until_long(&backoff) == sleeps);
	}
	adma_backoff_hit(&backoff, limits);
	for (int i = 0; i < ADMA_BACKOFF_CHANCE; i++)
		REQUIRE(after(&backoff, SHORTEST) == LONGEST);
}

/* What comes during the shortest spin says nothing about a long one. */
static void a_quick_answer_teaches_nothing(void)
{
	struct adma_backoff backoff = {.spin_ns = LONGEST};

	for (int i = 0; i <= ADMA_BACKOFF_CHANCE; i++)
		(void)after(&backoff, SHORTEST);
	REQUIRE(backoff.spin_ns == SHORTEST);
	adma_backoff_hit(&backoff, limits);
	REQUIRE(sleeps_until_long(&backoff) == 2);
}

/* A waiter that is woken too early, and sleeps on, has slept long: a spin would have been of no use. */
static void early_wakes_teach_nothing(void)
{
	struct adma_backoff backoff = {.spin_ns = SHORTEST};

	adma_backoff_sleep(&backoff, SHORTEST);
	REQUIRE(backoff.spin_ns == SHORTEST);
	REQUIRE(after(&backoff, LONGEST) == SHORTEST);
	adma_backoff_wake(&backoff, limits); /* without a sleep */
	REQUIRE(backoff.spin_ns == SHORTEST);
	REQUIRE(after(&backoff, SHORTEST) == LONGEST);
}

int main(void)
{
	sleeps_teach();
	early_wakes_teach_nothing();
	spins_in_vain_teach();
	a_quick_answer_teaches_nothing();
	puts("backoff: short sleeps lead to long spins, unless those are in vain");
	return 0;
}
