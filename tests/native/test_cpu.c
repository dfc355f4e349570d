/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_cpu.c - oversubscription is noticed, and its end; a thread that is moved keeps its affinity; no file is opened
 * without need.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "require.h"

#define HANG_NS 60000000000ll
#define BUSY_MAX 256

static atomic_bool enough;

/* ---- what the core asks the system ---- */

static bool undisturbed; /* this process was never preempted */
static int opened, counted_online;

int __real_getrusage(int who, struct rusage *usage);
int __wrap_getrusage(int who, struct rusage *usage);
int __real_open(const char *path, int flags);
int __wrap_open(const char *path, int flags);
int __real_get_nprocs(void);
int __wrap_get_nprocs(void);

int __wrap_getrusage(int who, struct rusage *usage)
{
	int rc = __real_getrusage(who, usage);

	if (undisturbed)
		usage->ru_nivcsw = 0;
	return rc;
}

int __wrap_open(const char *path, int flags)
{
	opened++;
	return __real_open(path, flags);
}

int __wrap_get_nprocs(void)
{
	counted_online++;
	return __real_get_nprocs();
}

/* A process that was not preempted does not read how many tasks are runnable; one that was does. */
static void the_load_is_read_on_evidence_only(void)
{
	int64_t now = adma_now();

	undisturbed = true;
	for (int i = 0; i < 100; i++)
		REQUIRE(adma_cpu_oversubscribed(now += 20000000) == (adma_cpu_count_now() < 2));
	REQUIRE(!opened);
	undisturbed = false;
}

/* Whoever sleeps most of the time does not look, whatever has happened. */
static void the_idle_do_not_look(void)
{
	int before = opened;

	for (int64_t now = adma_now(), end = now + 100 * 20000000ll; now < end; now += 20000000)
		(void)adma_cpu_was_oversubscribed(now);
	REQUIRE(opened == before);
}

/* ---- oversubscription ---- */

static void *be_busy(void *nothing)
{
	(void)nothing;
	while (!atomic_load_explicit(&enough, memory_order_relaxed))
		;
	return NULL;
}

/* Ask again and again, as a thread that spins does, until this is the answer. */
static void until(bool oversubscribed)
{
	int64_t hang = adma_now() + HANG_NS;

	while (adma_cpu_oversubscribed(adma_now()) != oversubscribed)
		REQUIRE(adma_now() < hang);
}

static void oversubscription_comes_and_goes(void)
{
	pthread_t threads[BUSY_MAX];
	int cores = adma_cpu_count_now();
	int n = 2 * cores < BUSY_MAX ? 2 * cores : BUSY_MAX;

	for (int i = 0; i < n; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, be_busy, NULL));
	until(true);
	atomic_store(&enough, true);
	for (int i = 0; i < n; i++)
		REQUIRE(!pthread_join(threads[i], NULL));
	until(cores < 2); /* the only core is always taken, by the thread that asks */
}

static void stay_on(int core)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(core, &one);
	REQUIRE(!sched_setaffinity(0, sizeof(one), &one));
}

/* Run on `core` without having to, and avoid it. Does this thread run elsewhere then? */
static bool is_moved(int core, const cpu_set_t *all, int64_t *moved)
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

/* A thread whose cores somebody chose is not moved. */
static bool may_be_moved(const cpu_set_t *all)
{
	return CPU_COUNT(all) > 1 && CPU_COUNT(all) == __real_get_nprocs();
}

static void it_avoids_a_core(void)
{
	cpu_set_t all;
	int core = sched_getcpu();
	int64_t begin = adma_now(), hang = begin + HANG_NS, moved;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all));
	for (int i = 0; i < 100; i++) {
		moved = 0;
		adma_cpu_avoid(sched_getcpu(), adma_now(), &moved);
	}
	do {
		REQUIRE(adma_now() < hang);
		moved = 0;
	} while (may_be_moved(&all) && !is_moved(core, &all, &moved));
	moved = adma_now(); /* it was moved a moment ago, so it is not moved again */
	(void)is_moved(core, &all, &moved);
	REQUIRE(counted_online <= 1 + (adma_now() - begin) / 1000000000);
	moved = 0;
	adma_cpu_avoid(-1, adma_now(), &moved);
	adma_cpu_avoid(1 << 20, adma_now(), &moved);
	REQUIRE(moved == 0);
	/* A thread that may use only this core stays there, and may use it as before. */
	stay_on(core);
	adma_cpu_avoid(core, adma_now(), &moved);
	REQUIRE(sched_getcpu() == core);
}

