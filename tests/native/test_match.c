/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_match.c - the posted and the unexpected queue find what lists find that are walked in order.
 *
 * Entries are drawn from few sources and tags, so that many accept the same, and are added, removed
 * and looked for at random. Each find is compared with a walk over all entries in the order in which
 * they were added. calloc() is made to fail in half of the cases, so that tables do not grow.
 */
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "match/match.h"
#include "match/posted.h"
#include "match/unexpected.h"
#include "require.h"

#define SEEDS 4000
#define STEPS 250
#define ENTRIES 96
#define SOURCES 4
#define MANY 100000

static unsigned long long seed;

static uint32_t below(uint32_t n)
{
	return draw(&seed) % n;
}

/* ---- memory: the linker turns calloc() of the code under test into this ---- */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool refuse_memory;
static uint64_t refused;

void *__wrap_calloc(size_t n, size_t size)
{
	refused += refuse_memory;
	return refuse_memory ? NULL : __real_calloc(n, size);
}

/* ---- what is drawn ---- */

/* Tags differ in their lowest or their highest bits, as tags of two contexts do. */
static uint64_t draw_tag(uint32_t spread)
{
	return (uint64_t)below(2) << 63 | (uint64_t)below(2) << 32 | below(spread);
}

static uint64_t draw_mask(void)
{
	static const uint64_t masks[] = {ADMA_WHOLE_TAG, ADMA_WHOLE_TAG, 0, 0xffffffff00000000ull, 1, 1ull << 63};

	return masks[below(sizeof(masks) / sizeof(*masks))];
}

static bool equal_under(uint64_t a, uint64_t b, uint64_t mask)
{
	return !((a ^ b) & mask);
}

/* ---- the posted queue ---- */

struct receive {
	struct adma_posted_entry entry;
	uint32_t source;
	uint64_t tag, mask;
	bool listed;
};

/* The model: receives in post order. */
struct receives {
	struct receive *at[ENTRIES];
	uint32_t count;
};

static struct receive *model_find_receive(const struct receives *model, uint32_t source, uint64_t tag)
{
	for (uint32_t i = 0; i < model->count; i++) {
		struct receive *r = model->at[i];

		if ((r->source == ADMA_ANY_SOURCE || r->source == source) && equal_under(r->tag, tag, r->mask))
			return r;
	}
	return NULL;
}

static void model_remove_receive(struct receives *model, struct receive *r)
{
	uint32_t i = 0;

	while (model->at[i] != r)
		i++;
	memmove(&model->at[i], &model->at[i + 1], (--model->count - i) * sizeof(*model->at));
}

static void posted_is_as_modelled(const struct adma_posted *posted, const struct receives *model)
{
	uint32_t i = 0;

	REQUIRE(posted->count == model->count);
	adma_list_for_each(at, &posted->all)
		REQUIRE(i < model->count && at == &model->at[i++]->entry.all);
	REQUIRE(i == model->count);
}

static void post_or_remove(struct adma_posted *posted, struct receives *model, struct receive *r, uint32_t spread)
{
	if (r->listed) {
		adma_posted_remove(posted, &r->entry);
		model_remove_receive(model, r);
	} else {
		r->source = below(3) ? below(SOURCES) : ADMA_ANY_SOURCE;
		r->tag = draw_tag(spread);
		r->mask = draw_mask();
		adma_posted_add(posted, &r->entry, r->source, r->tag, r->mask);
		model->at[model->count++] = r;
	}
	r->listed = !r->listed;
}

static void find_posted(struct adma_posted *posted, struct receives *model, uint32_t spread)
{
	uint32_t source = below(SOURCES);
	uint64_t tag = draw_tag(spread);
	struct receive *expected = model_find_receive(model, source, tag);
	struct adma_posted_entry *found = adma_posted_find(posted, source, tag);

	REQUIRE(found == (expected ? &expected->entry : NULL));
	if (found && below(2)) {
		adma_posted_remove(posted, found);
		model_remove_receive(model, expected);
		expected->listed = false;
	}
}

static void posted_at_random(uint32_t spread)
{
	static struct receive receives[ENTRIES];
	struct receives model = {0};
	struct adma_posted posted;

	memset(receives, 0xa5, sizeof(receives)); /* entries need not be initialised */
	for (int i = 0; i < ENTRIES; i++)
		receives[i].listed = false;
	adma_posted_init(&posted, seed);
	for (int step = 0; step < STEPS; step++) {
		if (below(2))
			post_or_remove(&posted, &model, &receives[below(ENTRIES)], spread);
		else
			find_posted(&posted, &model, spread);
	}
	posted_is_as_modelled(&posted, &model);
	adma_posted_free(&posted);
}

/* ---- the unexpected queue ---- */

