/* SPDX-License-Identifier: BSD-3-Clause */
/* learning.c - see learning.h. */
#include "worker/learning.h"

#include <errno.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "learn/tables.h"
#include "mech/table.h"

/* Shorter messages are the exception, and all of them would be one size class. */
#define LEARNING_FROM (1ull << ADMA_SIZE_CLASS_FIRST)

/* The kinds of transfers that are not compared with each other: a mask. */
#define LEARNING_BOTH_WAIT 1u
#define LEARNING_ALIASED 2u /* a detour is possible */

_Static_assert((LEARNING_BOTH_WAIT | LEARNING_ALIASED) < ADMA_TABLE_KINDS, "each kind has its numbers");

/* A way, as the tables number them: `choice` 0 is the size of chunk(), and others are those of other_chunk(). */
struct learning_way {
	const struct adma_mechanism *mechanism;
	uint32_t choice;
	bool detour;
};

/* Mechanisms that are built in come first, so their ways have the same numbers in all processes. */
static uint32_t learning_enumerate(struct learning_way ways[ADMA_WAYS])
{
	uint32_t n = 0;

	for (uint32_t id = 1; id < ADMA_MECH_MAX; id++) {
		const struct adma_mechanism *mechanism = adma_mechanism(id);
		uint32_t choices, routes;

		if (!mechanism || !mechanism->competes)
			continue;
		choices = mechanism->other_chunk ? 1 + ADMA_OTHER_CHUNKS : 1;
		routes = mechanism->detours ? 2 : 1;
		for (uint32_t i = 0; i < choices * routes && n < ADMA_WAYS; i++)
			ways[n++] = (struct learning_way){mechanism, i % choices, i / choices};
	}
	return n;
}

static uint64_t learning_chunk(const struct learning_way *way, uint64_t length)
{
	return way->choice ? way->mechanism->other_chunk(length, way->choice - 1) : way->mechanism->chunk(length);
}

/* Is there such a size, and does the same transfer not come of a lower choice? */
static bool learning_is_distinct(const struct learning_way *way, uint64_t length)
{
	uint64_t chunk = learning_chunk(way, length);
	struct learning_way lower = *way;

	if (!chunk)
		return false;
	while (lower.choice--) {
		uint64_t other = learning_chunk(&lower, length);

		if (chunk == other || (chunk >= length && other >= length))
			return false;
	}
	return true;
}

/* The ways by these mechanisms. */
static uint32_t learning_mask(const struct learning_way *ways, uint32_t n, uint64_t length, uint32_t mechanisms,
			      bool aliased)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < n; i++)
		if (mechanisms & ADMA_MECH_BIT(ways[i].mechanism->id) && (aliased || !ways[i].detour) &&
		    learning_is_distinct(&ways[i], length))
			mask |= 1u << i;
	return mask;
}

/* The way of this mechanism without experience; ADMA_NO_WAY: it does not compete. */
static uint32_t learning_built_in(const struct learning_way *ways, uint32_t n, uint32_t mechanism, bool detour)
{
	for (uint32_t i = 0; i < n; i++)
		if (ways[i].mechanism->id == mechanism && !ways[i].choice &&
		    (ways[i].detour == detour || !ways[i].mechanism->detours))
			return i;
	return ADMA_NO_WAY;
}

/* ---- choices ---- */

static enum adma_detour learning_detour(const struct adma_span *span, const struct adma_mechanism *mechanism)
{
	return mechanism && mechanism->detours ? mechanism->detours(span) : ADMA_DETOUR_NONE;
}

struct adma_choice adma_choice_built_in(const struct adma_transfer *t, uint32_t id)
{
	const struct adma_mechanism *mechanism = adma_mechanism(id);

	return (struct adma_choice){
		.mechanism = id,
		.chunk = mechanism && mechanism->chunk ? mechanism->chunk(t->span.length) : 0,
		.detour = learning_detour(&t->span, mechanism) == ADMA_DETOUR_USUAL,
	};
}

bool adma_choice_is_possible(const struct adma_mechanism *mechanism, uint64_t length, uint64_t chunk, uint32_t manner)
{
	if (manner & ~(uint32_t)ADMA_MANNER_DETOUR || (manner && !mechanism->detours))
		return false;
	if (chunk == mechanism->chunk(length))
		return true;
	for (uint32_t i = 0; mechanism->other_chunk && i < ADMA_OTHER_CHUNKS; i++)
		if (chunk && chunk == mechanism->other_chunk(length, i))
			return true;
	return false;
}

