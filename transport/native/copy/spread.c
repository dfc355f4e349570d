/* SPDX-License-Identifier: BSD-3-Clause */
/* spread.c - see spread.h. */
#include "copy/spread.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "copy/plan.h"

/* The sizes of parts, and the numbers of workers. A way is one of each. */
enum { SPREAD_USUAL = 0, SPREAD_SHARE = 1, SPREAD_SIZES = 2 };
enum { SPREAD_EVERY = 0, SPREAD_ONE = 1, SPREAD_BETWEEN = 2, SPREAD_NUMBERS = 3 };

enum { SPREAD_WAYS = SPREAD_SIZES * SPREAD_NUMBERS };
_Static_assert((int)SPREAD_WAYS <= (int)ADMA_WAYS, "each way has a number");

/* No smaller parts are tried: most of their time would be claims. It only limits what is tried. */
#define SPREAD_LEAST (16ull << 10)
#define SPREAD_MIB ((float)(1 << 20))

/* A way for so many bytes. */
struct spread_way {
	uint64_t part_bytes; /* 0: there is no such size of parts */
	uint32_t queues;
};

/* ---- ways ---- */

/* The largest power of two that is not larger. */
static uint64_t spread_power(uint64_t n)
{
	return n ? 1ull << (63 - __builtin_clzll(n)) : 0;
}

/* The second-level cache. The fallback is what many processors have: it only decides which size is tried. */
static uint64_t spread_cache(void)
{
	long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);

	return bytes > 0 ? (uint64_t)bytes : 1 << 20;
}

/* Begin anew: the numbers of the ways mean something else with other workers. */
static void spread_begin(struct adma_spreads *s, uint32_t workers)
{
	if (s->workers == workers)
		return;
	memset(s, 0, sizeof(*s));
	s->workers = workers;
	s->largest = spread_power(spread_cache() / 2);
}

static uint32_t spread_queues(uint32_t workers, uint32_t way)
{
	uint32_t which = way / SPREAD_SIZES;

	if (which == SPREAD_EVERY)
		return workers;
	/* Halfway between, as factors go: the square root, rounded down to a power of two. */
	return which == SPREAD_ONE ? 1 : 1u << (31 - (uint32_t)__builtin_clz(workers)) / 2;
}

static uint64_t spread_part_bytes(const struct adma_spreads *s, uint64_t n, uint32_t size, uint32_t copiers)
{
	uint64_t share = spread_power(n / copiers), part = share < s->largest ? share : s->largest;

	if (size == SPREAD_USUAL)
		return ADMA_PART_BYTES;
	if (part < SPREAD_LEAST || (copiers == 1 && part < ADMA_PART_BYTES))
		return 0;
	return part;
}

static struct spread_way spread_way(const struct adma_spreads *s, uint64_t n, bool waits, uint32_t way)
{
	uint32_t queues = spread_queues(s->workers, way);

	return (struct spread_way){
		.part_bytes = spread_part_bytes(s, n, way % SPREAD_SIZES, queues + waits),
		.queues = queues,
	};
}

/* Into how many parts a copy of n bytes is cut. The size of a part is a power of two. */
static uint64_t spread_parts(const struct spread_way *way, uint64_t n)
{
	return ((n - 1) >> __builtin_ctzll(way->part_bytes)) + 1;
}

/* Do both come to the same for so many bytes? */
static bool spread_is_alike(const struct spread_way *a, const struct spread_way *b, uint64_t n)
{
	uint64_t parts = spread_parts(a, n);

	if (parts != spread_parts(b, n))
		return false;
	return a->queues == b->queues || (a->queues >= parts && b->queues >= parts);
}

/* The ways for so many bytes, each of which comes to something else. */
static uint32_t spread_mask(const struct adma_spreads *s, uint64_t n, bool waits, struct spread_way ways[ADMA_WAYS])
{
	uint32_t count = waits && s->workers > 1 ? SPREAD_WAYS : SPREAD_SIZES, mask = 0;

	for (uint32_t way = 0; way < count; way++) {
		bool distinct;

		ways[way] = spread_way(s, n, waits, way);
		distinct = ways[way].part_bytes;
		for (uint32_t lower = 0; lower < way && distinct; lower++)
			distinct = !(mask >> lower & 1) || !spread_is_alike(&ways[lower], &ways[way], n);
		mask |= (uint32_t)distinct << way;
	}
	return mask;
}

/* ---- copies ---- */

