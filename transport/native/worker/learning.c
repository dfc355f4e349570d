/* SPDX-License-Identifier: BSD-3-Clause */
/* learning.c - see learning.h. */
#include "worker/learning.h"

#include <errno.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "learn/tables.h"
#include "mech/table.h"
#include "worker/eager_limit.h"

/* Shorter messages are the exception, and all of them would be one size class. */
#define LEARNING_FROM (1ull << ADMA_SIZE_CLASS_FIRST)

/* The kinds of transfers that are not compared with each other: a mask. */
#define LEARNING_BOTH_WAIT 1u
#define LEARNING_ALIASED 2u /* a detour is possible */
#define LEARNING_WINDOW 4u  /* it is carried beside others: see window.h */

_Static_assert((LEARNING_BOTH_WAIT | LEARNING_ALIASED | LEARNING_WINDOW) < ADMA_EAGER_LIMIT_KIND,
	       "each kind has its numbers");

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

static struct adma_table_key learning_key(uint32_t uid, bool both_wait, bool aliased, bool window)
{
	return (struct adma_table_key){
		.uid = uid,
		.kind = (both_wait ? LEARNING_BOTH_WAIT : 0) | (aliased ? LEARNING_ALIASED : 0) |
			(window ? LEARNING_WINDOW : 0),
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

/* What there is to choose from for a transfer that is alone. False: nothing, because the built-in mechanism does not compete. */
static bool learning_options_alone(struct adma_table_key key, uint64_t length, const struct learning_way *ways,
				   uint32_t n, uint32_t mask, uint32_t built_in, bool usual, struct adma_ways *options)
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

/* What there is to choose from. What is best alone is where learning begins for transfers beside others. */
static bool learning_options(struct adma_table_key key, uint64_t length, const struct learning_way *ways, uint32_t n,
			     uint32_t mask, uint32_t built_in, bool usual, struct adma_ways *options)
{
	struct adma_table_key alone = {.uid = key.uid, .kind = key.kind & ~LEARNING_WINDOW};

	if (!learning_options_alone(alone, length, ways, n, mask, built_in, usual, options))
		return false;
	if (key.kind & LEARNING_WINDOW)
		options->built_in = adma_tables_choose(alone, length, *options, false);
	return true;
}

/* The way of a transfer that is alone. */
static uint32_t learning_way_alone(const struct adma_endpoint *ep, struct adma_transfer *t, struct adma_ways options)
{
	bool alone = !adma_has_transfers(ep);

	t->learning.teaches = alone && ep->control.waits ? ADMA_TEACHES_ALONE : ADMA_TEACHES_NOTHING;
	t->learning.begun = ep->begun + 1;
	t->learning.naps = ep->naps;
	t->learning.wakes = atomic_load_explicit(&ep->wakes_sent, memory_order_relaxed);
	return adma_tables_choose(t->learning.key, t->span.length, options, t->learning.teaches);
}

/* That of one beside others. It is the way of the run, or a run begins with it. */
static uint32_t learning_way_beside(const struct adma_endpoint *ep, struct adma_transfer *t, struct adma_ways options)
{
	const struct adma_window *window = &ep->window;
	uint32_t way = window->run.choice.way;
	bool begins = adma_window_is_free(window);

	if (adma_window_takes(window, t->learning.key, t->span.length) && options.mask >> way & 1) {
		t->learning.teaches = ADMA_TEACHES_IN_RUN;
		return way;
	}
	t->learning.teaches = begins ? ADMA_TEACHES_IN_RUN : ADMA_TEACHES_NOTHING;
	return adma_tables_choose(t->learning.key, t->span.length, options, begins);
}

struct adma_choice adma_learning_choose(struct adma_endpoint *ep, struct adma_transfer *t, uint32_t built_in,
					uint32_t mask)
{
	struct learning_way ways[ADMA_WAYS];
	struct adma_ways options;
	bool usual, aliased, both_wait, beside = adma_window_expects(&ep->window, !adma_has_transfers(ep));
	int64_t now;
	uint32_t n;

	if (!learning_is_on(ep, t->span.length) || built_in == ADMA_MECH_NONE)
		return adma_choice_built_in(t, built_in);
	now = adma_now();
	n = learning_enumerate(ways);
	aliased = learning_is_aliased(&t->span, mask, &usual);
	both_wait = ep->control.waits && adma_peer_waits(ep);
	if (beside)
		both_wait = adma_window_will_wait(&ep->window, both_wait);
	both_wait = both_wait && !adma_cpu_short_with(ep->connection.config.pid, now);
	t->learning.key = learning_key(ep->connection.config.uid, both_wait, aliased, beside);
	if (!learning_options(t->learning.key, t->span.length, ways, n, mask, built_in, usual, &options))
		return adma_choice_built_in(t, built_in);
	t->learning.way = beside ? learning_way_beside(ep, t, options) : learning_way_alone(ep, t, options);
	t->learning.since = now;
	return (struct adma_choice){
		.mechanism = ways[t->learning.way].mechanism->id,
		.chunk = learning_chunk(&ways[t->learning.way], t->span.length),
		.detour = ways[t->learning.way].detour,
	};
}

/* ---- samples ---- */

static struct adma_run_look learning_look(const struct adma_endpoint *ep)
{
	return (struct adma_run_look){
		.now = adma_now(),
		.begun = ep->begun,
		.waits = ep->control.waits,
		.both_wait = ep->control.waits && adma_peer_waits(ep),
	};
}

void adma_learning_begin(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	const struct adma_transfer_learning *learning = &t->learning;
	struct adma_run_choice choice = {.key = learning->key, .way = learning->way, .bytes = t->span.length};
	bool alone = !adma_has_transfers(ep);

	adma_window_note(&ep->window, alone);
	if (learning->teaches != ADMA_TEACHES_IN_RUN) {
		adma_window_pass(&ep->window, learning->key, t->span.length);
		return;
	}
	choice.both_wait = learning->key.kind & LEARNING_BOTH_WAIT;
	adma_window_join(&ep->window, &choice, ep->begun);
	if (alone)
		adma_window_begin(&ep->window, learning->since);
}

/* Is the oldest transfer that is left, if this one is over, one of the run? */
static bool learning_is_turn(const struct adma_endpoint *ep, const struct adma_transfer *over)
{
	struct adma_list *oldest = adma_list_first(&ep->transfers.all);

	if (oldest == &over->link)
		oldest = oldest->next;
	return oldest && oldest != &ep->transfers.all &&
	       adma_transfer_of(oldest)->learning.teaches == ADMA_TEACHES_IN_RUN;
}

static void learning_note_run(struct adma_endpoint *ep, const struct adma_transfer *t, bool failed)
{
	struct adma_run_look look = learning_look(ep);
	struct adma_window *window = &ep->window;
	uint64_t took;

	if (t->learning.teaches == ADMA_TEACHES_IN_RUN &&
	    adma_window_leave(window, t->span.length, failed, &look, &took))
		adma_tables_note(window->run.choice.key, window->run.choice.bytes, window->run.choice.way, took);
	if (adma_window_is_early(window) && learning_is_turn(ep, t))
		adma_window_begin(window, look.now);
}

static bool learning_note_alone(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	uint64_t wakes = atomic_load_explicit(&ep->wakes_sent, memory_order_relaxed);
	int64_t took;

	if (!ep->control.waits)
		return false;
	if (ep->begun != t->learning.begun || ep->naps != t->learning.naps || wakes != t->learning.wakes)
		return false;
	took = adma_now() - t->learning.since;
	if (took > 0)
		adma_tables_note(t->learning.key, t->span.length, t->learning.way, (uint64_t)took);
	return true;
}

bool adma_learning_note(struct adma_endpoint *ep, const struct adma_transfer *t, int error)
{
	bool failed = error || t->span.guarded, undisturbed = false;

	if (t->learning.teaches == ADMA_TEACHES_ALONE && !failed)
		undisturbed = learning_note_alone(ep, t);
	if (!adma_window_is_free(&ep->window))
		learning_note_run(ep, t, failed);
	return undisturbed;
}

/* ---- questions ---- */

/* Kinds of transfers between ends that both wait. */
static const uint32_t learning_kinds[] = {0, LEARNING_ALIASED, LEARNING_WINDOW, LEARNING_WINDOW | LEARNING_ALIASED};

#define LEARNING_KINDS (sizeof(learning_kinds) / sizeof(learning_kinds[0]))

_Static_assert(LEARNING_KINDS *ADMA_WAYS <= ADMA_LEARNING_TOLD_MAX, "there is room for all of them");

uint32_t adma_learning_mechanism(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
				 bool both_wait)
{
	struct adma_table_key key = learning_key(ep->connection.config.uid, both_wait, false, false);
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
				   uint32_t kind, struct adma_learnt_way *found)
{
	bool aliased = kind & LEARNING_ALIASED, window = kind & LEARNING_WINDOW;
	struct adma_table_key key = learning_key(ep->connection.config.uid, true, aliased, window);
	struct adma_way_known known[ADMA_WAYS];
	struct learning_way ways[ADMA_WAYS];
	struct adma_ways options;
	uint32_t count = learning_enumerate(ways), best, told = 0;

	if (!learning_options(key, n, ways, count, mask, built_in, false, &options))
		return 0;
	best = adma_tables_known(key, n, options, known);
	for (uint32_t i = 0; i < count; i++) {
		if (!(options.mask >> i & 1) || (kind && !known[i].samples))
			continue;
		found[told++] = (struct adma_learnt_way){
			.mechanism = ways[i].mechanism->id,
			.chunk = learning_chunk(&ways[i], n),
			.aliased = aliased,
			.detour = ways[i].detour,
			.window = window,
			.chosen = i == best,
			.samples = known[i].samples,
			.nanoseconds = known[i].nanoseconds,
		};
	}
	return told;
}

uint32_t adma_learning_tell(const struct adma_endpoint *ep, uint64_t n, uint32_t mask, uint32_t built_in,
			    struct adma_learnt_way *found)
{
	uint32_t told = 0;

	if (!learning_is_on(ep, n) || built_in == ADMA_MECH_NONE)
		return 0;
	for (size_t i = 0; i < LEARNING_KINDS; i++)
		told += learning_tell_kind(ep, n, mask, built_in, learning_kinds[i], found + told);
	return told;
}

/* ---- what is stored ---- */

int adma_learning_tell_costs(uint32_t uid, struct adma_learnt_cost *found, int room)
{
	struct learning_way ways[ADMA_WAYS];
	uint32_t count = learning_enumerate(ways);
	int told = 0;

	for (uint32_t at = 0; at < LEARNING_KINDS * ADMA_SIZE_CLASSES; at++) {
		uint32_t class = at / LEARNING_KINDS, kind = learning_kinds[at % LEARNING_KINDS];
		struct adma_table_key key = {.uid = uid, .kind = LEARNING_BOTH_WAIT | kind};
		bool incumbents[ADMA_WAYS];
		float costs[ADMA_WAYS];

		adma_tables_tell(key, class, costs, incumbents);
		for (uint32_t way = 0; way < count; way++) {
			if (costs[way] > 0 && told < room)
				found[told] = (struct adma_learnt_cost){
					.size_class = class,
					.mechanism = ways[way].mechanism->id,
					.choice = ways[way].choice,
					.aliased = !!(kind & LEARNING_ALIASED),
					.detour = ways[way].detour,
					.window = !!(kind & LEARNING_WINDOW),
					.chosen = incumbents[way],
					.ns_per_mib = (uint64_t)(costs[way] * ADMA_TABLE_MIB),
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
	struct adma_table_key key = learning_key(uid, true, cost->aliased, cost->window);

	if (cost->size_class >= ADMA_SIZE_CLASSES || !cost->ns_per_mib)
		return -EINVAL;
	for (uint32_t way = 0; way < count; way++)
		if (ways[way].mechanism->id == cost->mechanism && ways[way].choice == cost->choice &&
		    ways[way].detour == !!cost->detour)
			return adma_tables_take_up(key, cost->size_class, way, (float)cost->ns_per_mib / ADMA_TABLE_MIB,
						   cost->chosen);
	return -EINVAL;
}
