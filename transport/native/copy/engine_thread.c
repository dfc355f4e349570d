/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_thread.c - the engine made of threads: each is a queue, asleep while there is nothing to do.
 * And the one with none of them, `caller`, where only who waits copies.
 *
 * Who lists work marks, under the lock, which sleeping queues are to be woken, and kicks
 * them without it. A queue that has found nothing sleeps on its bell, as it read it
 * under the lock; so what was listed after that finds it marked as sleeping.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "adma.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/relax.h"
#include "base/thread.h"
#include "copy/engine.h"
#include "copy/part.h"

/* How long a queue looks for more before it sleeps, since waking it costs more. Adapts. */
#define IDLE_SPIN_MIN_NS 20000
#define IDLE_SPIN_MAX_NS 200000

static struct {
	struct adma_schedule schedule;
	pthread_t threads[ADMA_QUEUES_MAX];
	_Atomic uint32_t bells[ADMA_QUEUES_MAX]; /* a queue sleeps on its own */
	int64_t spin_ns[ADMA_QUEUES_MAX];        /* each queue's own, as is */
	int64_t moved[ADMA_QUEUES_MAX];          /* when it last left a core to who works there */
	uint32_t sleeping;                       /* queues, a bit each */
	_Atomic uint32_t to_wake;                /* of these: marked by submit, woken by kick */
	_Atomic bool news;                       /* listed and not yet told of */
	_Atomic uint32_t told;                   /* counts kicks with news: spinning queues look at it */
	_Atomic int kicker;                      /* the core that last woke a queue */
	uint32_t running;
	bool stop;
} self;

static _Thread_local bool is_queue;

/* ---- parts ---- */

static struct adma_copy *copy_of(const struct adma_work *work)
{
	return (struct adma_copy *)((char *)(uintptr_t)work - offsetof(struct adma_copy, work));
}

static void put_back(struct adma_work *work);

/* With the lock, dropped meanwhile. */
static bool do_part(struct adma_copy *copy)
{
	struct adma_part part;

	if (!adma_part_claim(copy, &part)) {
		adma_schedule_remove(&self.schedule, &copy->work);
		return false;
	}
	if (!adma_part_more(copy))
		adma_schedule_remove(&self.schedule, &copy->work);
	adma_engine_unlock();
	adma_part_run(copy, &part);
	adma_engine_lock();
	if (adma_part_retire(copy, &part))
		put_back(&copy->work);
	return true;
}

bool adma_queue_here(void)
{
	return is_queue;
}

static struct adma_assist *lending_of(struct adma_work *work)
{
	return (struct adma_assist *)((char *)work - offsetof(struct adma_assist, work));
}

static void stand_in_line(struct adma_assist *lending)
{
	lending->work.lent = 1;
	lending->work.bytes = lending->bytes;
	adma_schedule_add(&self.schedule, &lending->work);
}

/* With the lock, dropped meanwhile. */
static void do_lent(struct adma_assist *lending)
{
	bool done;

	/* Behind the others, before the part: other queues may help with it, too. */
	adma_schedule_remove(&self.schedule, &lending->work);
	stand_in_line(lending);
	lending->busy++;
	adma_engine_unlock();
	done = lending->part(lending);
	adma_engine_lock();
	/* Another may have found nothing before, and it may be listed anew: then this one is needless, once. */
	if (!done)
		adma_schedule_remove(&self.schedule, &lending->work);
	if (!--lending->busy)
		pthread_cond_broadcast(&adma_offload.unlent);
}

/* ---- listing, waking ---- */

/* With the lock: as many sleeping queues as there are parts, or the one whose line it stands in. */
static void mark_sleepers(const struct adma_work *work, uint64_t parts)
{
	uint32_t candidates = self.sleeping & ~atomic_load_explicit(&self.to_wake, memory_order_relaxed);
	uint32_t marked = 0;

	if (self.schedule.policy == ADMA_ROUND_ROBIN) {
		candidates &= 1u << work->line;
		parts = 1;
	}
	for (; candidates && parts; parts--) {
		uint32_t lowest = candidates & -candidates;

		marked |= lowest;
		candidates &= ~lowest;
	}
	if (marked)
		atomic_fetch_or_explicit(&self.to_wake, marked, memory_order_relaxed);
}

/* With the lock: it was listed, in so many parts. */
static void tell(const struct adma_work *work, uint64_t parts)
{
	atomic_store_explicit(&self.news, true, memory_order_relaxed);
	mark_sleepers(work, parts);
}