static void *count_cores(void *count)
{
	*(int *)count = adma_cpu_count(adma_now());
	return NULL;
}

/* A thread that is pinned while it runs finds that it has one core, and later that it has all again. */
static void cores_are_counted_again(void)
{
	cpu_set_t all;
	pthread_t other;
	int counted, before = adma_cpu_count(adma_now());
	int64_t hang = adma_now() + HANG_NS;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all) && before == CPU_COUNT(&all));
	stay_on(sched_getcpu());
	while (adma_cpu_count(adma_now()) != 1)
		REQUIRE(adma_now() < hang);
	REQUIRE(adma_cpu_oversubscribed(adma_now())); /* who waits there must not spin */
	REQUIRE(!sched_setaffinity(0, sizeof(all), &all));
	/* What one thread found is not what another one has. */
	REQUIRE(!pthread_create(&other, NULL, count_cores, &counted) && !pthread_join(other, NULL));
	REQUIRE(counted == before);
	while (adma_cpu_count(adma_now()) != before)
		REQUIRE(adma_now() < hang);
}

/* A process that sleeps on a core, until it is killed. */
static pid_t process_on(int core)
{
	int started[2];
	char byte;
	pid_t pid;

	REQUIRE(!pipe(started));
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		stay_on(core);
		REQUIRE(write(started[1], "", 1) == 1);
		for (;;)
			(void)pause();
	}
	REQUIRE(read(started[0], &byte, 1) == 1);
	REQUIRE(!close(started[0]) && !close(started[1]));
	return pid;
}

static int another_core(const cpu_set_t *all, int core)
{
	for (int other = 0; other < CPU_SETSIZE; other++)
		if (other != core && CPU_ISSET(other, all))
			return other;
	return -1;
}

/* Whoever is bound to a core may spin for a process on another core, and not for one on its own. */
static void a_core_is_shared_or_not(void)
{
	cpu_set_t all;
	int core = sched_getcpu(), other;
	pid_t here = process_on(core), there;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all));
	other = another_core(&all, core);
	there = other < 0 ? 0 : process_on(other);
	undisturbed = true; /* what else the machine does is of no interest here */
	REQUIRE(adma_cpu_shared_with(here) == (other < 0));
	stay_on(core);
	REQUIRE(adma_cpu_count_within(0, adma_now()) == 1);
	REQUIRE(adma_cpu_shared_with(here) && adma_cpu_short_with(here, adma_now()));
	REQUIRE(!adma_cpu_shared_with(there) && !adma_cpu_short_with(there, adma_now()));
	REQUIRE(!adma_cpu_shared_with(0));
	undisturbed = false;
	REQUIRE(!sched_setaffinity(0, sizeof(all), &all) && adma_cpu_count_now() == CPU_COUNT(&all));
	REQUIRE(!kill(here, SIGKILL) && waitpid(here, NULL, 0) == here);
	REQUIRE(!there || (!kill(there, SIGKILL) && waitpid(there, NULL, 0) == there));
	REQUIRE(!adma_cpu_shared_with(here)); /* which is no more */
}

/* What was found of a process holds for a moment, and is found anew later. */
static void a_shared_core_is_remembered(void)
{
	cpu_set_t all, one;
	int core = sched_getcpu(), other;
	pid_t here = process_on(core);
	int64_t now;

	REQUIRE(!sched_getaffinity(0, sizeof(all), &all));
	other = another_core(&all, core);
	undisturbed = true;
	stay_on(core);
	now = adma_now();
	REQUIRE(adma_cpu_count_within(0, now) == 1 && adma_cpu_short_with(here, now));
	CPU_ZERO(&one);
	CPU_SET(other < 0 ? core : other, &one);
	REQUIRE(!sched_setaffinity(here, sizeof(one), &one));
	REQUIRE(adma_cpu_short_with(here, now + 1000000));
	REQUIRE(adma_cpu_short_with(here, now + 11000000) == (other < 0));
	undisturbed = false;
	REQUIRE(!sched_setaffinity(0, sizeof(all), &all) && adma_cpu_count_now() == CPU_COUNT(&all));
	REQUIRE(!kill(here, SIGKILL) && waitpid(here, NULL, 0) == here);
}

int main(void)
{
	the_load_is_read_on_evidence_only();
	cores_are_counted_again();
	a_core_is_shared_or_not();
	a_shared_core_is_remembered();
	oversubscription_comes_and_goes();
	the_idle_do_not_look();
	it_avoids_a_core();
	puts("cpu: cores are counted again, oversubscription is noticed, a core is shared or not, a core is avoided");
	return 0;
}