static bool learning_is_on(const struct adma_endpoint *ep, uint64_t length)
{
	return ep->connection.config.learns && !ep->connection.config.forced && length >= LEARNING_FROM;
}

/* May a buffer of this pair be copied by a detour, by any mechanism? That is asked of the pair, not of the choice. */
static bool learning_is_aliased(const struct adma_span *span, uint32_t mask, bool *usual)
{
	const struct adma_mechanism *mechanism;
	bool aliased = false;

	*usual = false;
	while ((mechanism = adma_mechanism_next(&mask))) {
		enum adma_detour detour = learning_detour(span, mechanism);

		aliased |= detour != ADMA_DETOUR_NONE;
		*usual |= detour == ADMA_DETOUR_USUAL;
	}
	return aliased;
}

static struct adma_table_key learning_key(const struct adma_endpoint *ep, bool both_wait, bool aliased)
{
	return (struct adma_table_key){
		.uid = ep->connection.config.uid,
		.kind = (both_wait ? LEARNING_BOTH_WAIT : 0) | (aliased ? LEARNING_ALIASED : 0),
	};
}

/* One endpoint computes. Was it learnt that one copy is the quicker one even if it does not? */
static uint32_t learning_single_copy(struct adma_table_key key, uint64_t length, const struct learning_way *ways,
				     struct adma_ways possible)
{
	uint32_t way;

	key.kind |= LEARNING_BOTH_WAIT;
	way = adma_tables_choose(key, length, possible, false);
	return ways[way].mechanism->flags & ADMA_EITHER_ENDPOINT ? way : possible.built_in;
}

/* What there is to choose from. False: nothing, because the built-in mechanism does not compete. */
static bool learning_options(struct adma_table_key key, uint64_t length, const struct learning_way *ways, uint32_t n,
			     uint32_t mask, uint32_t built_in, bool usual, struct adma_ways *options)
{
	bool aliased = key.kind & LEARNING_ALIASED;

	options->built_in = learning_built_in(ways, n, built_in, usual);
	if (options->built_in == ADMA_NO_WAY)
		return false;
	options->mask = learning_mask(ways, n, length, mask, aliased) | 1u << options->built_in;
	if (key.kind & LEARNING_BOTH_WAIT)
		return true;
	options->built_in = learning_single_copy(key, length, ways, *options);
	mask = ADMA_MECH_BIT(ways[options->built_in].mechanism->id);
	options->mask &= learning_mask(ways, n, length, mask, aliased) | 1u << options->built_in;
	return true;
}

struct adma_choice adma_learning_choose(struct adma_endpoint *ep, struct adma_transfer *t, uint32_t built_in,
					uint32_t mask)
{
	struct learning_way ways[ADMA_WAYS];
	struct adma_ways options;
	bool usual, aliased, both_wait, alone = !adma_has_transfers(ep);
	int64_t now;
	uint32_t n;

	if (!learning_is_on(ep, t->span.length) || built_in == ADMA_MECH_NONE)
		return adma_choice_built_in(t, built_in);
	now = adma_now();
	n = learning_enumerate(ways);
	aliased = learning_is_aliased(&t->span, mask, &usual);
	both_wait = ep->control.waits && adma_peer_waits(ep) && !adma_cpu_short_with(ep->connection.config.pid, now);
	t->learning.key = learning_key(ep, both_wait, aliased);
	if (!learning_options(t->learning.key, t->span.length, ways, n, mask, built_in, usual, &options))
		return adma_choice_built_in(t, built_in);
	t->learning.counts = alone && ep->control.waits;
	t->learning.way = adma_tables_choose(t->learning.key, t->span.length, options, t->learning.counts);
	t->learning.since = now;
	t->learning.begun = ep->begun + 1;
	t->learning.naps = ep->naps;
	t->learning.wakes = atomic_load_explicit(&ep->wakes_sent, memory_order_relaxed);
	return (struct adma_choice){
		.mechanism = ways[t->learning.way].mechanism->id,
		.chunk = learning_chunk(&ways[t->learning.way], t->span.length),
		.detour = ways[t->learning.way].detour,
	};
}

