/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_learning.c - what worker/learning.h promises: from which transfers a reader learns, and what it decides by
 * that. Mechanisms, clock, load and peer are made up; the tables are the real ones.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "learn/tables.h"
#include "mech/table.h"
#include "require.h"
#include "worker/endpoint.h"
#include "worker/learning.h"

#define BYTES (1ull << 20)

/* ---- the world ---- */

static int64_t now = 1000;
static bool oversubscribed, peer_waits, aliased, usual;

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	*ts = (struct timespec){.tv_sec = now / 1000000000, .tv_nsec = now % 1000000000};
	return 0;
}

bool adma_cpu_short_with(int32_t pid, int64_t when)
{
	(void)pid;
	(void)when;
	return oversubscribed;
}

bool adma_peer_waits(const struct adma_endpoint *ep)
{
	(void)ep;
	return peer_waits;
}

static uint64_t one_chunk(uint64_t length)
{
	(void)length;
	return 128 << 10;
}

static uint64_t another_chunk(uint64_t length, uint32_t i)
{
	(void)length;
	return i ? 512 << 10 : 32 << 10;
}

static enum adma_detour may_detour(const struct adma_span *span)
{
	(void)span;
	return !aliased ? ADMA_DETOUR_NONE : usual ? ADMA_DETOUR_USUAL : ADMA_DETOUR_POSSIBLE;
}

static const struct adma_mechanism stream = {
	.id = ADMA_MECH_SHARED, .flags = ADMA_STREAM, .chunk = one_chunk, .competes = true};
static const struct adma_mechanism single = {.id = ADMA_MECH_CMA,
					     .flags = ADMA_EITHER_ENDPOINT,
					     .chunk = one_chunk,
					     .other_chunk = another_chunk,
					     .detours = may_detour,
					     .competes = true};
static const struct adma_mechanism last = {.id = ADMA_MECH_TCP, .flags = ADMA_STREAM, .chunk = one_chunk};

const struct adma_mechanism *adma_mechanism(uint32_t id)
{
	return id == stream.id ? &stream : id == single.id ? &single : id == last.id ? &last : NULL;
}

#define ALL (ADMA_MECH_BIT(ADMA_MECH_SHARED) | ADMA_MECH_BIT(ADMA_MECH_CMA) | ADMA_MECH_BIT(ADMA_MECH_TCP))

/* ---- transfers ---- */

/* Where large chunks are the quickest, and a detour helps. */
static int64_t time_of(struct adma_choice choice)
{
	if (choice.mechanism == ADMA_MECH_SHARED)
		return 100000;
	return (choice.chunk == 512 << 10 ? 50000 : 70000) * (aliased && !choice.detour ? 5 : 1);
}

/* What each of many transfers adds to the time of all, where the built-in chunks of one copy are the quickest. */
static int64_t time_beside(struct adma_choice choice)
{
	if (choice.mechanism == ADMA_MECH_SHARED)
		return 90000;
	return choice.chunk == 128 << 10 ? 40000 : 60000;
}

/* Each test has a peer of a user of its own, and so a table that knows nothing. */
static struct adma_endpoint fresh(void)
{
	static uint32_t uid = 1000;
	struct adma_endpoint ep;

	memset(&ep, 0, sizeof(ep));
	ep.connection.config.learns = true;
	ep.connection.config.uid = uid++;
	ep.control.waits = peer_waits = true;
	oversubscribed = aliased = usual = false;
	return ep;
}

static struct adma_choice begin(struct adma_endpoint *ep, struct adma_transfer *t, uint32_t built_in)
{
	struct adma_choice choice;

	memset(t, 0, sizeof(*t));
	t->span.length = BYTES;
	choice = adma_learning_choose(ep, t, built_in, ALL);
	adma_learning_begin(ep, t);
	ep->begun++;
	return choice;
}

static struct adma_choice carry(struct adma_endpoint *ep, uint32_t built_in)
{
	struct adma_transfer t;
	struct adma_choice choice = begin(ep, &t, built_in);

	now += time_of(choice);
	adma_learning_note(ep, &t, 0);
	return choice;
}

static struct adma_choice carry_many(struct adma_endpoint *ep, uint32_t built_in, int n)
{
	struct adma_choice choice = {0};

