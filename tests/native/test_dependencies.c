/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dependencies.c - places, blockers and followers, compared with a model that searches a list.
 *
 * In the model, a copy waits for each earlier copy that is still outstanding and conflicts with it.
 */
#include <string.h>

#include "copy/dependencies.h"
#include "copy/plan.h"
#include "require.h"

#define MEMORY 4000
#define MANY (ADMA_OUTSTANDING + 20)

static uint8_t memory[MEMORY];
static struct adma_dependencies outstanding;
static struct adma_copy copies[MANY];
static struct adma_copy *listed[ADMA_OUTSTANDING]; /* the outstanding copies, in the order of their admission */
static uint32_t n_listed;
static unsigned long long seed = 20250302;

static uint32_t waits_for(uint32_t at)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < at; i++)
		n += adma_plans_conflict(&listed[i]->plan, &listed[at]->plan);
	return n;
}

static void check_all(void)
{
	uint8_t places[ADMA_OUTSTANDING] = {0};

	for (uint32_t i = 0; i < n_listed; i++) {
		REQUIRE(listed[i]->blockers == waits_for(i));
		REQUIRE(listed[i]->place < ADMA_OUTSTANDING && !places[listed[i]->place]++);
		REQUIRE(outstanding.copies[listed[i]->place] == listed[i]);
	}
}

static struct adma_copy *unused(void)
{
	for (uint32_t i = 0; i < MANY; i++) {
		bool used = false;

		for (uint32_t k = 0; k < n_listed; k++)
			used |= listed[k] == &copies[i];
		if (!used)
			return &copies[i];
	}
	return NULL;
}

static void add(uint32_t range)
{
	struct adma_copy *copy = unused();
	uint64_t n = 1 + draw(&seed) % 40;
	bool conflict = false;

	memset(copy, 0xee, sizeof(*copy)); /* what was there before is not relied on */
	adma_plan_bytes(&copy->plan, memory + draw(&seed) % (range - n), memory + draw(&seed) % (range - n), n);
	for (uint32_t i = 0; i < n_listed; i++)
		conflict |= adma_plans_conflict(&listed[i]->plan, &copy->plan);
	REQUIRE(adma_dependencies_conflict(&outstanding, &copy->plan) == conflict);
	if (!adma_dependencies_admit(&outstanding, copy)) {
		REQUIRE(n_listed == ADMA_OUTSTANDING);
		return;
	}
	REQUIRE(n_listed < ADMA_OUTSTANDING);
	listed[n_listed++] = copy;
}

/* A copy that may run completes; or, with `any`, a copy is cancelled that may still be waiting. */
static void complete(bool any)
{
	struct adma_copy *freed[ADMA_OUTSTANDING], *copy;
	uint32_t at = draw(&seed) % n_listed, before[MANY], n, expected = 0;

	while (!any && listed[at]->blockers)
		at = (at + 1) % n_listed;
	copy = listed[at];
	for (uint32_t i = 0; i < n_listed; i++)
		before[listed[i] - copies] = listed[i]->blockers;
	n = adma_dependencies_release(&outstanding, copy, freed);
	memmove(&listed[at], &listed[at + 1], (n_listed - at - 1) * sizeof(listed[0]));
	n_listed--;
	for (uint32_t i = 0; i < n_listed; i++)
		expected += before[listed[i] - copies] && !waits_for(i);
	REQUIRE(n == expected);
	for (uint32_t i = 0; i < n; i++) {
		REQUIRE(!freed[i]->blockers && before[freed[i] - copies]);
		REQUIRE(!i || freed[i]->place > freed[i - 1]->place);
	}
}

static void go(int steps, uint32_t range, unsigned int adds)
{
	for (int i = 0; i < steps; i++) {
		if (draw(&seed) % 100 < adds)
			add(range);
		else if (n_listed)
			complete(!(draw(&seed) % 4));
		if (!(i % 16))
			check_all();
	}
}

int main(void)
{
	struct adma_copy *freed[ADMA_OUTSTANDING];

	go(3000, MEMORY, 60); /* few conflict */
	go(3000, 200, 60);    /* most do */
	go(3000, MEMORY, 30);
	go(1500, 1000, 90);   /* all places are taken */
	while (n_listed)
		complete(false);
	check_all();
	/* Nothing is left of all these copies. */
	for (uint32_t i = 0; i < ADMA_SET_WORDS; i++)
		REQUIRE(!outstanding.taken.words[i]);
	for (uint32_t i = 0; i < ADMA_OUTSTANDING; i++)
		for (uint32_t word = 0; word < ADMA_SET_WORDS; word++)
			REQUIRE(!outstanding.followers[i].words[word]);
	/* A copy that all others wait for frees them all. */
	for (uint32_t i = 0; i < ADMA_OUTSTANDING; i++) {
		adma_plan_bytes(&copies[i].plan, memory + 100 + i, memory, 1);
		if (!i)
			adma_plan_bytes(&copies[i].plan, memory, memory + 50, 1);
		REQUIRE(adma_dependencies_admit(&outstanding, &copies[i]));
		REQUIRE(copies[i].blockers == !!i);
	}
	REQUIRE(adma_dependencies_release(&outstanding, &copies[0], freed) == ADMA_OUTSTANDING - 1);
	puts("dependencies: as in the model");
	return 0;
}
