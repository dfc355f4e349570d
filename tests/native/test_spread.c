/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_spread.c - what copy/spread.h promises, on machines that are made up: copiers share the parts of a copy, and
 * take the next one when they are done with one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "copy/plan.h"
#include "copy/spread.h"
#include "require.h"

#define MIB (1ull << 20)

/* ---- the world ---- */

static long second_cache = 2 << 20;

long __wrap_sysconf(int name);
long __wrap_sysconf(int name)
{
	return name == _SC_LEVEL2_CACHE_SIZE ? second_cache : -1;
}

struct machine {
	double claim_us; /* what it costs to claim and to retire a part */
	double wake_us;  /* after so long a worker begins, and the next one so much later */
	double rate;     /* bytes that a core copies in a microsecond */
	double limit;    /* and all of them together */
};

/* One core nearly is the limit of this memory, and threads wake slowly. */
static const struct machine narrow = {.claim_us = 1.5, .wake_us = 40, .rate = 10e3, .limit = 12e3};
/* Each core adds its own rate, and claims cost little. */
static const struct machine wide = {.claim_us = 0.05, .wake_us = 3, .rate = 10e3, .limit = 80e3};
/* The same, where a claim is dear. */
static const struct machine dear = {.claim_us = 4, .wake_us = 3, .rate = 10e3, .limit = 80e3};

enum { COPIERS_MAX = 17 };

/* How long a copy takes that is spread in this way. */
static double time_of(const struct machine *m, const struct adma_copy *copy, uint32_t workers, bool waits)
{
	uint32_t queues = copy->queues < workers ? copy->queues : workers, copiers = queues + waits;
	double free_at[COPIERS_MAX], each = m->limit / copiers < m->rate ? m->limit / copiers : m->rate, end = 0;

	for (uint32_t i = 0; i < copiers; i++)
		free_at[i] = waits && !i ? queues * m->wake_us / 4 : (i + !waits) * m->wake_us;
	for (uint64_t at = 0; at < copy->plan.bytes; at += copy->plan.part_bytes) {
		uint64_t left = copy->plan.bytes - at, n = left < copy->plan.part_bytes ? left : copy->plan.part_bytes;
		uint32_t next = 0;

		for (uint32_t i = 1; i < copiers; i++)
			if (free_at[i] < free_at[next])
				next = i;
		free_at[next] += m->claim_us + (double)n / each;
		end = free_at[next] > end ? free_at[next] : end;
	}
	return end;
}

static unsigned long long seed = 1;

static uint32_t below(uint32_t n)
{
	return draw(&seed) % n;
}

static uint8_t bytes[2];

/* So far away that no copy overlaps itself. */
static const void *far(void)
{
	return (const void *)((uintptr_t)bytes + (1ull << 40));
}

/* Copy n bytes; nothing is really copied. */
static struct adma_copy post(struct adma_spreads *s, uint64_t n, uint32_t workers)
{
	struct adma_copy copy;

	memset(&copy, 0, sizeof(copy));
	adma_plan_bytes(&copy.plan, bytes, far(), n);
	adma_spread_choose(s, &copy, workers, true);
	return copy;
}

static void complete(struct adma_spreads *s, struct adma_copy *copy, double us, enum adma_helped helped)
{
	copy->helped = helped;
	copy->times.posted = 1000;
	copy->times.copied = 1000 + (int64_t)(us * 1000 * (1 + (double)below(100) / 2000));
	adma_spread_note(s, copy, true);
}

static double copy_one(struct adma_spreads *s, const struct machine *m, uint64_t n, uint32_t workers, bool waits)
{
	struct adma_copy copy = post(s, n, workers);
	double us = time_of(m, &copy, workers, waits);

	complete(s, &copy, us, waits ? ADMA_HELPED_AT_ONCE : ADMA_HELPED_NOT);
	return us;
}

/* What the quickest of all sizes and numbers of workers takes that there are to choose from. */
static double quickest(const struct machine *m, uint64_t n, uint32_t workers, bool waits)
{
	struct adma_copy copy;
	double best = 0;

	memset(&copy, 0, sizeof(copy));
	adma_plan_bytes(&copy.plan, bytes, far(), n);
	for (uint64_t part = 16 << 10; part <= MIB; part *= 2) {
		uint32_t few = waits ? 1 : workers;

		for (copy.queues = few; copy.queues <= workers; copy.queues++) {
			double us;

			uint64_t share = n / (copy.queues + waits);

			if (part != ADMA_PART_BYTES && (part > share || (part * 2 <= share && part < MIB)))
				continue; /* there is no such size for them */
			if (copy.queues + waits == 1 && part < ADMA_PART_BYTES)
				continue;
			adma_plan_cut(&copy.plan, part);
			us = time_of(m, &copy, workers, waits);
			best = !best || us < best ? us : best;
		}
	}
	return best;
}

/* ---- what is promised ---- */