	while (n--)
		choice = carry(ep, built_in);
	return choice;
}

/* How many samples there are, of all ways, for endpoints that both wait: of messages that are alone, or beside others. */
static uint32_t samples_of(const struct adma_endpoint *ep, bool window)
{
	struct adma_learnt_way found[ADMA_LEARNT_MAX];
	uint32_t n = adma_learning_tell(ep, BYTES, ALL, ADMA_MECH_SHARED, found), sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += found[i].window == window ? found[i].samples : 0;
	return sum;
}

static uint32_t samples(const struct adma_endpoint *ep)
{
	return samples_of(ep, false) + samples_of(ep, true);
}

/* ---- windows ---- */

#define WINDOW 16

static void enlist(struct adma_endpoint *ep, struct adma_transfer *t)
{
	if (!ep->transfers.count++)
		adma_list_init(&ep->transfers.all);
	adma_list_push_back(&ep->transfers.all, &t->link);
}

/* Transfers that are all matched before the first one is over, in `many`. */
static void begin_window(struct adma_endpoint *ep, struct adma_transfer *many, struct adma_choice *choices,
			 uint32_t built_in, int of)
{
	for (int i = 0; i < of; i++) {
		choices[i] = begin(ep, &many[i], built_in);
		enlist(ep, &many[i]);
	}
}

static void end_transfer(struct adma_endpoint *ep, struct adma_transfer *t, int error)
{
	adma_learning_note(ep, t, error);
	adma_list_remove(&t->link);
	ep->transfers.count--;
}

static void end_window(struct adma_endpoint *ep, struct adma_transfer *many, const struct adma_choice *choices, int of)
{
	for (int i = 0; i < of; i++) {
		now += time_beside(choices[i]);
		end_transfer(ep, &many[i], 0);
	}
}

/* The ends post while messages are matched, and wait for them then. The choice for the last of them. */
static struct adma_choice carry_windows(struct adma_endpoint *ep, uint32_t built_in, int n, int of)
{
	static struct adma_transfer many[WINDOW];
	struct adma_choice choices[WINDOW] = {{0}};
	bool waits = peer_waits;

	while (n--) {
		ep->control.waits = peer_waits = false;
		begin_window(ep, many, choices, built_in, of);
		ep->control.waits = true;
		peer_waits = waits;
		end_window(ep, many, choices, of);
	}
	return choices[of - 1];
}

/* ---- what is promised ---- */

static bool is(struct adma_choice choice, uint32_t mechanism, uint64_t chunk, bool detour)
{
	return choice.mechanism == mechanism && choice.chunk == chunk && choice.detour == detour;
}

/* The way that most of the next transfers take. */
static struct adma_choice usual_choice(struct adma_endpoint *ep, uint32_t built_in)
{
	struct adma_transfer t;
	struct adma_choice choice;

	ep->transfers.count = 1; /* it is not alone, so it tries nothing */
	choice = begin(ep, &t, built_in);
	ep->transfers.count = 0;
	return choice;
}

static void the_quickest_way_is_found(void)
{
	struct adma_endpoint ep = fresh();
	struct adma_learnt_way found[ADMA_LEARNT_MAX];
	uint32_t n;

	REQUIRE(is(carry(&ep, ADMA_MECH_SHARED), ADMA_MECH_SHARED, 128 << 10, false));
	carry_many(&ep, ADMA_MECH_SHARED, 200);
	REQUIRE(is(usual_choice(&ep, ADMA_MECH_SHARED), ADMA_MECH_CMA, 512 << 10, false));
	REQUIRE(adma_learning_mechanism(&ep, BYTES, ALL, ADMA_MECH_SHARED, true) == ADMA_MECH_CMA);
	n = adma_learning_tell(&ep, BYTES, ALL, ADMA_MECH_SHARED, found);
	REQUIRE(n == 4 && samples(&ep) == 201);
	for (uint32_t i = 0; i < n; i++)
		REQUIRE(found[i].chosen == (found[i].mechanism == ADMA_MECH_CMA && found[i].chunk == 512 << 10));
}

