/* SPDX-License-Identifier: BSD-3-Clause */
/* cores.c - affinity and load. */
#include "cores.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_NS 10000000
#define LOOK_AGAIN_NS 1000000 /* a look takes 5 us */

int adma_cores_now(void)
{
	cpu_set_t set;

	/* More cores than the set has room for: many, in any case. */
	return sched_getaffinity(0, sizeof(set), &set) ? CPU_SETSIZE : CPU_COUNT(&set);
}

int adma_cores(void)
{
	static _Atomic int known;
	int n = atomic_load_explicit(&known, memory_order_relaxed);

	if (n)
		return n;
	n = adma_cores_now();
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

/*
 * A task of the kernel that runs for a moment is no crowd: it takes two looks. A crowd that
 * has gone is noticed soon, since who does not spin is late.
 */
bool adma_crowded(int64_t now)
{
	static _Atomic int64_t asked;
	static _Atomic int crowds; /* seen by the last looks in a row, 2 at most */
	int seen = atomic_load_explicit(&crowds, memory_order_relaxed);

	if (adma_cores() < 2)
		return true;
	if (now - atomic_load_explicit(&asked, memory_order_relaxed) > (seen ? LOOK_AGAIN_NS : LOOK_NS)) {
		atomic_store_explicit(&asked, now, memory_order_relaxed);
		seen = runnable() <= adma_cores() ? 0 : seen ? 2 : 1;
		atomic_store_explicit(&crowds, seen, memory_order_relaxed);
	}
	return seen == 2;
}
