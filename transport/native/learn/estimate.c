/* SPDX-License-Identifier: BSD-3-Clause */
/* estimate.c - see estimate.h. */
#include "learn/estimate.h"

/* A way that nothing is known of is expected to be this much slower than the built-in one. */
#define ESTIMATE_PRIOR 1.25f
#define ESTIMATE_WORST 2.0f /* a way that is predicted to be slower than this is not tried */
#define ESTIMATE_SHARE 0.01f /* of the time goes into trying */
#define ESTIMATE_SAVED 2.0f  /* so many tries may be saved up: then a change does not begin with many of them */
/* The gain that a change needs: this much, and more if there are few samples of the other way. */
#define ESTIMATE_GAIN 0.02f
#define ESTIMATE_GAIN_FEW 0.09f
#define ESTIMATE_ENOUGH 3 /* samples without which no way takes the place of another one */
/* The incumbent's pace has changed, or another way's, if it differs by this factor. */
#define ESTIMATE_CHANGE 1.25f
#define ESTIMATE_SURPRISE 1.05f /* a try is quicker than the incumbent by this factor */
#define ESTIMATE_PACE_WEIGHT (1.0f / 64) /* of a new sample, so that a slow drift is no change */
#define ESTIMATE_CALM 128u /* transfers between two times of trying more */
#define ESTIMATE_OLD 4096u /* after so many transfers a way's samples count less */
#define ESTIMATE_REACH 4   /* size classes whose samples tell of another one */

uint32_t adma_estimates_class(uint64_t bytes)
{
	uint32_t power, class;

	if (bytes < 1ull << ADMA_SIZE_CLASS_FIRST)
		return 0;
	power = 63 - (uint32_t)__builtin_clzll(bytes);
	class = 2 * (power - ADMA_SIZE_CLASS_FIRST) + (bytes >> (power - 1) & 1);
	return class < ADMA_SIZE_CLASSES ? class : ADMA_SIZE_CLASSES - 1;
}

static bool estimate_allows(struct adma_ways ways, uint32_t way)
{
	return way < ADMA_WAYS && ways.mask >> way & 1;
}

/* xorshift: the numbers only keep the tries out of step with what the program does. */
static uint32_t estimate_draw(struct adma_estimates *e, uint32_t below)
{
	if (!e->random)
		e->random = 0x9e3779b97f4a7c15ull;
	e->random ^= e->random << 13;
	e->random ^= e->random >> 7;
	e->random ^= e->random << 17;
	return (uint32_t)(e->random >> 32) % below;
}

/* ---- samples ---- */

/* The lower one of the two in the middle, so that one of two samples may be a stall. */
static float estimate_median(const float *from, uint32_t n)
{
	float sorted[ADMA_WAY_SAMPLES];

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i;

		for (; at && sorted[at - 1] > from[i]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = from[i];
	}
	return sorted[(n - 1) / 2];
}

static void estimate_add(struct adma_way_samples *way, float cost, uint32_t now)
{
	way->last[way->next] = cost;
	way->next = (way->next + 1) % ADMA_WAY_SAMPLES;
	if (way->count < ADMA_WAY_SAMPLES)
		way->count++;
	way->total++;
	way->heard = now;
	way->cost = estimate_median(way->last, way->count);
}

/* What was known of this way counts as one sample from now on. */
static void estimate_doubt(struct adma_way_samples *way)
{
	if (way->count < 2)
		return;
	way->last[0] = way->cost;
	way->count = way->next = 1;
}

/* ---- prediction ---- */

/* What this neighbour makes us expect of a way, if the incumbent takes `cost` here; 0: nothing. */
static float estimate_from_neighbour(const struct adma_size_class *there, const struct adma_size_class *here,
				     uint32_t way, float cost)
{
	const struct adma_way_samples *same = &there->ways[way], *incumbent = &there->ways[here->incumbent];

	if (same->count < 2)
		return 0;
	return incumbent->count < 2 || cost <= 0 ? same->cost : cost * same->cost / incumbent->cost;
}

/* The same of the nearest classes that know it. */
static float estimate_from_neighbours(const struct adma_estimates *e, uint32_t class, uint32_t way, float cost)
{
	const struct adma_size_class *here = &e->classes[class];

	for (uint32_t away = 1; away <= ESTIMATE_REACH; away++) {
		float below = 0, above = 0;

		if (class >= away)
			below = estimate_from_neighbour(here - away, here, way, cost);
		if (class + away < ADMA_SIZE_CLASSES)
			above = estimate_from_neighbour(here + away, here, way, cost);
		if (below > 0 && above > 0)
			return (below + above) / 2;
		if (below > 0 || above > 0)
			return below + above;
	}
	return 0;
}