/* Others have parts of other kinds, or none that can be made at the same time. */
static bool spread_suits(const struct adma_plan *plan)
{
	return plan->bytes && plan->rows == 1 && !plan->in_order;
}

void adma_spread_plainly(struct adma_copy *copy)
{
	copy->queues = ADMA_SPREAD_ALL;
	copy->way = ADMA_NO_WAY;
	copy->waits = false;
}

void adma_spread_choose(struct adma_spreads *s, struct adma_copy *copy, uint32_t workers, bool callers_help)
{
	struct adma_plan *plan = &copy->plan;
	struct spread_way ways[ADMA_WAYS];
	struct adma_ways possible;

	adma_spread_plainly(copy);
	if (!workers || !spread_suits(plan))
		return;
	spread_begin(s, workers);
	copy->waits = callers_help && s->waits[adma_class_of(plan->bytes)];
	possible = (struct adma_ways){.mask = spread_mask(s, plan->bytes, copy->waits, ways), .built_in = 0};
	if (possible.mask == 1)
		return; /* there is nothing to choose from */
	copy->way = adma_estimates_choose(&s->of[copy->waits], plan->bytes, possible);
	copy->queues = ways[copy->way].queues;
	adma_plan_cut(plan, ways[copy->way].part_bytes);
}

void adma_spread_note(struct adma_spreads *s, const struct adma_copy *copy, bool undisturbed)
{
	bool waited = copy->helped == ADMA_HELPED_AT_ONCE;
	int64_t took = copy->times.copied - copy->times.posted;

	if (spread_suits(&copy->plan))
		s->waits[adma_class_of(copy->plan.bytes)] = waited;
	if (copy->way == ADMA_NO_WAY || !undisturbed || took <= 0)
		return;
	if (copy->helped == ADMA_HELPED_LATE || waited != copy->waits)
		return; /* a part of that time the caller did something else */
	adma_estimates_note(&s->of[copy->waits], copy->plan.bytes, copy->way, (uint64_t)took);
}

/* ---- what is told and stored ---- */

static uint64_t spread_class_bytes(uint32_t class)
{
	uint64_t power = 1ull << (ADMA_SIZE_CLASS_FIRST + class / 2);

	return power + class % 2 * power / 2;
}

/* What is known of one way; `ns_per_mib` is 0 if nothing is. */
static struct adma_spread spread_tell_way(const struct adma_spreads *s, uint32_t class, bool waits, uint32_t way)
{
	uint64_t n = spread_class_bytes(class);
	struct adma_way_known known = adma_estimates_known(&s->of[waits], n, way);
	struct spread_way spread = spread_way(s, n, waits, way);
	bool chosen;
	float cost = adma_estimates_tell(&s->of[waits], class, way, &chosen);

	if (known.samples)
		cost = (float)known.nanoseconds / (float)n;
	return (struct adma_spread){
		.size_class = class,
		.waits = waits,
		.queues = spread.queues,
		.size = way % SPREAD_SIZES,
		.chosen = chosen,
		.samples = known.samples,
		.part_bytes = spread.part_bytes,
		.ns_per_mib = (uint64_t)(cost * SPREAD_MIB),
	};
}

int adma_spread_tell(const struct adma_spreads *s, struct adma_spread *found, int room)
{
	int told = 0;

	for (uint32_t at = 0; s->workers && at < 2 * ADMA_SIZE_CLASSES; at++) {
		for (uint32_t way = 0; way < SPREAD_WAYS; way++) {
			struct adma_spread spread = spread_tell_way(s, at / 2, at % 2, way);

			if (!spread.ns_per_mib)
				continue;
			if (told < room)
				found[told] = spread;
			told++;
		}
	}
	return told;
}

int adma_spread_take_up(struct adma_spreads *s, uint32_t workers, const struct adma_spread *spread)
{
	uint32_t waits = !!spread->waits;

	if (spread->size_class >= ADMA_SIZE_CLASSES || !spread->ns_per_mib || !workers)
		return -EINVAL;
	spread_begin(s, workers);
	for (uint32_t way = 0; way < (waits ? SPREAD_WAYS : SPREAD_SIZES); way++)
		if (spread_queues(workers, way) == spread->queues && way % SPREAD_SIZES == spread->size) {
			adma_estimates_take_up(&s->of[waits], spread->size_class, way,
					       (float)spread->ns_per_mib / SPREAD_MIB, spread->chosen);
			return 0;
		}
	return -EINVAL;
}