static void a_detour_is_taken_where_it_helps(void)
{
	struct adma_endpoint ep = fresh();

	aliased = true;
	carry_many(&ep, ADMA_MECH_SHARED, 200);
	REQUIRE(is(usual_choice(&ep, ADMA_MECH_SHARED), ADMA_MECH_CMA, 512 << 10, true));
	aliased = false; /* nothing was learnt of other buffers */
	REQUIRE(is(usual_choice(&ep, ADMA_MECH_SHARED), ADMA_MECH_SHARED, 128 << 10, false));
}

static void without_experience_the_processor_decides_about_it(void)
{
	struct adma_endpoint ep = fresh();

	aliased = true;
	REQUIRE(!carry(&ep, ADMA_MECH_CMA).detour);
	usual = true;
	ep.connection.config.uid++;
	REQUIRE(carry(&ep, ADMA_MECH_CMA).detour);
	ep.connection.config.forced = ADMA_MECH_CMA;
	REQUIRE(carry(&ep, ADMA_MECH_CMA).detour);
	usual = false;
	REQUIRE(!carry(&ep, ADMA_MECH_CMA).detour);
	(void)fresh(); /* another one has that number */
}

/* Nothing is learnt, whatever happens. */
static void it_learns_nothing(struct adma_endpoint *ep, uint32_t built_in)
{
	for (int i = 0; i < 200; i++)
		REQUIRE(is(carry(ep, built_in), built_in, 128 << 10, false));
	REQUIRE(samples(ep) == 0);
}

static void it_can_be_switched_off(void)
{
	struct adma_endpoint ep = fresh();

	ep.connection.config.learns = false;
	it_learns_nothing(&ep, ADMA_MECH_SHARED);
	ep = fresh();
	ep.connection.config.forced = ADMA_MECH_CMA;
	it_learns_nothing(&ep, ADMA_MECH_CMA);
}

/* What is used only because nothing better works has no competitors. */
static void the_last_resort_stays(void)
{
	struct adma_endpoint ep = fresh();

	it_learns_nothing(&ep, ADMA_MECH_TCP);
}

/* What is beside others is learnt of apart, though it is matched while both ends still post. */
static void windows_have_experience_of_their_own(void)
{
	struct adma_endpoint ep = fresh();
	struct adma_learnt_way found[ADMA_LEARNT_MAX];
	uint32_t n;

	carry_many(&ep, ADMA_MECH_SHARED, 200);
	REQUIRE(is(carry_windows(&ep, ADMA_MECH_SHARED, 3, WINDOW), ADMA_MECH_CMA, 512 << 10, false)); /* as alone */
	REQUIRE(is(carry_windows(&ep, ADMA_MECH_SHARED, 100, WINDOW), ADMA_MECH_CMA, 128 << 10, false));
	REQUIRE(samples_of(&ep, true) >= 80);
	n = adma_learning_tell(&ep, BYTES, ALL, ADMA_MECH_SHARED, found);
	for (uint32_t i = 0; i < n; i++) {
		bool best = found[i].mechanism == ADMA_MECH_CMA &&
			    found[i].chunk == (found[i].window ? 128 << 10 : 512 << 10);

		REQUIRE(found[i].chosen == best);
		if (best && found[i].window) /* the first of them waits for nobody: see ADMA_RUN_LEAST */
			REQUIRE(found[i].nanoseconds > 37000 && found[i].nanoseconds < 43000);
	}
	carry(&ep, ADMA_MECH_SHARED); /* what follows a window is expected to be one */
	REQUIRE(is(carry(&ep, ADMA_MECH_SHARED), ADMA_MECH_CMA, 512 << 10, false));
}

/* Transfers that follow each other, and of which there are always two: runs begin in the midst of them. */
static void a_pipeline_teaches(void)
{
	static struct adma_transfer two[2];
	struct adma_endpoint ep = fresh();
	struct adma_choice choices[2];

	for (int i = 0; i < 2000; i++) {
		choices[i % 2] = begin(&ep, &two[i % 2], ADMA_MECH_SHARED);
		enlist(&ep, &two[i % 2]);
		if (i == 0)
			continue;
		now += time_beside(choices[1 - i % 2]);
		end_transfer(&ep, &two[1 - i % 2], 0);
	}
	REQUIRE(samples_of(&ep, true) > 20 && samples_of(&ep, false) == 0);
}