struct message {
	struct adma_unexpected_entry entry;
	uint32_t source;
	uint64_t tag;
	bool listed;
};

/* The model: messages by arrival. */
struct messages {
	struct message *at[ENTRIES];
	uint32_t count;
};

static struct message *model_find_message(const struct messages *model, uint32_t source, uint64_t tag, uint64_t mask)
{
	for (uint32_t i = 0; i < model->count; i++) {
		struct message *m = model->at[i];

		if ((source == ADMA_ANY_SOURCE || m->source == source) && equal_under(m->tag, tag, mask))
			return m;
	}
	return NULL;
}

static void model_remove_message(struct messages *model, struct message *m)
{
	uint32_t i = 0;

	while (model->at[i] != m)
		i++;
	memmove(&model->at[i], &model->at[i + 1], (--model->count - i) * sizeof(*model->at));
}

struct unexpected_case {
	struct adma_unexpected queue;
	struct adma_unexpected_source sources[SOURCES];
	struct message messages[ENTRIES];
	struct messages model;
	uint32_t spread;
};

static void arrive_or_leave(struct unexpected_case *c)
{
	struct message *m = &c->messages[below(ENTRIES)];

	if (m->listed) {
		adma_unexpected_remove(&c->queue, &m->entry);
		model_remove_message(&c->model, m);
	} else {
		m->source = below(SOURCES);
		m->tag = draw_tag(c->spread);
		adma_unexpected_add(&c->queue, &m->entry, &c->sources[m->source], m->tag);
		c->model.at[c->model.count++] = m;
	}
	m->listed = !m->listed;
}

static void find_unexpected(struct unexpected_case *c)
{
	uint32_t source = below(3) ? below(SOURCES) : ADMA_ANY_SOURCE;
	uint64_t tag = draw_tag(c->spread), mask = draw_mask();
	struct message *expected = model_find_message(&c->model, source, tag, mask);
	struct adma_unexpected_entry *found =
		adma_unexpected_find(&c->queue, source == ADMA_ANY_SOURCE ? NULL : &c->sources[source], tag, mask);

	REQUIRE(found == (expected ? &expected->entry : NULL));
	if (found && below(2)) {
		adma_unexpected_remove(&c->queue, found);
		model_remove_message(&c->model, expected);
		expected->listed = false;
	}
}

/* An endpoint is lost: its messages leave, by arrival, and no others do. */
static void lose_a_source(struct unexpected_case *c)
{
	struct adma_unexpected_source *source = &c->sources[below(SOURCES)];

	adma_list_for_each_safe(at, after, &source->messages) {
		struct message *expected = model_find_message(&c->model, source->number, 0, 0);
		struct adma_unexpected_entry *entry = adma_unexpected_of(at);

		REQUIRE(expected && entry == &expected->entry && entry->source == source);
		adma_unexpected_remove(&c->queue, entry);
		model_remove_message(&c->model, expected);
		expected->listed = false;
	}
	REQUIRE(!source->count && !model_find_message(&c->model, source->number, 0, 0));
}

static void unexpected_is_as_modelled(const struct unexpected_case *c)
{
	uint32_t i = 0, of_sources = 0;

	REQUIRE(c->queue.count == c->model.count);
	adma_list_for_each(at, &c->queue.all)
		REQUIRE(i < c->model.count && at == &c->model.at[i++]->entry.all);
	for (int s = 0; s < SOURCES; s++)
		of_sources += c->sources[s].count;
	REQUIRE(i == c->model.count && of_sources == i);
}

static void unexpected_at_random(uint32_t spread)
{
	static struct unexpected_case c;

	memset(&c, 0xa5, sizeof(c));
	c.spread = spread;
	c.model.count = 0;
	for (int i = 0; i < ENTRIES; i++)
		c.messages[i].listed = false;
	adma_unexpected_init(&c.queue, seed);
	for (uint32_t s = 0; s < SOURCES; s++)
		adma_unexpected_source_init(&c.sources[s], s);
	for (int step = 0; step < STEPS; step++) {
		if (!below(64))
			lose_a_source(&c);
		else if (below(2))
			arrive_or_leave(&c);
		else
			find_unexpected(&c);
	}
	unexpected_is_as_modelled(&c);
	adma_unexpected_free(&c.queue);
}

/* ---- many ---- */

struct many {
	struct adma_posted posted;
	struct adma_unexpected unexpected;
	struct adma_unexpected_source source;
	struct adma_posted_entry receives[MANY];
	struct adma_unexpected_entry messages[MANY];
};

static struct many many;

static void many_open(void)
{
	adma_posted_init(&many.posted, seed);
	adma_unexpected_init(&many.unexpected, seed);
	adma_unexpected_source_init(&many.source, 7);
}