/* A queue goes on with what it puts back; a caller may leave, and a queue has to be awake for it. */
static void put_back(struct adma_work *work)
{
	adma_schedule_return(&self.schedule, work);
	if (!is_queue)
		tell(work, 1);
}

/* Not under the lock: who is told takes it at once. */
static void kick(void)
{
	uint32_t marked;

	if (atomic_load_explicit(&self.news, memory_order_relaxed)) {
		atomic_store_explicit(&self.news, false, memory_order_relaxed);
		atomic_fetch_add_explicit(&self.told, 1, memory_order_relaxed);
	}
	/*
	 * Not because of news: another kick may have taken those between a list and its marks. Our own
	 * marks we see, unless another kick took them, which then wakes.
	 */
	if (!atomic_load_explicit(&self.to_wake, memory_order_relaxed))
		return;
	marked = atomic_exchange(&self.to_wake, 0);
	atomic_store_explicit(&self.kicker, sched_getcpu(), memory_order_relaxed);
	while (marked) {
		int queue = __builtin_ctz(marked);

		marked &= marked - 1;
		atomic_fetch_add(&self.bells[queue], 1);
		adma_futex_wake(&self.bells[queue], 1);
	}
}

/*
 * With the lock, dropped meanwhile: for what an end made ready. Marks, not only news: a kick of somebody
 * else may have taken the news between our list and our marks, and found none.
 */
static void kick_from_within(void)
{
	if (!atomic_load_explicit(&self.news, memory_order_relaxed) &&
	    !atomic_load_explicit(&self.to_wake, memory_order_relaxed))
		return;
	adma_engine_unlock();
	kick();
	adma_engine_lock();
}

static void submit(struct adma_copy *copy)
{
	copy->work.bytes = copy->plan.bytes;
	copy->work.lent = 0;
	adma_schedule_add(&self.schedule, &copy->work);
	tell(&copy->work, copy->plan.in_order ? 1 : copy->plan.parts);
}

static void lend(struct adma_assist *lending, uint64_t parts)
{
	stand_in_line(lending);
	tell(&lending->work, parts);
}

static void take_back(struct adma_assist *lending)
{
	adma_schedule_remove(&self.schedule, &lending->work);
}

/* With the lock: the queues are gone, and only copies are left to callers. */
static void take_all_back(void)
{
	for (uint32_t i = 0; i < ADMA_RUN_QUEUES; i++) {
		for (struct adma_work *work = self.schedule.lines[i].first, *next; work; work = next) {
			next = work->next;
			if (work->lent)
				adma_schedule_remove(&self.schedule, work);
		}
	}
}

static bool cancel(struct adma_copy *copy)
{
	if (copy->claimed)
		return false;
	adma_schedule_remove(&self.schedule, &copy->work);
	return true;
}

/*
 * For a caller: of any copy, what queue 0 would take; round robin, what the first queue with work would. Messages
 * have threads of their own that wait for them.
 */
static struct adma_work *anything(void)
{
	for (uint32_t queue = 0; queue < self.schedule.queues; queue++)
		if (adma_schedule_any(&self.schedule, queue, false))
			return adma_schedule_next(&self.schedule, queue, false);
	return NULL;
}

static bool help(struct adma_copy *copy)
{
	struct adma_work *work = copy ? &copy->work : anything();

	if (!work || !do_part(copy_of(work)))
		return false;
	adma_offload.stats.parts_callers++;
	kick_from_within();
	return true;
}

/* ---- the queues ---- */

/* Without the lock: is more listed within a moment? */
static bool spin(uint32_t told, int64_t ns)
{
	int64_t now = adma_now(), end = now + ns;

	if (adma_cpu_oversubscribed(now))
		return false;
	for (unsigned int i = 1; i % 32 || adma_now() < end; i++) {
		if (atomic_load_explicit(&self.told, memory_order_relaxed) != told)
			return true;
		adma_relax();
	}
	return false;
}

/* A sleep that was short should not have begun; after long ones there is less and less to wait for. */
static int64_t learned(int64_t spin_ns, int64_t slept)
{
	if (slept < IDLE_SPIN_MAX_NS)
		return IDLE_SPIN_MAX_NS;
	return spin_ns * 3 / 4 > IDLE_SPIN_MIN_NS ? spin_ns * 3 / 4 : IDLE_SPIN_MIN_NS;
}

