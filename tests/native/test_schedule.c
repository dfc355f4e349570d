/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_schedule.c - what schedule.h promises, under random arrivals, many of them hostile.
 */
#include <string.h>

#include "require.h"
#include "copy/schedule.h"

#define WORKS 400
#define BOUND (ADMA_CLASSES * (ADMA_PASSES + 1))

struct job {
	struct adma_work work;
	unsigned int class, worker;
	uint64_t pieces, left;  /* in all, and those that were not taken yet */
	uint64_t ahead;         /* pieces of its class that were before it when it arrived */
	uint64_t came;          /* how many pieces were taken before it arrived */
	uint64_t number;        /* works are numbered as they arrive */
	bool in_order, listed;
};

static struct job jobs[WORKS];
static struct adma_schedule schedule;
static unsigned long long seed = 20250303;
static uint64_t taken, arrivals;
static uint64_t idle_for[ADMA_CLASSES]; /* how many pieces of other classes were taken in a row while it had work */

static const uint64_t bytes_of[ADMA_CLASSES][2] = {
	{1, ADMA_SMALL_MAX}, {ADMA_SMALL_MAX + 1, ADMA_MIDDLE_MAX}, {ADMA_MIDDLE_MAX + 1, 1ull << 40}};

static struct job *job_of(struct adma_work *work)
{
	return (struct job *)(void *)work;
}

static void begin(enum adma_policy policy, uint32_t workers)
{
	memset(jobs, 0, sizeof(jobs));
	memset(idle_for, 0, sizeof(idle_for));
	taken = arrivals = 0;
	adma_schedule_init(&schedule, policy, workers);
}

static void arrive(unsigned int class)
{
	struct job *job = NULL;

	for (int i = 0; i < WORKS && !job; i++)
		job = jobs[i].listed ? NULL : &jobs[i];
	if (!job)
		return;
	memset(job, 0xee, sizeof(*job)); /* the schedule does not rely on what was there */
	job->listed = false;
	job->class = class;
	job->work.assist = 0;
	job->work.bytes = bytes_of[class][draw(&seed) % 2];
	job->pieces = job->left = 1 + draw(&seed) % (class ? 40 : 2);
	job->came = taken;
	job->number = arrivals;
	job->worker = (unsigned int)(arrivals++ % schedule.workers);
	job->in_order = !(draw(&seed) % 4);
	job->ahead = 0;
	for (int i = 0; i < WORKS; i++)
		if (jobs[i].listed && jobs[i].class == class && &jobs[i] != job)
			job->ahead += jobs[i].left;
	job->listed = true;
	adma_schedule_add(&schedule, &job->work);
}

static void leave(struct job *job)
{
	adma_schedule_remove(&schedule, &job->work);
	adma_schedule_remove(&schedule, &job->work); /* is no error */
	job->listed = false;
}

static void cancel_one(void)
{
	struct job *job = &jobs[draw(&seed) % WORKS];

	if (job->listed && job->left == job->pieces)
		leave(job);
}

static bool has_work(unsigned int class)
{
	for (int i = 0; i < WORKS; i++)
		if (jobs[i].listed && jobs[i].class == class)
			return true;
	return false;
}

/* As a worker does it: a work that is in order is out of its run queue while a piece of it is made. */
static struct job *take(uint32_t worker)
{
	bool any = adma_schedule_any(&schedule, worker, true);
	struct adma_work *work = adma_schedule_next(&schedule, worker, true);
	struct job *job = work ? job_of(work) : NULL;

	REQUIRE(any == !!work);
	if (!job)
		return NULL;
	REQUIRE(job->listed && job->left);
	taken++;
	job->left--;
	if (!job->left) {
		leave(job);
	} else if (job->in_order) {
		adma_schedule_remove(&schedule, &job->work);
		adma_schedule_return(&schedule, &job->work);
	}
	return job;
}

/* ---- adaptive ---- */

static void take_adaptive(void)
{
	bool had[ADMA_CLASSES];
	struct job *job;

	for (unsigned int i = 0; i < ADMA_CLASSES; i++)
		had[i] = has_work(i);
	job = take((uint32_t)(draw(&seed) % schedule.workers));
	REQUIRE(!!job == (had[0] || had[1] || had[2]));
	for (unsigned int i = 0; job && i < ADMA_CLASSES; i++) {
		idle_for[i] = had[i] && i != job->class ? idle_for[i] + 1 : 0;
		REQUIRE(idle_for[i] < BOUND);
	}
	if (!job)
		return;
	/* First come, first served, within a class. */
	for (int i = 0; i < WORKS; i++)
		REQUIRE(!jobs[i].listed || jobs[i].class != job->class || jobs[i].number >= job->number);
	if (!job->left)
		REQUIRE(taken - job->came <= BOUND * (job->pieces + job->ahead));
}