/* The harmonic mean, in which the smaller of both prevails. */
static float estimate_mean(float a, float b)
{
	return 2 / (1 / a + 1 / b);
}

/*
 * What a way of this class is predicted to take, if the incumbent takes `cost`. A single sample may be a stall. So it
 * counts as much as what is expected without it, and alone it rules no way out.
 */
static float estimate_predict(const struct adma_estimates *e, uint32_t class, uint32_t way, float cost)
{
	const struct adma_way_samples *own = &e->classes[class].ways[way];
	float expected, mean;

	if (own->count > 1)
		return own->cost;
	expected = estimate_from_neighbours(e, class, way, cost);
	if (expected > 0)
		return own->count ? estimate_mean(own->cost, expected) : expected;
	if (!own->count)
		return cost * ESTIMATE_PRIOR;
	mean = estimate_mean(own->cost, cost * ESTIMATE_PRIOR);
	return mean > cost * ESTIMATE_WORST ? cost * ESTIMATE_WORST : mean;
}

/* ---- the incumbent ---- */

/* Has this class finished its first tries, and is its incumbent possible now? */
static bool estimate_leads(const struct adma_size_class *there, struct adma_ways ways)
{
	return there->settled_at && estimate_allows(ways, there->incumbent);
}

/* The way with which a class begins: that of a class beside it which has finished its first tries, or the built-in one. */
static uint32_t estimate_first(const struct adma_estimates *e, uint32_t class, struct adma_ways ways)
{
	const struct adma_size_class *here = &e->classes[class];

	for (uint32_t away = 1; away <= 2; away++) {
		if (class >= away && estimate_leads(here - away, ways))
			return (here - away)->incumbent;
		if (class + away < ADMA_SIZE_CLASSES && estimate_leads(here + away, ways))
			return (here + away)->incumbent;
	}
	return ways.built_in;
}

/* The incumbent or, where it is not possible now, the quickest of those that are and are known. */
static uint32_t estimate_current(const struct adma_estimates *e, uint32_t class, struct adma_ways ways)
{
	const struct adma_size_class *here = &e->classes[class];
	uint32_t best = ways.built_in;

	if (!here->ways[here->incumbent].count)
		return estimate_first(e, class, ways);
	if (estimate_allows(ways, here->incumbent))
		return here->incumbent;
	for (uint32_t way = 0; way < ADMA_WAYS; way++) {
		const struct adma_way_samples *own = &here->ways[way];

		if (!estimate_allows(ways, way) || own->count < ESTIMATE_ENOUGH)
			continue;
		if (here->ways[best].count < ESTIMATE_ENOUGH || own->cost < here->ways[best].cost)
			best = way;
	}
	return best;
}

static void estimate_try_more(struct adma_size_class *here)
{
	here->trying = ADMA_TRIES * ADMA_TRY_EACH;
	here->turn = 0;
	here->pace = here->ways[here->incumbent].cost;
}

/* The machine is not what it was: all ways are tried again, and what was known of them counts little. */
static void estimate_begin_again(struct adma_size_class *here)
{
	if (here->trying || here->transfers - here->settled_at < ESTIMATE_CALM)
		return;
	for (uint32_t way = 0; way < ADMA_WAYS; way++)
		if (way != here->incumbent)
			estimate_doubt(&here->ways[way]);
	estimate_try_more(here);
}

/* Another way takes the place of the incumbent if it is clearly quicker. */
static void estimate_compete(struct adma_size_class *here)
{
	uint32_t best = here->incumbent;
	float before;

	if (here->ways[best].count < ESTIMATE_ENOUGH)
		return;
	for (uint32_t way = 0; way < ADMA_WAYS; way++) {
		const struct adma_way_samples *own = &here->ways[way];
		float gain = ESTIMATE_GAIN + ESTIMATE_GAIN_FEW / (own->count ? own->count : 1);

		if (own->count < ESTIMATE_ENOUGH || own->cost * (1 + gain) >= here->ways[here->incumbent].cost)
			continue;
		if (own->cost < here->ways[best].cost)
			best = way;
	}
	if (best == here->incumbent)
		return;
	before = here->ways[here->incumbent].cost;
	here->incumbent = best;
	here->pace = here->ways[best].cost;
	if (before > here->pace * ESTIMATE_CHANGE)
		estimate_begin_again(here); /* what made it so quick may have made others quicker, too */
}