static void many_close(void)
{
	adma_posted_free(&many.posted);
	adma_unexpected_free(&many.unexpected);
}

static uint32_t longest_chain(const struct adma_keys *keys)
{
	uint32_t longest = 0;

	for (size_t i = 0; i < (size_t)1 << keys->bits; i++) {
		uint32_t length = 0;

		for (const struct adma_key *at = keys->chains[i]; at; at = at->next)
			length++;
		longest = length > longest ? length : longest;
	}
	return longest;
}

/* Tags that step by 1 << shift are spread over the chains; and each is found and removed. */
static void many_keys(int shift)
{
	many_open();
	for (uint64_t i = 0; i < MANY; i++) {
		adma_posted_add(&many.posted, &many.receives[i], 7, i << shift, ADMA_WHOLE_TAG);
		adma_unexpected_add(&many.unexpected, &many.messages[i], &many.source, i << shift);
	}
	REQUIRE(many.posted.exact.count == MANY && (uint64_t)1 << many.posted.exact.bits >= MANY);
	REQUIRE(longest_chain(&many.posted.exact) < 64 && longest_chain(&many.unexpected.keys) < 64);
	for (uint64_t i = MANY; i-- > 0;) {
		REQUIRE(adma_posted_find(&many.posted, 7, i << shift) == &many.receives[i]);
		REQUIRE(adma_unexpected_find(&many.unexpected, &many.source, i << shift, ADMA_WHOLE_TAG) ==
			&many.messages[i]);
		adma_posted_remove(&many.posted, &many.receives[i]);
		adma_unexpected_remove(&many.unexpected, &many.messages[i]);
	}
	REQUIRE(!many.posted.count && !many.posted.exact.count && !many.unexpected.keys.count);
	many_close();
}

/* Those of one key leave in the order in which they came, and the table does not grow for them. */
static void many_of_one_key(void)
{
	many_open();
	for (uint64_t i = 0; i < MANY; i++)
		adma_posted_add(&many.posted, &many.receives[i], 7, 1, ADMA_WHOLE_TAG);
	REQUIRE(many.posted.exact.bits == ADMA_KEYS_FIRST_BITS);
	for (uint64_t i = 0; i < MANY; i++) {
		REQUIRE(adma_posted_find(&many.posted, 7, 1) == &many.receives[i]);
		adma_posted_remove(&many.posted, &many.receives[i]);
	}
	REQUIRE(!adma_posted_find(&many.posted, 7, 1));
	many_close();
}

/* ---- time, which is printed only ---- */

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* A message of one tag arrives, is found and leaves, behind so many of other tags. */
static double time_behind(uint32_t others)
{
	enum { ROUNDS = 200000 };
	struct adma_unexpected_entry *last = &many.messages[others];
	double began, took;

	many_open();
	for (uint32_t i = 0; i < others; i++)
		adma_unexpected_add(&many.unexpected, &many.messages[i], &many.source, i);
	began = now_ns();
	for (int i = 0; i < ROUNDS; i++) {
		adma_unexpected_add(&many.unexpected, last, &many.source, others);
		REQUIRE(adma_unexpected_find(&many.unexpected, &many.source, others, ADMA_WHOLE_TAG) == last);
		adma_unexpected_remove(&many.unexpected, last);
	}
	took = now_ns() - began;
	many_close();
	return took / ROUNDS;
}

/* A window of 64 exact receives with one tag: each is posted, found and removed. */
static double time_window(void)
{
	enum { ROUNDS = 4000, WINDOW = 64 };
	double began, took;

	many_open();
	began = now_ns();
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < WINDOW; i++)
			adma_posted_add(&many.posted, &many.receives[i], 0, 0, ADMA_WHOLE_TAG);
		for (int i = 0; i < WINDOW; i++)
			adma_posted_remove(&many.posted, adma_posted_find(&many.posted, 0, 0));
	}
	took = now_ns() - began;
	many_close();
	return took / ROUNDS / WINDOW;
}

int main(void)
{
	for (int i = 1; i <= SEEDS; i++) {
		uint32_t spread = i % 3 ? 3 : 1000;

		seed = (unsigned long long)i * 0x9e3779b97f4a7c15ull;
		refuse_memory = i % 2;
		posted_at_random(spread);
		unexpected_at_random(spread);
	}
	refuse_memory = false;
	REQUIRE(refused > SEEDS);
	for (int shift = 0; shift < 48; shift += 8)
		many_keys(shift);
	many_of_one_key();
	printf("match: found as in lists walked in order, %d times; find behind 0, 100, 10000 other tags: "
	       "%.0f, %.0f, %.0f ns; a receive in a window of 64: %.0f ns\n",
	       SEEDS, time_behind(0), time_behind(100), time_behind(10000), time_window());
	return 0;
}
