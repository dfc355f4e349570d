/* SPDX-License-Identifier: BSD-3-Clause */
/* eager_limit.c - see eager_limit.h. */
#include "worker/eager_limit.h"

#include <errno.h>

#include "base/clock.h"

#define EAGER_LIMIT_SAMPLED_FIRST 128 /* messages of a class, each of which is a sample */
#define EAGER_LIMIT_SAMPLED_EACH 8    /* later, one in so many is */
/* So long before our look the writer may have begun to copy. Clocks that differ do so by far more. */
#define EAGER_LIMIT_BEFORE_NS 1000000

/* A rendezvous is what there is without experience. */
static const struct adma_ways ways = {
	.mask = 1u << ADMA_EAGER_LIMIT_RENDEZVOUS | 1u << ADMA_EAGER_LIMIT_EAGER,
	.built_in = ADMA_EAGER_LIMIT_RENDEZVOUS,
};

/* Is it learnt for messages of n bytes whether they are eager? The answer never changes. */
static bool eager_limit_learns(const struct adma_endpoint *ep, uint64_t n)
{
	const struct adma_config *config = &ep->connection.config;

	return n > ADMA_EAGER_MAX && n <= ADMA_BUFFER_SIZE && config->learns && !config->forced && ep->ops->ring;
}

/* The class of so many bytes, which are more than ADMA_EAGER_MAX and up to ADMA_BUFFER_SIZE: from 0 on. */
static uint32_t eager_limit_class(uint64_t n)
{
	return adma_estimates_class(n) - adma_estimates_class(ADMA_EAGER_MAX);
}

static uint32_t eager_limit_bit(uint64_t n)
{
	return 1u << eager_limit_class(n);
}

static struct adma_table_key eager_limit_key_of(uint32_t uid)
{
	return (struct adma_table_key){.uid = uid, .kind = ADMA_EAGER_LIMIT_KIND};
}

static struct adma_table_key eager_limit_key(const struct adma_endpoint *ep)
{
	return eager_limit_key_of(ep->connection.config.uid);
}

/* ---- the writer ---- */

bool adma_eager_limit_asks(struct adma_endpoint *ep, uint64_t n)
{
	return eager_limit_learns(ep, n) && adma_ring_wants_buffered(&ep->send.ring, eager_limit_bit(n));
}

bool adma_eager_limit_asked(const struct adma_endpoint *ep, uint64_t n)
{
	return eager_limit_learns(ep, n) &&
	       atomic_load_explicit(&ep->send.ring.buffered, memory_order_relaxed) & eager_limit_bit(n);
}

/* ---- the reader ---- */

/* Tell the writer by what way the next message of this class is to come. */
static void eager_limit_tell_writer(struct adma_endpoint *ep, uint64_t n, uint32_t way)
{
	struct adma_eager_limit *limit = &ep->receive.eager_limit;
	uint32_t bit = eager_limit_bit(n), word = limit->told & ~bit;

	/* A sandbox may refuse this process the pages: what nobody can read is not asked for. */
	if (way == ADMA_EAGER_LIMIT_EAGER && adma_ring_reaches_buffers(&ep->receive.ring))
		word |= bit;
	limit->advised |= bit;
	if (word == limit->told)
		return;
	limit->told = word;
	/* Relaxed: the message that follows arrives, whichever value its writer sees. */
	atomic_store_explicit(&ep->connection.config.remote->buffered, word, memory_order_relaxed);
}

/* This message teaches nothing: the next one is no try, and goes by what is known, also what other channels have learnt. */
static void eager_limit_pass(struct adma_endpoint *ep, uint64_t n)
{
	struct adma_eager_limit *limit = &ep->receive.eager_limit;
	struct adma_table_key key = eager_limit_key(ep);
	uint32_t bit = eager_limit_bit(n), way = ADMA_EAGER_LIMIT_RENDEZVOUS;

	if (limit->advised & bit && !(limit->trying & bit))
		return;
	limit->trying &= ~bit;
	/* What is known of a class beside this one is not enough: the mechanisms of this one have to be tried first. */
	if (adma_tables_settled(key, n))
		way = adma_tables_choose(key, n, ways, false);
	eager_limit_tell_writer(ep, n, way);
}

static void eager_limit_note(struct adma_endpoint *ep, uint64_t n, uint32_t way, int64_t took)
{
	struct adma_eager_limit *limit = &ep->receive.eager_limit;
	struct adma_table_key key = eager_limit_key(ep);
	uint32_t bit = eager_limit_bit(n), next;

	/* Before the first choice there is no table, and a message that nobody chose a way for is no sample of it. */
	if (limit->advised & bit && took > 0)
		adma_tables_note(key, n, way, (uint64_t)took);
	next = adma_tables_choose(key, n, ways, true);
	if (next == adma_tables_choose(key, n, ways, false))
		limit->trying &= ~bit;
	else
		limit->trying |= bit;
	eager_limit_tell_writer(ep, n, next);
}

