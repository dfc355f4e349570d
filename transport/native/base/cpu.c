/* SPDX-License-Identifier: BSD-3-Clause */
/* cpu.c - the affinity of this process and the load of the machine. */
#include "base/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/own.h"

/* What is known about the load. */
enum cpu_load { LOAD_FREE = 0, LOAD_SUSPECTED = 1, LOAD_OVERSUBSCRIBED = 2 };

#define LOOK_NS 10000000       /* between two looks while the cores suffice */
#define LOOK_AGAIN_NS 1000000  /* between two looks otherwise; a look takes 5 us */
#define BELIEVE_NS 50000000    /* for how long a preemption counts as evidence */
#define MOVE_NS 1000000        /* between two moves: where all cores are busy, moving helps nobody */
#define PEERS_KNOWN \
	16 /* of how many processes an answer is kept: those that a thread exchanges messages with at a time */

int adma_cpu_count_now(void)
{
	cpu_set_t set;

	/* It fails where there are more cores than the set has room for. */
	return sched_getaffinity(0, sizeof(set), &set) ? CPU_SETSIZE : CPU_COUNT(&set);
}

/* Each thread asks for itself, because the affinity is a thread's own: whoever pins one thread does not pin the others. */
int adma_cpu_count_within(int64_t age, int64_t now)
{
	static _Thread_local int known;
	static _Thread_local int64_t asked;

	if (!known || now - asked > age) {
		known = adma_cpu_count_now();
		asked = now;
	}
	return known;
}

int adma_cpu_count(int64_t now)
{
	return adma_cpu_count_within(LOOK_NS, now);
}

/* How many cores are online, as it was a second ago at most: get_nprocs() opens a file. */
static int cpu_online(int64_t now)
{
	static _Atomic int64_t asked;
	static _Atomic int known;
	int64_t before = atomic_load_explicit(&asked, memory_order_acquire);

	if (!before || now - before >= ADMA_REST_NS) {
		atomic_store_explicit(&known, get_nprocs(), memory_order_relaxed);
		atomic_store_explicit(&asked, now, memory_order_release);
	}
	return atomic_load_explicit(&known, memory_order_relaxed);
}

/*
 * Among how many cores the runnable tasks are counted. The tasks of the whole machine are no matter of the one core that
 * a thread is bound to.
 */
static int load_cores(int64_t now)
{
	int cores = adma_cpu_count(now);

	return cores < 2 ? cpu_online(now) : cores;
}

/* The number of runnable tasks. The fourth field of /proc/loadavg is `runnable/all`. */
static int load_runnable(void)
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

/* How often threads of this process were preempted: taken off their core although they had more to do. */
static long load_preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

/*
 * Look again, and return what is known now. Since Linux 6.12 the number of runnable tasks
 * includes some that fell asleep a moment ago, so that number alone proves nothing. On an
 * oversubscribed machine this process is preempted as well, which proves it. That is asked first, since
 * the answer costs no file: a process that was not preempted need not ask for the other one.
 * A process that no longer spins is not preempted, so the evidence expires after a while and has to be found anew.
 */
static enum cpu_load load_look(enum cpu_load known, int64_t now)
{
	static _Atomic long before;
	static _Atomic int64_t believed;
	long count = load_preemptions();
	bool preempted = atomic_exchange_explicit(&before, count, memory_order_relaxed) != count;

	if ((known == LOAD_FREE && !preempted) || load_runnable() <= load_cores(now))
		return LOAD_FREE;
	if (known == LOAD_OVERSUBSCRIBED && now - atomic_load_explicit(&believed, memory_order_relaxed) < BELIEVE_NS)
		return LOAD_OVERSUBSCRIBED;
	if (!preempted || known != LOAD_SUSPECTED)
		return LOAD_SUSPECTED;
	atomic_store_explicit(&believed, now, memory_order_relaxed);
	return LOAD_OVERSUBSCRIBED;
}

static bool load_is_too_high(int64_t now, bool may_look)
{
	static _Atomic int64_t asked;
	static _Atomic int known;
	enum cpu_load answer = (enum cpu_load)atomic_load_explicit(&known, memory_order_relaxed);
	int64_t before = atomic_load_explicit(&asked, memory_order_relaxed);

	/* One thread looks at a time. The others use an answer that is a moment old. */
	if (may_look && now - before > (answer ? LOOK_AGAIN_NS : LOOK_NS) &&
	    atomic_compare_exchange_strong_explicit(&asked, &before, now, memory_order_relaxed, memory_order_relaxed)) {
		answer = load_look(answer, now);
		atomic_store_explicit(&known, answer, memory_order_relaxed);
	}
	return answer == LOAD_OVERSUBSCRIBED;
}

bool adma_cpu_loaded(int64_t now)
{
	return load_is_too_high(now, true);
}

bool adma_cpu_was_loaded(int64_t now)
{
	return load_is_too_high(now, false);
}

bool adma_cpu_oversubscribed(int64_t now)
{
	return adma_cpu_count(now) < 2 || adma_cpu_loaded(now);
}

bool adma_cpu_was_oversubscribed(int64_t now)
{
	return adma_cpu_count_within(ADMA_REST_NS, now) < 2 || adma_cpu_was_loaded(now);
}

bool adma_cpu_shared_with(int32_t pid)
{
	cpu_set_t ours, theirs;

	if (pid <= 0 || sched_getaffinity(0, sizeof(ours), &ours) || CPU_COUNT(&ours) != 1)
		return false;
	return !sched_getaffinity(pid, sizeof(theirs), &theirs) && CPU_EQUAL(&ours, &theirs);
}

/* Each thread keeps its own answers, for as long as the number of its cores: both may change while it runs. */
static bool cpu_was_shared_with(int32_t pid, int64_t now)
{
	static _Thread_local struct {
		int64_t asked;
		int32_t pid;
		int core;
		bool shared;
	} known[PEERS_KNOWN], *peer;
	int core = sched_getcpu();

	peer = &known[(uint32_t)pid % PEERS_KNOWN];
	if (peer->pid != pid || peer->core != core || now - peer->asked > LOOK_NS) {
		peer->asked = now;
		peer->pid = pid;
		peer->core = core;
		peer->shared = adma_cpu_shared_with(pid);
	}
	return peer->shared;
}

bool adma_cpu_short_with(int32_t pid, int64_t now)
{
	return (adma_cpu_count(now) < 2 && cpu_was_shared_with(pid, now)) || adma_cpu_loaded(now);
}

/*
 * May this thread run on every core? If not, the user or a tool chose its cores, and may be about to
 * choose again: such a choice is not ours to overwrite.
 */
static bool cpu_set_is_free(const cpu_set_t *set, int64_t now)
{
	return CPU_COUNT(set) == cpu_online(now);
}

void adma_cpu_avoid(int core, int64_t now, int64_t *moved)
{
	cpu_set_t set;

	if (sched_getcpu() != core || core < 0 || core >= CPU_SETSIZE || now - *moved < MOVE_NS)
		return;
	*moved = now;
	if (sched_getaffinity(0, sizeof(set), &set) || !cpu_set_is_free(&set, now) || CPU_COUNT(&set) < 2)
		return;
	CPU_CLR(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return;
	/*
	 * The thread has moved, so it may use all cores again. The set names more cores than there
	 * are, for those that may come later: the kernel leaves out what this process may not use.
	 */
	memset(&set, 0xff, sizeof(set));
	(void)sched_setaffinity(0, sizeof(set), &set);
}