static void few_are_no_window(void)
{
	struct adma_endpoint ep = fresh();

	(void)carry_windows(&ep, ADMA_MECH_SHARED, 200, ADMA_RUN_LEAST - 1);
	REQUIRE(samples_of(&ep, true) == 0);
	(void)carry_windows(&ep, ADMA_MECH_SHARED, 20, ADMA_RUN_LEAST);
	REQUIRE(samples_of(&ep, true) > 0);
}

enum spoiler { FAILED, OUTBOUND, SIZES, UNSEEN, COMPUTED, UNSPOILT };

/* Of these windows none is a sample, but for the last kind. */
static void spoilt(enum spoiler what)
{
	static struct adma_transfer many[WINDOW];
	struct adma_choice choices[WINDOW];
	static struct adma_endpoint first;
	struct adma_endpoint ep;
	uint32_t before;

	if (!first.connection.config.learns)
		first = fresh();
	ep = first; /* they share a table */
	peer_waits = true;
	before = samples(&ep);
	(void)carry_windows(&ep, ADMA_MECH_SHARED, 2, WINDOW);
	REQUIRE(samples(&ep) == ++before); /* of the first one it was not known that both ends would wait */
	begin_window(&ep, many, choices, ADMA_MECH_SHARED, WINDOW);
	for (int i = 0; i < WINDOW; i++) {
		struct adma_transfer other;

		now += 1000;
		ep.control.waits = !(what == UNSEEN && i == WINDOW - 1);
		peer_waits = what != COMPUTED;
		ep.begun += what == OUTBOUND && i == 3;
		if (what == SIZES && i < 3) {
			other = (struct adma_transfer){.span.length = 4 * BYTES};
			(void)adma_learning_choose(&ep, &other, ADMA_MECH_SHARED, ALL);
			adma_learning_begin(&ep, &other);
			ep.begun++;
		}
		end_transfer(&ep, &many[i], what == FAILED && i == 5 ? EIO : 0);
	}
	REQUIRE(samples(&ep) == before + (what == UNSPOILT));
}

enum disturbance { ERROR, ANOTHER, NAP, WAKE, REDONE, LEFT, BESIDE, CALM };

static void disturbed(enum disturbance what)
{
	static struct adma_endpoint first;
	struct adma_endpoint ep;
	struct adma_transfer t;

	if (!first.connection.config.learns)
		first = fresh(); /* they share a table, in which there is nothing until the last of them */
	ep = first;

	ep.transfers.count = what == BESIDE;
	(void)begin(&ep, &t, ADMA_MECH_SHARED);
	now += 1000;
	ep.begun += what == ANOTHER;
	ep.naps += what == NAP;
	ep.wakes_sent += what == WAKE;
	t.span.guarded = what == REDONE;
	ep.control.waits = what != LEFT;
	adma_learning_note(&ep, &t, what == ERROR ? EIO : 0);
	REQUIRE(samples(&ep) == (what == CALM));
}

static void one_computes(void)
{
	struct adma_endpoint ep = fresh();

	peer_waits = false;
	for (int i = 0; i < 200; i++)
		REQUIRE(is(carry(&ep, ADMA_MECH_SHARED), ADMA_MECH_SHARED, 128 << 10, false));
	for (int i = 0; i < 200; i++)
		REQUIRE(carry(&ep, ADMA_MECH_CMA).mechanism == ADMA_MECH_CMA);
	REQUIRE(is(usual_choice(&ep, ADMA_MECH_CMA), ADMA_MECH_CMA, 512 << 10, false));

	/* One copy was the quicker one even where both waited. */
	peer_waits = true;
	carry_many(&ep, ADMA_MECH_SHARED, 200);
	peer_waits = false;
	REQUIRE(usual_choice(&ep, ADMA_MECH_SHARED).mechanism == ADMA_MECH_CMA);
}

static void cores_are_short(void)
{
	struct adma_endpoint ep = fresh();

	oversubscribed = true;
	for (int i = 0; i < 200; i++)
		REQUIRE(carry(&ep, ADMA_MECH_SHARED).mechanism == ADMA_MECH_SHARED);
}

