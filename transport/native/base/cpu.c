/* SPDX-License-Identifier: BSD-3-Clause */
/* cores.c - affinity and load. */
#include "base/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { QUIET = 0, MAYBE = 1, CROWD = 2 };

#define LOOK_NS 10000000
#define LOOK_AGAIN_NS 1000000 /* a look takes 5 us */
#define BELIEVE_NS 50000000
#define MOVE_NS 1000000 /* where all cores are taken no other one is better */

int adma_cpu_count_now(void)
{
	cpu_set_t set;

	/* More cores than the set has room for: many, in any case. */
	return sched_getaffinity(0, sizeof(set), &set) ? CPU_SETSIZE : CPU_COUNT(&set);
}

int adma_cpu_count(void)
{
	static _Atomic int known;
	int n = atomic_load_explicit(&known, memory_order_relaxed);

	if (n)
		return n;
	n = adma_cpu_count_now();
	atomic_store_explicit(&known, n, memory_order_relaxed);
	return n;
}

/* The fourth field of /proc/loadavg: runnable/all. */
static int runnable(void)
{
	char text[128];
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	char *p = text;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	for (int blanks = 0; *p && blanks < 3; p++)
		blanks += *p == ' ';
	return atoi(p);
}

/* How often threads of this process were taken off their core although they had more to do. */
static long preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

/*
 * What is known after another look. Since Linux 6.12 the kernel counts some tasks as runnable that fell asleep a
 * moment ago, so its number alone shows nothing: in a crowd we are preempted, too. Who no longer
 * spins is not, so that a crowd is forgotten after a while, to be shown anew.
 */
static int look(int known, int64_t now)
{
	static _Atomic long before;
	static _Atomic int64_t believed;
	long count;

	if (runnable() <= adma_cpu_count())
		return QUIET;
	if (known == CROWD && now - atomic_load_explicit(&believed, memory_order_relaxed) < BELIEVE_NS)
		return CROWD;
	count = preemptions();
	if (atomic_exchange_explicit(&before, count, memory_order_relaxed) == count || known != MAYBE)
		return MAYBE;
	atomic_store_explicit(&believed, now, memory_order_relaxed);
	return CROWD;
}

bool adma_cpu_oversubscribed(int64_t now)
{
	static _Atomic int64_t asked;
	static _Atomic int known;
	int answer = atomic_load_explicit(&known, memory_order_relaxed);
	int64_t before = atomic_load_explicit(&asked, memory_order_relaxed);

	if (adma_cpu_count() < 2)
		return true;
	/* One thread looks; what the others go by meanwhile is a moment old. */
	if (now - before > (answer ? LOOK_AGAIN_NS : LOOK_NS) &&
	    atomic_compare_exchange_strong_explicit(&asked, &before, now, memory_order_relaxed, memory_order_relaxed)) {
		answer = look(answer, now);
		atomic_store_explicit(&known, answer, memory_order_relaxed);
	}
	return answer == CROWD;
}

/* May this thread run everywhere? Else somebody chose its cores, and may be about to choose again. */
static bool is_free(const cpu_set_t *set)
{
	return CPU_COUNT(set) == get_nprocs();
}

void adma_cpu_avoid(int core, int64_t now, int64_t *moved)
{
	cpu_set_t set;

	if (sched_getcpu() != core || core < 0 || core >= CPU_SETSIZE || now - *moved < MOVE_NS)
		return;
	*moved = now;
	if (sched_getaffinity(0, sizeof(set), &set) || !is_free(&set) || CPU_COUNT(&set) < 2)
		return;
	CPU_CLR(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return;
	/* That was for a moment. All there are and will be: the kernel leaves out what it may not use. */
	memset(&set, 0xff, sizeof(set));
	(void)sched_setaffinity(0, sizeof(set), &set);
}
