/* SPDX-License-Identifier: BSD-3-Clause */
/* test_cpu.c - a crowd is noticed, and its end; a thread of ours goes out of the way and is otherwise as it was. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "require.h"

#define HANG_NS 60000000000ll
#define BUSY_MAX 256

static atomic_bool enough;

static void *be_busy(void *nothing)
{
	(void)nothing;
	while (!atomic_load_explicit(&enough, memory_order_relaxed))
		;
	return NULL;
}

/* Looks as those who spin do, busy meanwhile, until it is answered so. */
static void until(bool crowded)
{
	int64_t hang = adma_now() + HANG_NS;

	while (adma_cpu_oversubscribed(adma_now()) != crowded)
		REQUIRE(adma_now() < hang);
}

static void a_crowd_comes_and_goes(void)
{
	pthread_t threads[BUSY_MAX];
	int n = 2 * adma_cpu_count() < BUSY_MAX ? 2 * adma_cpu_count() : BUSY_MAX;

	for (int i = 0; i < n; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, be_busy, NULL));
	until(true);
	atomic_store(&enough, true);
	for (int i = 0; i < n; i++)
		REQUIRE(!pthread_join(threads[i], NULL));
	until(adma_cpu_count() < 2); /* one core is always taken: by who asks */
}

static void stay_on(int core)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(core, &one);
	REQUIRE(!sched_setaffinity(0, sizeof(one), &one));
}

/* On `core`, which it need not stay on; asked to keep clear of it. Is it elsewhere? */
static bool goes(int core, const cpu_set_t *all, int64_t *moved)
{
	cpu_set_t after;
	int there;

	stay_on(core);
	REQUIRE(!sched_setaffinity(0, sizeof(*all), all));
	adma_cpu_avoid(core, adma_now(), moved);
	there = sched_getcpu();
	REQUIRE(!sched_getaffinity(0, sizeof(after), &after) && CPU_EQUAL(&after, all));
	return there != core;
}

/* Whose cores somebody chose stays there. */
static bool may_go(const cpu_set_t *all)
{
	return CPU_COUNT(all) > 1 && CPU_COUNT(all) == get_nprocs();
}

static void it_keeps_clear(void)
{
	cpu_set_t all;
	int core = sched_getcpu();
	int64_t hang = adma_now() + HANG_NS, moved;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all));
	do {
		REQUIRE(adma_now() < hang);
		moved = 0;
	} while (may_go(&all) && !goes(core, &all, &moved));
	moved = adma_now(); /* a moment ago */
	(void)goes(core, &all, &moved);
	moved = 0;
	adma_cpu_avoid(-1, adma_now(), &moved);
	adma_cpu_avoid(1 << 20, adma_now(), &moved);
	REQUIRE(moved == 0);
	/* Where there is only this core it stays, and may use it as before. */
	stay_on(core);
	adma_cpu_avoid(core, adma_now(), &moved);
	REQUIRE(sched_getcpu() == core);
}

int main(void)
{
	a_crowd_comes_and_goes();
	it_keeps_clear();
	puts("cores: a crowd noticed, a core left");
	return 0;
}