void adma_learning_note(struct adma_endpoint *ep, const struct adma_transfer *t, int error)
{
	uint64_t wakes = atomic_load_explicit(&ep->wakes_sent, memory_order_relaxed);
	int64_t took;

	if (!t->learning.counts || error || t->span.guarded || !ep->control.waits)
		return;
	if (ep->begun != t->learning.begun || ep->naps != t->learning.naps || wakes != t->learning.wakes)
		return;
	took = adma_now() - t->learning.since;
	if (took > 0)
		adma_tables_note(t->learning.key, t->span.length, t->learning.way, (uint64_t)took);
}

/* ---- questions ---- */

uint32_t adma_learning_mechanism(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
				 bool both_wait)
{
	struct adma_table_key key = learning_key(ep, both_wait, false);
	struct learning_way ways[ADMA_WAYS];
	struct adma_ways options;
	uint32_t count;

	if (!learning_is_on(ep, n) || built_in == ADMA_MECH_NONE)
		return built_in;
	count = learning_enumerate(ways);
	if (!learning_options(key, n, ways, count, mask, built_in, false, &options))
		return built_in;
	return ways[adma_tables_choose(key, n, options, false)].mechanism->id;
}

static uint32_t learning_tell_kind(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
				   bool aliased, struct adma_learnt *found)
{
	struct adma_table_key key = learning_key(ep, true, aliased);
	struct adma_way_known known[ADMA_WAYS];
	struct learning_way ways[ADMA_WAYS];
	struct adma_ways options;
	uint32_t count = learning_enumerate(ways), best, told = 0;

	if (!learning_options(key, n, ways, count, mask, built_in, false, &options))
		return 0;
	best = adma_tables_known(key, n, options, known);
	for (uint32_t i = 0; i < count; i++) {
		if (!(options.mask >> i & 1) || (aliased && !known[i].samples))
			continue;
		found[told++] = (struct adma_learnt){
			.mechanism = ways[i].mechanism->id,
			.chunk = learning_chunk(&ways[i], n),
			.aliased = aliased,
			.detour = ways[i].detour,
			.chosen = i == best,
			.samples = known[i].samples,
			.nanoseconds = known[i].nanoseconds,
		};
	}
	return told;
}

uint32_t adma_learning_tell(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
			    struct adma_learnt *found)
{
	uint32_t told;

	if (!learning_is_on(ep, n) || built_in == ADMA_MECH_NONE)
		return 0;
	told = learning_tell_kind(ep, n, mask, built_in, false, found);
	return told + learning_tell_kind(ep, n, mask, built_in, true, found + told);
}

/* ---- what is stored ---- */

#define LEARNING_MIB ((float)(1 << 20))

static struct adma_table_key learning_stored(uint32_t uid, bool aliased)
{
	return (struct adma_table_key){.uid = uid, .kind = LEARNING_BOTH_WAIT | (aliased ? LEARNING_ALIASED : 0)};
}

int adma_learning_tell_costs(uint32_t uid, struct adma_learnt_cost *found, int room)
{
	struct learning_way ways[ADMA_WAYS];
	uint32_t count = learning_enumerate(ways);
	int told = 0;

	for (uint32_t at = 0; at < 2 * ADMA_SIZE_CLASSES; at++) {
		bool incumbents[ADMA_WAYS], aliased = at % 2;
		float costs[ADMA_WAYS];

		adma_tables_tell(learning_stored(uid, aliased), at / 2, costs, incumbents);
		for (uint32_t way = 0; way < count; way++) {
			if (costs[way] > 0 && told < room)
				found[told] = (struct adma_learnt_cost){
					.size_class = at / 2,
					.mechanism = ways[way].mechanism->id,
					.choice = ways[way].choice,
					.aliased = aliased,
					.detour = ways[way].detour,
					.chosen = incumbents[way],
					.ns_per_mib = (uint64_t)(costs[way] * LEARNING_MIB),
				};
			told += costs[way] > 0;
		}
	}
	return told;
}

int adma_learning_take_up(uint32_t uid, const struct adma_learnt_cost *cost)
{
	struct learning_way ways[ADMA_WAYS];
	uint32_t count = learning_enumerate(ways);

	if (cost->size_class >= ADMA_SIZE_CLASSES || !cost->ns_per_mib)
		return -EINVAL;
	for (uint32_t way = 0; way < count; way++)
		if (ways[way].mechanism->id == cost->mechanism && ways[way].choice == cost->choice &&
		    ways[way].detour == !!cost->detour)
			return adma_tables_take_up(learning_stored(uid, cost->aliased), cost->size_class, way,
						   (float)cost->ns_per_mib / LEARNING_MIB, cost->chosen);
	return -EINVAL;
}
