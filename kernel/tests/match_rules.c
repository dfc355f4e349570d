/* SPDX-License-Identifier: BSD-3-Clause */
/* match_rules.c - the model that match.c is held against; see match_rules.h. */
#include <errno.h>
#include <stdlib.h>

#include "match_rules.h"
#include "require.h"

/* Pending parties of all keys in the order of their posts. */
struct world {
	struct adma_match match;
	struct adma_party parties[PARTIES];
	struct step steps[PARTIES]; /* as posted: reads of parties are written to */
	unsigned int posted;
	unsigned int pending[PARTIES];
	unsigned int count;
};

/* What a post is expected to do. */
struct verdict {
	int error;
	int met;                       /* -1: none */
	unsigned int refused[PARTIES]; /* in this order */
	unsigned int refusals;
	bool stays;
};

struct world *world_make(void)
{
	struct world *world = calloc(1, sizeof(*world));

	REQUIRE(world);
	adma_match_init(&world->match);
	return world;
}

void world_free(struct world *world)
{
	free(world);
}

static void forget(struct world *world, unsigned int at)
{
	for (world->count--; at < world->count; at++)
		world->pending[at] = world->pending[at + 1];
}

/* The oldest on @key: its place among the pending ones, or -1. */
static int oldest(const struct world *world, u64 key)
{
	unsigned int i;

	for (i = 0; i < world->count; i++) {
		if (world->steps[world->pending[i]].key == key)
			return i;
	}
	return -1;
}

static int refusal(const struct step *read, const struct step *write)
{
	if (read->kind != write->kind)
		return -EPROTOTYPE;
	return read->length < write->length ? -EMSGSIZE : 0;
}

static void judge_read(struct world *world, unsigned int self, struct verdict *verdict)
{
	const struct step *read = &world->steps[self];
	int first = oldest(world, read->key);
	unsigned int write;

	if (first < 0 || !world->steps[world->pending[first]].write) {
		verdict->stays = true;
		return;
	}
	write = world->pending[first];
	if (refusal(read, &world->steps[write])) {
		verdict->refused[verdict->refusals++] = self;
		return;
	}
	verdict->met = write;
	forget(world, first);
}

static void judge_write(struct world *world, unsigned int self, struct verdict *verdict)
{
	const struct step *write = &world->steps[self];
	unsigned int read;
	int first;

	for (;;) {
		first = oldest(world, write->key);
		if (first < 0 || world->steps[world->pending[first]].write)
			break;
		read = world->pending[first];
		forget(world, first);
		if (!refusal(&world->steps[read], write)) {
			verdict->met = read;
			return;
		}
		verdict->refused[verdict->refusals++] = read;
	}
	verdict->stays = true;
}

static void judge(struct world *world, unsigned int self, struct verdict *verdict)
{
	const struct step *step = &world->steps[self];
	int first = oldest(world, step->key);

	*verdict = (struct verdict){ .met = -1 };
	if (step->key && first >= 0 && world->steps[world->pending[first]].write == step->write) {
		verdict->error = -EEXIST;
		return;
	}
	if (step->write)
		judge_write(world, self, verdict);
	else
		judge_read(world, self, verdict);
	if (verdict->stays)
		world->pending[world->count++] = self;
}

static unsigned int number(const struct world *world, const struct adma_party *party)
{
	return party - world->parties;
}

/* A read that met @write, or was refused because of it. */
static void check_read(const struct world *world, unsigned int read, unsigned int write)
{
	const struct adma_party *party = &world->parties[read];

	REQUIRE(party->length == world->steps[write].length);
	REQUIRE(party->note[0] == write && party->note[1] == ~(u64)write);
	REQUIRE(party->error == refusal(&world->steps[read], &world->steps[write]));
}

static void check_peek(const struct world *world)
{
	const struct adma_party *first = adma_match_peek(&world->match);
	int expected = oldest(world, 0);

	if (expected >= 0 && world->steps[world->pending[expected]].write)
		REQUIRE(first == &world->parties[world->pending[expected]]);
	else
		REQUIRE(!first);
}

/* The write that a refused read would have met is the one that it was posted against. */
static void check_refused(struct world *world, unsigned int self, struct list_head *refused,
			  const struct verdict *verdict, int first_write)
{
	const struct adma_party *party;
	unsigned int i = 0;

	list_for_each_entry(party, refused, node) {
		REQUIRE(i < verdict->refusals);
		REQUIRE(number(world, party) == verdict->refused[i]);
		check_read(world, verdict->refused[i],
			   world->steps[self].write ? self : (unsigned int)first_write);
		REQUIRE(party->error);
		i++;
	}
	REQUIRE(i == verdict->refusals);
}

void world_post(struct world *world, const struct step *step)
{
	unsigned int self = world->posted;
	int first = oldest(world, step->key), first_write = -1;
	struct adma_party *party, *met;
	struct list_head refused;
	struct verdict verdict;

	if (self == PARTIES)
		return;
	world->posted++;
	world->steps[self] = *step;
	party = &world->parties[self];
	*party = (struct adma_party){
		.key = step->key,
		.length = step->length,
		.note = { step->write ? self : 0, step->write ? ~(u64)self : 0 },
		.kind = step->kind,
		.write = step->write,
	};
	INIT_LIST_HEAD(&party->node);
	INIT_LIST_HEAD(&refused);
	if (first >= 0)
		first_write = world->pending[first];
	judge(world, self, &verdict);
	REQUIRE(adma_match_post(&world->match, party, &met, &refused) == verdict.error);
	if (verdict.error) {
		REQUIRE(!met && list_empty(&refused));
		return;
	}
	REQUIRE(met ? number(world, met) == (unsigned int)verdict.met : verdict.met < 0);
	if (met) {
		REQUIRE(list_empty(&met->node));
		check_read(world, step->write ? number(world, met) : self,
			   step->write ? self : number(world, met));
	}
	check_refused(world, self, &refused, &verdict, first_write);
	check_peek(world);
}

/* As adma_request_cancel() does it. */
void world_cancel(struct world *world, unsigned int which)
{
	if (!world->count)
		return;
	which %= world->count;
	list_del_init(&world->parties[world->pending[which]].node);
	forget(world, which);
	check_peek(world);
}

void world_drain(struct world *world)
{
	bool seen[PARTIES] = { false };
	struct adma_party *party;
	struct list_head all;
	u64 last_in_line = 0;
	unsigned int i, n = 0;

	INIT_LIST_HEAD(&all);
	adma_match_drain(&world->match, &all);
	list_for_each_entry(party, &all, node) {
		i = number(world, party);
		REQUIRE(i < world->posted && !seen[i]);
		seen[i] = true;
		n++;
		if (party->key)
			continue;
		REQUIRE(i + 1 > last_in_line); /* the line keeps its order */
		last_in_line = i + 1;
	}
	REQUIRE(n == world->count);
	for (i = 0; i < world->count; i++)
		REQUIRE(seen[world->pending[i]]);
	world->count = 0;
	check_peek(world);
}