static void users_have_tables_of_their_own(void)
{
	struct adma_endpoint one = fresh(), other = fresh();

	carry_many(&one, ADMA_MECH_SHARED, 200);
	REQUIRE(samples(&other) == 0);
	REQUIRE(is(usual_choice(&other, ADMA_MECH_SHARED), ADMA_MECH_SHARED, 128 << 10, false));
	for (int i = 0; i < ADMA_TABLES; i++) {
		struct adma_endpoint many = fresh();

		(void)carry(&many, ADMA_MECH_SHARED);
	}
	other = fresh(); /* there are too many */
	it_learns_nothing(&other, ADMA_MECH_SHARED);
	REQUIRE(is(usual_choice(&one, ADMA_MECH_SHARED), ADMA_MECH_CMA, 512 << 10, false));
}

/* What one process has learnt, another one begins with; but it counts little beside what is measured. */
static void it_is_taken_up(void)
{
	struct adma_endpoint one = fresh(), other = fresh();
	struct adma_learnt_cost costs[64], bad;
	int n;

	carry_many(&one, ADMA_MECH_SHARED, 200);
	n = adma_learning_tell_costs(one.connection.config.uid, costs, 64);
	REQUIRE(n == 4 && adma_learning_tell_costs(one.connection.config.uid, costs, 0) == 4);
	for (int i = 0; i < n; i++) {
		bad = costs[i];
		bad.ns_per_mib = 0;
		REQUIRE(adma_learning_take_up(other.connection.config.uid, &bad) == -EINVAL);
		bad = costs[i];
		bad.size_class = ADMA_SIZE_CLASSES;
		REQUIRE(adma_learning_take_up(other.connection.config.uid, &bad) == -EINVAL);
		bad = costs[i];
		bad.choice = 9;
		REQUIRE(adma_learning_take_up(other.connection.config.uid, &bad) == -EINVAL);
		REQUIRE(!adma_learning_take_up(other.connection.config.uid, &costs[i]));
	}
	REQUIRE(samples(&other) == 0);
	for (int i = 0; i < 60; i++) /* there are no first tries */
		REQUIRE(is(carry(&other, ADMA_MECH_SHARED), ADMA_MECH_CMA, 512 << 10, false));
	carry_windows(&one, ADMA_MECH_SHARED, 100, WINDOW);
	REQUIRE(adma_learning_tell_costs(one.connection.config.uid, costs, 64) > n);
	for (int i = 0; i < adma_learning_tell_costs(one.connection.config.uid, costs, 64); i++)
		if (costs[i].window)
			REQUIRE(!adma_learning_take_up(other.connection.config.uid, &costs[i]));
	REQUIRE(is(carry_windows(&other, ADMA_MECH_SHARED, 3, WINDOW), ADMA_MECH_CMA, 128 << 10, false));
	REQUIRE(!adma_learning_tell_costs(fresh().connection.config.uid, costs, 64));
}

static void a_writer_judges_what_it_is_told(void)
{
	REQUIRE(adma_choice_is_possible(&stream, BYTES, 128 << 10, 0));
	REQUIRE(!adma_choice_is_possible(&stream, BYTES, 32 << 10, 0)); /* it would overrun a cell */
	REQUIRE(!adma_choice_is_possible(&stream, BYTES, 128 << 10, ADMA_MANNER_DETOUR));
	REQUIRE(adma_choice_is_possible(&single, BYTES, 512 << 10, ADMA_MANNER_DETOUR));
	REQUIRE(!adma_choice_is_possible(&single, BYTES, 512 << 10, 2));
	REQUIRE(!adma_choice_is_possible(&single, BYTES, 0, 0));
	REQUIRE(!adma_choice_is_possible(&single, BYTES, 1, 0));
}

int main(void)
{
	the_quickest_way_is_found();
	a_detour_is_taken_where_it_helps();
	without_experience_the_processor_decides_about_it();
	it_can_be_switched_off();
	the_last_resort_stays();
	for (enum disturbance what = ERROR; what <= CALM; what++)
		disturbed(what);
	windows_have_experience_of_their_own();
	a_pipeline_teaches();
	few_are_no_window();
	for (enum spoiler what = FAILED; what <= UNSPOILT; what++)
		spoilt(what);
	one_computes();
	cores_are_short();
	a_writer_judges_what_it_is_told();
	it_is_taken_up();
	users_have_tables_of_their_own(); /* it leaves room for no more */
	return 0;
}
