/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_dependencies.c - places, blockers and followers, against a list that is searched.
 *
 * In the model a copy waits for each earlier one that is there still and conflicts with it.
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
static struct adma_copy *there[ADMA_OUTSTANDING]; /* in the order they came */
static uint32_t n_there;
static unsigned long long seed = 20250302;

static uint32_t waits_for(uint32_t at)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < at; i++)
		n += adma_plans_conflict(&there[i]->plan, &there[at]->plan);
	return n;
}

static void check_all(void)
{
	uint8_t places[ADMA_OUTSTANDING] = {0};

	for (uint32_t i = 0; i < n_there; i++) {
		REQUIRE(there[i]->blockers == waits_for(i));
		REQUIRE(there[i]->place < ADMA_OUTSTANDING && !places[there[i]->place]++);
		REQUIRE(outstanding.copies[there[i]->place] == there[i]);
	}
}

static struct adma_copy *unused(void)
{
	for (uint32_t i = 0; i < MANY; i++) {
		bool used = false;

		for (uint32_t k = 0; k < n_there; k++)
			used |= there[k] == &copies[i];
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

	memset(copy, 0xee, sizeof(*copy)); /* what it was before is of no interest */
	adma_plan_bytes(&copy->plan, memory + draw(&seed) % (range - n), memory + draw(&seed) % (range - n), n);
	for (uint32_t i = 0; i < n_there; i++)
		conflict |= adma_plans_conflict(&there[i]->plan, &copy->plan);
	REQUIRE(adma_dependencies_conflict(&outstanding, &copy->plan) == conflict);
	if (!adma_dependencies_admit(&outstanding, copy)) {
		REQUIRE(n_there == ADMA_OUTSTANDING);
		return;
	}
	REQUIRE(n_there < ADMA_OUTSTANDING);
	there[n_there++] = copy;
}

/* One that may run ends; or, `any`, one is taken back before it could. */
static void end(bool any)
{
	struct adma_copy *freed[ADMA_OUTSTANDING], *copy;
	uint32_t at = draw(&seed) % n_there, before[MANY], n, expected = 0;

	while (!any && there[at]->blockers)
		at = (at + 1) % n_there;
	copy = there[at];
	for (uint32_t i = 0; i < n_there; i++)
		before[there[i] - copies] = there[i]->blockers;
	n = adma_dependencies_release(&outstanding, copy, freed);
	memmove(&there[at], &there[at + 1], (n_there - at - 1) * sizeof(there[0]));
	n_there--;
	for (uint32_t i = 0; i < n_there; i++)
		expected += before[there[i] - copies] && !waits_for(i);
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
		else if (n_there)
			end(!(draw(&seed) % 4));
		if (!(i % 16))
			check_all();
	}
}

int main(void)
{
	struct adma_copy *freed[ADMA_OUTSTANDING];

	go(3000, MEMORY, 60); /* few meet */
	go(3000, 200, 60);    /* most do */
	go(3000, MEMORY, 30);
	go(1500, 1000, 90);   /* all places taken */
	while (n_there)
		end(false);
	check_all();
	/* Nothing is left of all these. */
	for (uint32_t i = 0; i < ADMA_SET_WORDS; i++)
		REQUIRE(!outstanding.taken.words[i]);
	for (uint32_t i = 0; i < ADMA_OUTSTANDING; i++)
		for (uint32_t word = 0; word < ADMA_SET_WORDS; word++)
			REQUIRE(!outstanding.followers[i].words[word]);
	/* One that many wait for frees them all. */
	for (uint32_t i = 0; i < ADMA_OUTSTANDING; i++) {
		adma_plan_bytes(&copies[i].plan, memory + 100 + i, memory, 1);
		if (!i)
			adma_plan_bytes(&copies[i].plan, memory, memory + 50, 1);
		REQUIRE(adma_dependencies_admit(&outstanding, &copies[i]));
		REQUIRE(copies[i].blockers == !!i);
	}
	REQUIRE(adma_dependencies_release(&outstanding, &copies[0], freed) == ADMA_OUTSTANDING - 1);
	puts("outstanding: all is as it should be");
	return 0;
}