/* With the lock, dropped meanwhile. */
static void rest(uint32_t queue)
{
	uint32_t told = atomic_load_explicit(&self.told, memory_order_relaxed), bell;
	int64_t since, now;

	adma_engine_unlock();
	/* One core is the callers': the last queue of as many as there are cores does not look for long. */
	bool found = (int)queue + 1 < adma_cpu_count() && spin(told, self.spin_ns[queue]);
	adma_engine_lock();
	if (found || self.stop || adma_schedule_any(&self.schedule, queue, true))
		return;
	bell = atomic_load(&self.bells[queue]);
	self.sleeping |= 1u << queue;
	adma_offload.stats.sleeps++;
	adma_engine_unlock();
	since = adma_now();
	(void)adma_futex_wait(&self.bells[queue], bell, -1);
	now = adma_now();
	self.spin_ns[queue] = learned(self.spin_ns[queue], now - since);
	adma_cpu_avoid(atomic_load_explicit(&self.kicker, memory_order_relaxed), now, &self.moved[queue]);
	adma_engine_lock();
	self.sleeping &= ~(1u << queue);
	adma_offload.stats.wakes++;
}

static void *serve(void *argument)
{
	uint32_t queue = (uint32_t)(uintptr_t)argument;

	is_queue = true;
	self.spin_ns[queue] = IDLE_SPIN_MIN_NS;
	adma_engine_lock();
	while (!self.stop) {
		struct adma_work *work = adma_schedule_next(&self.schedule, queue, true);

		if (!work) {
			rest(queue);
			continue;
		}
		if (work->lent)
			do_lent(lending_of(work));
		else if (do_part(copy_of(work)))
			adma_offload.stats.parts_queues++;
		kick_from_within();
	}
	adma_engine_unlock();
	return NULL;
}

static int make_thread(uint32_t queue)
{
	char name[16];
	int err = ADMA_FAULT(ADMA_FAULT_THREAD);

	(void)snprintf(name, sizeof(name), "adma-queue-%u", queue % ADMA_QUEUES_MAX);
	return err ? err : adma_thread_start(&self.threads[queue], name, 0, serve, (void *)(uintptr_t)queue);
}

/* ---- the interface ---- */

static int probe(void)
{
	return 0;
}

/* With the lock; nothing is listed. The counters stay: a kick of a moment ago may still be at them, harmlessly. */
static void reset(void)
{
	self.sleeping = 0;
	self.running = 0;
	self.stop = false;
	atomic_store(&self.to_wake, 0);
}

static int start(uint32_t queues, enum adma_policy policy)
{
	int rc = 0;

	reset();
	for (uint32_t i = 0; i < queues && !rc; i++) {
		rc = make_thread(i);
		self.running += !rc;
	}
	/* Fewer than asked for is no reason to have none. The threads wait for the lock until this is set. */
	adma_schedule_init(&self.schedule, policy, self.running ? self.running : 1);
	return self.running ? (int)self.running : -rc;
}

static int start_none(uint32_t queues, enum adma_policy policy)
{
	(void)queues;
	reset();
	adma_schedule_init(&self.schedule, policy, 1);
	return 0;
}

static void stop(void)
{
	uint32_t queues;

	adma_engine_lock();
	self.stop = true;
	queues = self.running;
	atomic_fetch_add(&self.told, 1);
	adma_engine_unlock();
	for (uint32_t i = 0; i < queues; i++) {
		atomic_fetch_add(&self.bells[i], 1);
		adma_futex_wake(&self.bells[i], 1);
		pthread_join(self.threads[i], NULL);
	}
	/* They are joined once, however often this is called. */
	adma_engine_lock();
	self.running = 0;
	take_all_back();
	adma_engine_unlock();
}

static void forked(void)
{
	memset(&self, 0, sizeof(self));
}

const struct adma_engine adma_engine_thread = {
	.name = "thread",
	.leaves = true,
	.probe = probe,
	.start = start,
	.stop = stop,
	.forked = forked,
	.submit = submit,
	.cancel = cancel,
	.help = help,
	.kick = kick,
	.lend = lend,
	.take_back = take_back,
};

const struct adma_engine adma_engine_caller = {
	.name = "caller",
	.leaves = true,
	.probe = probe,
	.start = start_none,
	.stop = stop,
	.forked = forked,
	.submit = submit,
	.cancel = cancel,
	.help = help,
	.kick = kick,
};