/* Is it the turn of this message to be a sample? */
static bool eager_limit_is_turn(struct adma_eager_limit *limit, uint64_t n)
{
	uint32_t *seen = &limit->seen[eager_limit_class(n)];

	(*seen)++;
	return *seen <= EAGER_LIMIT_SAMPLED_FIRST || *seen % EAGER_LIMIT_SAMPLED_EACH == 0 ||
	       limit->trying & eager_limit_bit(n);
}

/* Since when does this message count, by what its descriptor says? 0: it is no sample. Not later than now. */
static int64_t eager_limit_since(const struct adma_endpoint *ep, int64_t posted_at, int64_t now)
{
	int64_t watched = ep->worker->watched_since;

	return watched && posted_at <= now && posted_at > watched - EAGER_LIMIT_BEFORE_NS ? posted_at : 0;
}

void adma_eager_limit_took(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	int64_t now, since;

	if (!eager_limit_learns(ep, desc->length) || !eager_limit_is_turn(&ep->receive.eager_limit, desc->length))
		return;
	now = adma_now();
	since = eager_limit_since(ep, desc->u.buffer.posted_at, now);
	if (since)
		eager_limit_note(ep, desc->length, ADMA_EAGER_LIMIT_EAGER, now - since);
	else
		eager_limit_pass(ep, desc->length);
}

int64_t adma_eager_limit_matched(struct adma_endpoint *ep, const struct adma_desc *desc)
{
	int64_t since;

	if (!adma_kind_is_buffered(desc->kind) || !eager_limit_learns(ep, desc->length) ||
	    !eager_limit_is_turn(&ep->receive.eager_limit, desc->length))
		return 0;
	since = eager_limit_since(ep, desc->u.slot.posted_at, adma_now());
	if (!since)
		eager_limit_pass(ep, desc->length);
	return since;
}

void adma_eager_limit_came(struct adma_endpoint *ep, struct adma_table_key key, uint64_t n, int64_t since)
{
	if (!since)
		return;
	if (adma_tables_settled(key, n)) {
		eager_limit_note(ep, n, ADMA_EAGER_LIMIT_RENDEZVOUS, adma_now() - since);
		return;
	}
	ep->receive.eager_limit.seen[eager_limit_class(n)] = 0; /* learning has not begun */
	eager_limit_pass(ep, n);
}

/* ---- questions ---- */

uint32_t adma_eager_limit_tell(const struct adma_endpoint *ep, uint64_t n, struct adma_learnt_way *found)
{
	struct adma_way_known known[ADMA_WAYS];
	uint32_t best;

	if (!eager_limit_learns(ep, n))
		return 0;
	best = adma_tables_known(eager_limit_key(ep), n, ways, known);
	for (uint32_t way = 0; way < ADMA_EAGER_LIMIT_WAYS; way++)
		found[way] = (struct adma_learnt_way){
			.carry = way == ADMA_EAGER_LIMIT_EAGER ? ADMA_BUFFERED : ADMA_SLOT,
			.chosen = way == best,
			.samples = known[way].samples,
			.nanoseconds = known[way].nanoseconds,
		};
	return ADMA_EAGER_LIMIT_WAYS;
}

/* ---- what is stored ---- */

int adma_eager_limit_tell_costs(uint32_t uid, struct adma_learnt_cost *found, int room)
{
	uint32_t first = adma_estimates_class(ADMA_EAGER_MAX);
	int told = 0;

	for (uint32_t class = first; class < first + ADMA_EAGER_LIMIT_CLASSES; class++) {
		bool incumbents[ADMA_WAYS];
		float costs[ADMA_WAYS];

		adma_tables_tell(eager_limit_key_of(uid), class, costs, incumbents);
		for (uint32_t way = 0; way < ADMA_EAGER_LIMIT_WAYS; way++) {
			if (costs[way] > 0 && told < room)
				found[told] = (struct adma_learnt_cost){
					.size_class = class,
					.mechanism = ADMA_MECH_NONE,
					.choice = way,
					.chosen = incumbents[way],
					.ns_per_mib = (uint64_t)(costs[way] * ADMA_TABLE_MIB),
				};
			told += costs[way] > 0;
		}
	}
	return told;
}

int adma_eager_limit_take_up(uint32_t uid, const struct adma_learnt_cost *cost)
{
	uint32_t first = adma_estimates_class(ADMA_EAGER_MAX);

	if (cost->size_class < first || cost->size_class >= first + ADMA_EAGER_LIMIT_CLASSES || !cost->ns_per_mib ||
	    cost->choice >= ADMA_EAGER_LIMIT_WAYS)
		return -EINVAL;
	return adma_tables_take_up(eager_limit_key_of(uid), cost->size_class, cost->choice,
				   (float)cost->ns_per_mib / ADMA_TABLE_MIB, cost->chosen);
}
