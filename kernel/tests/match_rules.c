/* SPDX-License-Identifier: BSD-3-Clause */
/* match_rules.c - the model that match.c is compared with; see match_rules.h. */
#include <errno.h>
#include <stdlib.h>

#include "match_rules.h"
#include "require.h"

/* `pending` has the pending posts of all keys in the order of their posts. */
struct world {
	struct adma_match match;
	struct adma_envelope envelopes[POSTS_MAX];
	struct step steps[POSTS_MAX]; /* as posted: match.c changes the envelopes of reads */
	unsigned int posted;
	unsigned int pending[POSTS_MAX];
	unsigned int count;
};

/* What a post is expected to do. */
struct verdict {
	int error;
	int matched;                       /* -1: none */
	unsigned int refused[POSTS_MAX]; /* in this order */
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

/* The place of the oldest post on @key among the pending ones, or -1. */
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
	verdict->matched = write;
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
			verdict->matched = read;
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

	*verdict = (struct verdict){ .matched = -1 };
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

static unsigned int number(const struct world *world, const struct adma_envelope *envelope)
{
	return envelope - world->envelopes;
}

/* @read matched @write, or was refused because of it. */
static void check_read(const struct world *world, unsigned int read, unsigned int write)
{
	const struct adma_envelope *envelope = &world->envelopes[read];

	REQUIRE(envelope->length == world->steps[write].length);
	REQUIRE(envelope->note[0] == write && envelope->note[1] == ~(u64)write);
	REQUIRE(envelope->error == refusal(&world->steps[read], &world->steps[write]));
}

static void check_peek(const struct world *world)
{
	const struct adma_envelope *first = adma_match_peek(&world->match);
	int expected = oldest(world, 0);

	if (expected >= 0 && world->steps[world->pending[expected]].write)
		REQUIRE(first == &world->envelopes[world->pending[expected]]);
	else
		REQUIRE(!first);
}

/*
 * Of a refused read and the write that refused it, one is the new post @self. If that is the
 * read, the write is @first_write.
 */
static void check_refused(struct world *world, unsigned int self, struct list_head *refused,
			  const struct verdict *verdict, int first_write)
{
	const struct adma_envelope *envelope;
	unsigned int i = 0;

	list_for_each_entry(envelope, refused, node) {
		REQUIRE(i < verdict->refusals);
		REQUIRE(number(world, envelope) == verdict->refused[i]);
		check_read(world, verdict->refused[i],
			   world->steps[self].write ? self : (unsigned int)first_write);
		REQUIRE(envelope->error);
		i++;
	}
	REQUIRE(i == verdict->refusals);
}

void world_post(struct world *world, const struct step *step)
{
	unsigned int self = world->posted;
	int first = oldest(world, step->key), first_write = -1;
	struct adma_envelope *envelope, *matched;
	struct list_head refused;
	struct verdict verdict;

	if (self == POSTS_MAX)
		return;
	world->posted++;
	world->steps[self] = *step;
	envelope = &world->envelopes[self];
	*envelope = (struct adma_envelope){
		.key = step->key,
		.length = step->length,
		.note = { step->write ? self : 0, step->write ? ~(u64)self : 0 },
		.kind = step->kind,
		.write = step->write,
	};
	INIT_LIST_HEAD(&envelope->node);
	INIT_LIST_HEAD(&refused);
	if (first >= 0)
		first_write = world->pending[first];
	judge(world, self, &verdict);
	REQUIRE(adma_match_post(&world->match, envelope, &matched, &refused) == verdict.error);
	if (verdict.error) {
		REQUIRE(!matched && list_empty(&refused));
		return;
	}
	if (!matched)
		REQUIRE(verdict.matched < 0);
	else
		REQUIRE(number(world, matched) == (unsigned int)verdict.matched);
	if (matched) {
		REQUIRE(list_empty(&matched->node));
		check_read(world, step->write ? number(world, matched) : self,
			   step->write ? self : number(world, matched));
	}
	check_refused(world, self, &refused, &verdict, first_write);
	check_peek(world);
}

/* As adma_withdraw_cancel() does it. */
void world_cancel(struct world *world, unsigned int which)
{
	if (!world->count)
		return;
	which %= world->count;
	list_del_init(&world->envelopes[world->pending[which]].node);
	forget(world, which);
	check_peek(world);
}

void world_drain(struct world *world)
{
	bool seen[POSTS_MAX] = { false };
	struct adma_envelope *envelope;
	struct list_head all;
	u64 last_in_fifo = 0;
	unsigned int i, n = 0;

	INIT_LIST_HEAD(&all);
	adma_match_drain(&world->match, &all);
	list_for_each_entry(envelope, &all, node) {
		i = number(world, envelope);
		REQUIRE(i < world->posted && !seen[i]);
		seen[i] = true;
		n++;
		if (envelope->key)
			continue;
		REQUIRE(i + 1 > last_in_fifo); /* the FIFO keeps its order */
		last_in_fifo = i + 1;
	}
	REQUIRE(n == world->count);
	for (i = 0; i < world->count; i++)
		REQUIRE(seen[world->pending[i]]);
	world->count = 0;
	check_peek(world);
}