static void test_adaptive(const unsigned int weights[ADMA_CLASSES], unsigned int busy)
{
	begin(ADMA_ADAPTIVE, 1 + draw(&seed) % ADMA_COPY_WORKERS_MAX);
	for (int i = 0; i < 3000; i++) {
		for (unsigned int class = 0; class < ADMA_CLASSES; class++)
			if (draw(&seed) % 1000 < weights[class])
				arrive(class);
		if (!(draw(&seed) % 50))
			cancel_one();
		if (draw(&seed) % 100 < busy)
			take_adaptive();
	}
	while (adma_schedule_any(&schedule, 0, true))
		take_adaptive();
	for (int i = 0; i < WORKS; i++)
		REQUIRE(!jobs[i].listed);
}

/* Small work goes before large work, and large work is not kept out for ever. */
static void test_priority(void)
{
	begin(ADMA_ADAPTIVE, 2);
	arrive(2);
	arrive(1);
	arrive(0);
	REQUIRE(take(0)->class == 0);
	begin(ADMA_ADAPTIVE, 2);
	arrive(2);
	for (int i = 0; i < 100 && jobs[0].left == jobs[0].pieces; i++) {
		arrive(0);
		REQUIRE(i <= ADMA_PASSES);
		(void)take(1);
	}
}

/*
 * An assist that goes to the end of its run queue lets the others go first. A caller, which wants no assist,
 * finds what is behind it.
 */
static void test_assist(void)
{
	struct adma_work assist = {.bytes = ADMA_MIDDLE_MAX + 1, .assist = 1};

	begin(ADMA_ADAPTIVE, 2);
	adma_schedule_add(&schedule, &assist);
	REQUIRE(!adma_schedule_any(&schedule, 0, false) && !adma_schedule_next(&schedule, 0, false));
	arrive(2);
	REQUIRE(adma_schedule_any(&schedule, 0, false));
	REQUIRE(adma_schedule_next(&schedule, 0, false) == &jobs[0].work);
	REQUIRE(adma_schedule_next(&schedule, 0, true) == &assist);
	adma_schedule_remove(&schedule, &assist);
	adma_schedule_add(&schedule, &assist);
	REQUIRE(adma_schedule_next(&schedule, 0, true) == &jobs[0].work);
	leave(&jobs[0]);
	REQUIRE(adma_schedule_next(&schedule, 0, true) == &assist);
	arrive(2);
	adma_schedule_remove_assists(&schedule);
	REQUIRE(!assist.listed && adma_schedule_next(&schedule, 0, true) == &jobs[0].work);
}

/* ---- round robin ---- */

static void test_round_robin(void)
{
	begin(ADMA_ROUND_ROBIN, 1 + draw(&seed) % ADMA_COPY_WORKERS_MAX);
	for (int i = 0; i < 3000; i++) {
		uint32_t worker = (uint32_t)(draw(&seed) % schedule.workers);
		struct job *job;

		if (draw(&seed) % 3)
			arrive((unsigned int)(draw(&seed) % ADMA_CLASSES));
		if (!(draw(&seed) % 50))
			cancel_one();
		job = take(worker);
		if (!job)
			continue;
		/* Work i is worker i's, modulo their number. A worker does it whole, and in order of arrival. */
		REQUIRE(job->worker == worker);
		for (int k = 0; k < WORKS; k++)
			REQUIRE(!jobs[k].listed || jobs[k].worker != worker || jobs[k].number >= job->number);
	}
}

int main(void)
{
	static const unsigned int weights[][ADMA_CLASSES] = {{900, 10, 5}, {1000, 1000, 5}, {300, 30, 30}, {500, 0, 5},
							     {0, 100, 5},  {10, 10, 10},    {0, 500, 500}};

	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
		for (unsigned int busy = 40; busy <= 100; busy += 30)
			test_adaptive(weights[i], busy);
	test_priority();
	test_assist();
	for (int i = 0; i < 10; i++)
		test_round_robin();
	puts("schedule: no class starves, and the order of arrival holds");
	return 0;
}