static void it_finds_the_quickest(const struct machine *m, uint64_t n, uint32_t workers, bool waits)
{
	struct adma_spreads s;
	double best = quickest(m, n, workers, waits);
	int good = 0;

	memset(&s, 0, sizeof(s));
	for (int i = 0; i < 250; i++)
		(void)copy_one(&s, m, n, workers, waits);
	for (int i = 0; i < 200; i++)
		good += copy_one(&s, m, n, workers, waits) <= best * 1.05;
	REQUIRE(good >= 180);
}

static void it_finds_it_everywhere(void)
{
	static const struct machine *const machines[] = {&narrow, &wide, &dear};
	static const uint64_t sizes[] = {128 << 10, 256 << 10, MIB, 4 * MIB, 16 * MIB};

	for (int i = 0; i < 3; i++)
		for (int size = 0; size < 5; size++)
			for (uint32_t workers = 1; workers <= 4; workers *= 2)
				for (int waits = 0; waits < 2; waits++)
					it_finds_the_quickest(machines[i], sizes[size], workers, waits);
}

/* A program that copies a few times gets what is built in. Of the first 64 copies about one in four tries something. */
static void it_begins_with_what_is_built_in(void)
{
	struct adma_spreads s;
	int others = 0;

	memset(&s, 0, sizeof(s));
	for (int i = 0; i < 64; i++) {
		struct adma_copy copy = post(&s, 4 * MIB, 4);
		bool usual = copy.plan.part_bytes == ADMA_PART_BYTES && copy.queues >= 4;

		REQUIRE(usual || i >= ADMA_PLAIN);
		others += !usual;
		complete(&s, &copy, 1000, ADMA_HELPED_AT_ONCE);
	}
	REQUIRE(others >= 8 && others <= 16);
}

/* Whatever is tried: never more workers than there are, and no part is too large to be shared or for the caches. */
static void it_stays_within_limits(void)
{
	for (int i = 0; i < 300; i++) {
		uint32_t workers = 1 + below(ADMA_COPY_WORKERS_MAX);
		uint64_t n = 1 + below(1u << (10 + below(16)));
		bool waits = below(2);
		struct adma_spreads s;

		memset(&s, 0, sizeof(s));
		for (int k = 0; k < 80; k++) {
			struct adma_copy copy = post(&s, n, workers);
			uint32_t queues = copy.queues < workers ? copy.queues : workers;

			REQUIRE(copy.queues == ADMA_SPREAD_ALL || (copy.queues >= 1 && copy.queues <= workers));
			REQUIRE(copy.plan.part_bytes <= MIB && copy.plan.part_bytes >= 16 << 10);
			REQUIRE(copy.plan.part_bytes <= ADMA_PART_BYTES || copy.plan.parts >= queues + copy.waits);
			REQUIRE(copy.waits || queues == workers);
			complete(&s, &copy, 1000, waits ? ADMA_HELPED_AT_ONCE : ADMA_HELPED_NOT);
		}
	}
}

static uint32_t samples(const struct adma_spreads *s)
{
	struct adma_spread found[100];
	int n = adma_spread_tell(s, found, 100);
	uint32_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += found[i].samples;
	return sum;
}

enum disturbance { OTHERS, LATE, UNEXPECTED, NO_TIME, CALM };

static void disturbed(enum disturbance what)
{
	struct adma_spreads s;
	struct adma_copy copy;

	memset(&s, 0, sizeof(s));
	copy = post(&s, MIB, 2);
	complete(&s, &copy, 100, ADMA_HELPED_AT_ONCE); /* it was not expected to */
	REQUIRE(samples(&s) == 0);
	copy = post(&s, MIB, 2);
	REQUIRE(copy.waits);
	copy.helped = what == LATE ? ADMA_HELPED_LATE : what == UNEXPECTED ? ADMA_HELPED_NOT : ADMA_HELPED_AT_ONCE;
	copy.times.posted = 1000;
	copy.times.copied = what == NO_TIME ? 1000 : 100000;
	adma_spread_note(&s, &copy, what != OTHERS);
	REQUIRE(samples(&s) == (what == CALM));
	REQUIRE(post(&s, MIB, 2).waits == (what != LATE && what != UNEXPECTED));
}

/* It was expected to compute, and did so only at first. */
static void helped_late(void)
{
	struct adma_spreads s;
	struct adma_copy copy;

	memset(&s, 0, sizeof(s));
	copy = post(&s, MIB, 2);
	complete(&s, &copy, 100, ADMA_HELPED_LATE);
	REQUIRE(samples(&s) == 0 && !post(&s, MIB, 2).waits);
	copy = post(&s, MIB, 2);
	complete(&s, &copy, 100, ADMA_HELPED_NOT);
	REQUIRE(samples(&s) == 1);
}

/* Where a waiting thread only waits, it is always the workers that copy. */
static void callers_that_do_not_help(void)
{
	struct adma_spreads s;
	struct adma_copy copy;

	memset(&s, 0, sizeof(s));
	copy = post(&s, MIB, 2);
	complete(&s, &copy, 100, ADMA_HELPED_AT_ONCE);
	adma_spread_choose(&s, &copy, 2, false);
	REQUIRE(!copy.waits);
}