/* ---- trying ---- */

/*
 * The way to try: one that is predicted to be quick, and was not heard of for long. So what is twice as slow is tried a
 * fourth as often.
 */
static uint32_t estimate_candidate(struct adma_estimates *e, uint32_t class, struct adma_ways ways, float *predicted)
{
	struct adma_size_class *here = &e->classes[class];
	float cost = here->ways[here->incumbent].cost, least = 0;
	uint32_t found = ADMA_NO_WAY;

	for (uint32_t way = 0; way < ADMA_WAYS; way++) {
		struct adma_way_samples *own = &here->ways[way];
		uint32_t age = here->transfers - own->heard;
		float expected, score;

		if (way == here->incumbent || !estimate_allows(ways, way))
			continue;
		if (age > ESTIMATE_OLD && own->count > 1) {
			estimate_doubt(own);
			own->heard = here->transfers;
		}
		expected = estimate_predict(e, class, way, cost);
		if (expected > ESTIMATE_WORST * cost)
			continue;
		score = expected * expected / (float)(age ? age : 1);
		if (found == ADMA_NO_WAY || score < least) {
			found = way;
			least = score;
			*predicted = expected;
		}
	}
	return found;
}

/* At first, and after a change: one of each ADMA_TRY_EACH transfers tries, and chance says which. */
static bool estimate_is_turn(struct adma_estimates *e, struct adma_size_class *here)
{
	uint32_t at = --here->trying % ADMA_TRY_EACH;

	if (at == ADMA_TRY_EACH - 1)
		here->turn = estimate_draw(e, ADMA_TRY_EACH);
	if (!here->trying) {
		here->settled_at = here->transfers;
		here->pace = here->ways[here->incumbent].cost;
	}
	return at == here->turn;
}

/* Try this way if the allowance is `least` or more. It is spent also if no sample comes of the try. */
static uint32_t estimate_spend(struct adma_size_class *here, uint32_t way, float predicted, float least)
{
	if (here->allowance < least)
		return ADMA_NO_WAY;
	here->allowance -= predicted;
	here->spent = predicted;
	return way;
}

/* Later: what may be spent on trying must suffice. A way that was a surprise is tried again in advance of it. */
static uint32_t estimate_try_seldom(struct adma_estimates *e, uint32_t class, struct adma_ways ways)
{
	struct adma_size_class *here = &e->classes[class];
	float cost = here->ways[here->incumbent].cost, predicted = 0;
	uint32_t way;

	if (estimate_draw(e, 4)) /* out of step with what the program does */
		return ADMA_NO_WAY;
	if (estimate_allows(ways, here->again) && here->again != here->incumbent)
		return estimate_spend(here, here->again, cost, -ESTIMATE_SAVED * cost);
	if (here->allowance < cost)
		return ADMA_NO_WAY;
	way = estimate_candidate(e, class, ways, &predicted);
	return way == ADMA_NO_WAY ? way : estimate_spend(here, way, predicted, predicted);
}

/* Nothing was tried yet. What the incumbent takes must be known before that, or else nothing can be compared with it. */
static bool estimate_may_begin(const struct adma_size_class *here)
{
	return !here->settled_at && !here->trying && here->transfers > ADMA_PLAIN &&
	       here->ways[here->incumbent].count >= ESTIMATE_ENOUGH;
}

/* The way to try now, or ADMA_NO_WAY. */
static uint32_t estimate_try(struct adma_estimates *e, uint32_t class, struct adma_ways ways)
{
	struct adma_size_class *here = &e->classes[class];
	float predicted;

	if (estimate_may_begin(here))
		estimate_try_more(here);
	if (here->trying)
		return estimate_is_turn(e, here) ? estimate_candidate(e, class, ways, &predicted) : ADMA_NO_WAY;
	return here->settled_at ? estimate_try_seldom(e, class, ways) : ADMA_NO_WAY;
}

/* ---- the interface ---- */

uint32_t adma_estimates_best(const struct adma_estimates *e, uint64_t bytes, struct adma_ways ways)
{
	return estimate_current(e, adma_estimates_class(bytes), ways);
}

