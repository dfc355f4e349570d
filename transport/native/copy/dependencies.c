/* SPDX-License-Identifier: BSD-3-Clause */
/* dependencies.c - places, blockers and followers. */
#include "copy/dependencies.h"

#include <string.h>

#include "copy/plan.h"

static void set_put(struct adma_set *set, uint32_t place)
{
	set->words[place / 64] |= 1ull << place % 64;
}

static void set_drop(struct adma_set *set, uint32_t place)
{
	set->words[place / 64] &= ~(1ull << place % 64);
}

/* The first member that is not below `place`, or ADMA_OUTSTANDING. */
static uint32_t set_next(const struct adma_set *set, uint32_t place)
{
	for (uint32_t word = place / 64; word < ADMA_SET_WORDS; word++, place = word * 64) {
		uint64_t bits = set->words[word] >> place % 64;

		if (bits)
			return place + (uint32_t)__builtin_ctzll(bits);
	}
	return ADMA_OUTSTANDING;
}

/* The first place that is no member, or ADMA_OUTSTANDING. */
static uint32_t set_first_free(const struct adma_set *set)
{
	for (uint32_t word = 0; word < ADMA_SET_WORDS; word++)
		if (~set->words[word])
			return word * 64 + (uint32_t)__builtin_ctzll(~set->words[word]);
	return ADMA_OUTSTANDING;
}

#define for_each_place(i, set) for (uint32_t i = set_next(set, 0); i < ADMA_OUTSTANDING; i = set_next(set, i + 1))

bool adma_dependencies_conflict(const struct adma_dependencies *outstanding, const struct adma_plan *plan)
{
	for_each_place(i, &outstanding->taken)
		if (adma_plans_conflict(&outstanding->copies[i]->plan, plan))
			return true;
	return false;
}

bool adma_dependencies_room(const struct adma_dependencies *outstanding)
{
	return set_first_free(&outstanding->taken) != ADMA_OUTSTANDING;
}

bool adma_dependencies_admit(struct adma_dependencies *outstanding, struct adma_copy *copy)
{
	uint32_t place = set_first_free(&outstanding->taken);

	if (place == ADMA_OUTSTANDING)
		return false;
	copy->place = place;
	copy->blockers = 0;
	for_each_place(i, &outstanding->taken) {
		if (!adma_plans_conflict(&outstanding->copies[i]->plan, &copy->plan))
			continue;
		set_put(&outstanding->followers[i], place);
		copy->blockers++;
	}
	set_put(&outstanding->taken, place);
	outstanding->copies[place] = copy;
	return true;
}

uint32_t adma_dependencies_release(struct adma_dependencies *outstanding, struct adma_copy *copy,
				   struct adma_copy *freed[ADMA_OUTSTANDING])
{
	struct adma_set *followers = &outstanding->followers[copy->place];
	uint32_t n = 0;

	set_drop(&outstanding->taken, copy->place);
	outstanding->copies[copy->place] = NULL;
	/* A copy with blockers was cancelled while it waited: its blockers must forget it. */
	for (uint32_t i = 0; copy->blockers && i < ADMA_OUTSTANDING; i++)
		set_drop(&outstanding->followers[i], copy->place);
	for_each_place(i, followers)
		if (!--outstanding->copies[i]->blockers)
			freed[n++] = outstanding->copies[i];
	memset(followers, 0, sizeof(*followers));
	return n;
}
