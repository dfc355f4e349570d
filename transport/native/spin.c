/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.c - how long to spin, and the spin of a read that waits for one message. */
#include "spin.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define SPIN_MAX_NS 100000
#define SPIN_MIN_NS 2000

int64_t adma_spin_max_ns(void)
{
	return SPIN_MAX_NS;
}

/* ---- how long to spin ---- */

static int cores(void)
{
	static _Atomic int known;
	cpu_set_t set;
	int n = atomic_load_explicit(&known, memory_order_relaxed);

	if (n)
		return n;
	n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
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

/* With more runnable processes than cores a spinner keeps the one it waits for from running. */
static bool crowded(int64_t now)
{
	static _Atomic int64_t asked;
	static _Atomic bool answer;
	const int64_t again = 10 * 1000000;

	if (cores() < 2)
		return true;
	if (now - atomic_load_explicit(&asked, memory_order_relaxed) > again) {
		atomic_store_explicit(&asked, now, memory_order_relaxed);
		atomic_store_explicit(&answer, runnable() > cores(), memory_order_relaxed);
	}
	return atomic_load_explicit(&answer, memory_order_relaxed);
}

int64_t adma_spin_limit(struct adma_chan *chan, int64_t asked, int64_t now)
{
	if (asked >= 0)
		return asked;
	return crowded(now) ? 0 : chan->spin_ns;
}

/* What spinning brought: found something, or ended in a sleep of `slept` ns. */
void adma_spin_learned(struct adma_chan *chan, int64_t slept)
{
	if (slept < SPIN_MAX_NS)
		chan->spin_ns = SPIN_MAX_NS; /* a little longer would have done */
	else if (chan->spin_ns > SPIN_MIN_NS)
		chan->spin_ns = chan->spin_ns * 3 / 4;
}

bool adma_spin_for_message(struct adma_chan *chan, int64_t spin_ns)
{
	int64_t now = adma_now();
	int64_t end = now + adma_spin_limit(chan, spin_ns, now);
	struct adma_hint hint = adma_take_hint(chan, adma_bell_read(&chan->out.half->bell), true);
	bool came = adma_message_came(&hint);

	if (came || end == now)
		return came;
	chan->users++;
	pthread_mutex_unlock(&chan->lock);
	for (unsigned int i = 1; !came; i++) {
		adma_relax();
		came = adma_message_came(&hint);
		/* Seldom: the peer's ringing and our reading of the bell would trade its line. */
		if (i % 32 == 0 && (adma_now() > end || adma_bell_rang(&hint)))
			break;
	}
	came = adma_message_came(&hint);
	pthread_mutex_lock(&chan->lock);
	chan->users--;
	return came;
}