bool adma_estimates_settled(const struct adma_estimates *e, uint64_t bytes)
{
	return e->classes[adma_estimates_class(bytes)].settled_at;
}

uint32_t adma_estimates_choose(struct adma_estimates *e, uint64_t bytes, struct adma_ways ways)
{
	uint32_t class = adma_estimates_class(bytes), current = estimate_current(e, class, ways), tried;
	struct adma_size_class *here = &e->classes[class];

	if (!here->transfers++)
		here->again = ADMA_NO_WAY;
	if (!here->ways[here->incumbent].count)
		here->incumbent = current;
	if (current != here->incumbent)
		return current; /* the incumbent is not possible now, so nothing can be compared with it */
	tried = estimate_try(e, class, ways);
	return tried == ADMA_NO_WAY ? current : tried;
}

/* The incumbent was heard of: has its pace changed? */
static void estimate_watch_pace(struct adma_size_class *here)
{
	const struct adma_way_samples *own = &here->ways[here->incumbent];

	if (here->pace <= 0 || own->count < ADMA_WAY_SAMPLES) {
		here->pace = own->cost;
		return;
	}
	if (own->cost > here->pace * ESTIMATE_CHANGE || own->cost * ESTIMATE_CHANGE < here->pace)
		estimate_begin_again(here);
	else
		here->pace += (own->cost - here->pace) * ESTIMATE_PACE_WEIGHT;
}

/*
 * A try, by which the incumbent was not known to be slower. If it is quicker this time, what was known of the way may
 * not hold any more. A few more samples tell, so they are taken soon, in advance of what may be spent.
 */
static void estimate_watch_try(struct adma_size_class *here, uint32_t way, float cost)
{
	float best = here->ways[here->incumbent].cost;

	here->allowance -= cost - here->spent;
	here->spent = 0;
	here->again = ADMA_NO_WAY;
	if (cost * ESTIMATE_SURPRISE >= best)
		return;
	if (here->ways[way].cost >= best)
		estimate_doubt(&here->ways[way]);
	here->again = way;
}

void adma_estimates_note(struct adma_estimates *e, uint64_t bytes, uint32_t way, uint64_t nanoseconds)
{
	struct adma_size_class *here = &e->classes[adma_estimates_class(bytes)];
	struct adma_way_samples *own = &here->ways[way];
	float cost = (float)(nanoseconds ? nanoseconds : 1) / (float)bytes;

	if (way != here->incumbent && !here->trying)
		estimate_watch_try(here, way, cost);
	estimate_add(own, cost, here->transfers);
	if (way == here->incumbent) {
		here->allowance += cost * ESTIMATE_SHARE;
		if (here->allowance > own->cost * ESTIMATE_SAVED)
			here->allowance = own->cost * ESTIMATE_SAVED;
		estimate_watch_pace(here);
	}
	estimate_compete(here);
}

float adma_estimates_tell(const struct adma_estimates *e, uint32_t class, uint32_t way, bool *incumbent)
{
	const struct adma_size_class *here = &e->classes[class];

	*incumbent = here->settled_at && here->incumbent == way;
	return here->settled_at && here->ways[way].count >= ESTIMATE_ENOUGH ? here->ways[way].cost : 0;
}

void adma_estimates_take_up(struct adma_estimates *e, uint32_t class, uint32_t way, float cost, bool incumbent)
{
	struct adma_size_class *here = &e->classes[class];

	if (here->transfers > 1)
		return;
	for (uint32_t i = 0; i < ESTIMATE_ENOUGH; i++)
		estimate_add(&here->ways[way], cost, here->transfers);
	here->ways[way].total = 0; /* of this process */
	if (!incumbent)
		return;
	here->transfers = here->settled_at = 1; /* so there are no first tries */
	here->incumbent = way;
	here->again = ADMA_NO_WAY;
	here->pace = cost;
}

struct adma_way_known adma_estimates_known(const struct adma_estimates *e, uint64_t bytes, uint32_t way)
{
	uint32_t class = adma_estimates_class(bytes);
	const struct adma_size_class *here = &e->classes[class];
	const struct adma_way_samples *own = &here->ways[way];
	float cost = own->count ? own->cost : estimate_from_neighbours(e, class, way, here->ways[here->incumbent].cost);

	return (struct adma_way_known){.samples = own->total, .nanoseconds = (uint64_t)(cost * (float)bytes)};
}