/* Parts that are made one after the other are the same whoever makes them; rows are not parts of a line. */
static void some_copies_are_left_alone(void)
{
	struct adma_spreads s;
	struct adma_dim dim = {1000, 3000, 3000};
	struct adma_copy copy;

	memset(&s, 0, sizeof(s));
	for (int i = 0; i < 100; i++) {
		adma_plan_bytes(&copy.plan, bytes, bytes + 1, MIB);
		adma_spread_choose(&s, &copy, 4, true);
		REQUIRE(copy.way == ADMA_NO_WAY && copy.queues == ADMA_SPREAD_ALL);
		REQUIRE(!adma_plan_strided(&copy.plan, bytes, far(), 1000, &dim, 1));
		adma_spread_choose(&s, &copy, 4, true);
		REQUIRE(copy.way == ADMA_NO_WAY && copy.plan.part_bytes == ADMA_PART_BYTES);
		copy = post(&s, 20000, 1); /* one part, and one worker: nothing to choose from */
		REQUIRE(copy.way == ADMA_NO_WAY && copy.plan.parts == 1);
	}
}

/* Nothing is left of what was learnt with another number of workers. */
static void other_workers(void)
{
	struct adma_spreads s;

	memset(&s, 0, sizeof(s));
	for (int i = 0; i < 100; i++)
		(void)copy_one(&s, &narrow, MIB, 4, true);
	REQUIRE(samples(&s) > 90);
	REQUIRE(post(&s, MIB, 2).plan.part_bytes == ADMA_PART_BYTES);
	REQUIRE(samples(&s) == 0);
}

/* A cache that nobody knows the size of, or that is too small for larger parts. */
static void other_caches(void)
{
	long kept = second_cache;
	struct adma_spreads s;

	second_cache = -1;
	memset(&s, 0, sizeof(s));
	(void)post(&s, MIB, 1);
	REQUIRE(s.largest == 512 << 10);
	second_cache = 1;
	memset(&s, 0, sizeof(s));
	for (int i = 0; i < 100; i++) {
		struct adma_copy copy = post(&s, 4 * MIB, 1);

		REQUIRE(copy.plan.part_bytes == ADMA_PART_BYTES);
		complete(&s, &copy, 100, ADMA_HELPED_NOT);
	}
	second_cache = kept;
}

static void it_is_taken_up(void)
{
	struct adma_spread found[100], bad;
	struct adma_spreads s, other, few;
	struct adma_copy copy;
	int n;

	memset(&s, 0, sizeof(s));
	memset(&other, 0, sizeof(other));
	memset(&few, 0, sizeof(few));
	REQUIRE(adma_spread_tell(&s, found, 100) == 0);
	for (int i = 0; i < 250; i++)
		(void)copy_one(&s, &narrow, 16 * MIB, 4, true);
	n = adma_spread_tell(&s, found, 100);
	REQUIRE(n > 1 && n == adma_spread_tell(&s, found, 0));
	for (int i = 0; i < n; i++) {
		REQUIRE(found[i].ns_per_mib && found[i].part_bytes);
		bad = found[i];
		bad.size_class = ADMA_SIZE_CLASSES;
		REQUIRE(adma_spread_take_up(&other, 4, &bad) == -EINVAL);
		bad = found[i];
		bad.ns_per_mib = 0;
		REQUIRE(adma_spread_take_up(&other, 4, &bad) == -EINVAL);
		bad = found[i];
		bad.size = 2;
		REQUIRE(adma_spread_take_up(&other, 4, &bad) == -EINVAL);
		REQUIRE(adma_spread_take_up(&other, 0, &found[i]) == -EINVAL);
		REQUIRE(!adma_spread_take_up(&other, 4, &found[i]));
		/* A number of queues is taken up where there are so many. */
		REQUIRE(!adma_spread_take_up(&few, 2, &found[i]) == (found[i].queues <= 2));
	}
	REQUIRE(samples(&other) == 0 && adma_spread_tell(&other, found, 100) > 0);
	copy = post(&other, 16 * MIB, 4);
	complete(&other, &copy, 100, ADMA_HELPED_AT_ONCE); /* its caller waits, so that the next one may */
	for (int i = 0; i < 60; i++) { /* there are no first tries */
		copy = post(&other, 16 * MIB, 4);
		REQUIRE(copy.queues == 1);
		complete(&other, &copy, time_of(&narrow, &copy, 4, true), ADMA_HELPED_AT_ONCE);
	}
}

int main(void)
{
	it_finds_it_everywhere();
	it_begins_with_what_is_built_in();
	it_stays_within_limits();
	for (enum disturbance what = OTHERS; what <= CALM; what++)
		disturbed(what);
	helped_late();
	callers_that_do_not_help();
	some_copies_are_left_alone();
	other_workers();
	other_caches();
	it_is_taken_up();
	return 0;
}
