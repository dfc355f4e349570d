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
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "adma.h"
#include "clock.h"
#include "cores.h"
#include "engine.h"
#include "fault.h"
#include "futex.h"
#include "relax.h"
#include "thread.h"
#include "tracing.h"

#define IDLE_SPIN_NS 20000 /* a queue looks for more before it sleeps: waking it costs more */

static struct {
	struct adma_schedule schedule;
	pthread_t threads[ADMA_QUEUES_MAX];
	_Atomic uint32_t bells[ADMA_QUEUES_MAX]; /* a queue sleeps on its own */
	uint32_t sleeping;                       /* queues, a bit each */
	_Atomic uint32_t to_wake;                /* of these: marked by submit, woken by kick */
	_Atomic bool news;                       /* listed and not yet told of */
	_Atomic uint32_t told;                   /* counts kicks with news: spinning queues look at it */
	uint32_t running;
	bool stop;
} self;

static _Thread_local bool is_queue;

/* ---- parts of copies ----
 *
 *   claim    (lock held)   which part; false: none just now, it is unlisted
 *   run      (no lock)     do it; several parts of one copy may go on at once, in several threads
 *   retire   (lock held)   it is done; the copy may be gone afterwards
 */

struct part {
	uint64_t number;
	enum adma_kernel kernel;
	int64_t ns; /* that it took */
};

/* What was measured of each class of size: it stays true when queues stop and start. */
static struct adma_kernel_samples measured[ADMA_CLASSES];

static struct adma_copy *copy_of(const struct adma_work *work)
{
	return (struct adma_copy *)((char *)(uintptr_t)work - offsetof(struct adma_copy, work));
}

static enum adma_kernel choose(const struct adma_copy *copy, uint64_t part)
{
	uint32_t forced = adma_offload.config.kernel;

	if (forced)
		return forced - 1;
	if (!adma_plan_has_choice(&copy->plan, part))
		return ADMA_KERNEL_LIBC;
	return adma_kernel_next(&measured[adma_class_of(copy->plan.bytes)]);
}

static bool claim(struct adma_copy *copy, struct part *part)
{
	if (copy->claimed == copy->plan.parts || (copy->plan.in_order && copy->claimed != copy->copied))
		return false;
	if (!copy->claimed) {
		copy->times.started = adma_now();
		__atomic_store_n(&copy->state, ADMA_COPY_RUNNING, __ATOMIC_RELAXED);
	}
	part->number = copy->claimed++;
	part->kernel = choose(copy, part->number);
	return true;
}

/* After a claim: could another one be made now? */
static bool more(const struct adma_copy *copy)
{
	return copy->claimed < copy->plan.parts && !copy->plan.in_order;
}

static void run(const struct adma_copy *copy, struct part *part)
{
	int64_t begin = adma_now();

	(void)ADMA_FAULT(ADMA_FAULT_CHUNK);
	adma_plan_run(&copy->plan, part->number, part->kernel);
	part->ns = adma_now() - begin;
	(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	adma_trace_span(ADMA_TRACE_COPY_PART, begin, copy, part->number, copy->plan.parts, 0);
}

static void put_back(struct adma_work *work);

static void retire(struct adma_copy *copy, const struct part *part)
{
	if (adma_plan_has_choice(&copy->plan, part->number))
		adma_kernel_took(&measured[adma_class_of(copy->plan.bytes)], part->kernel, part->ns);
	__atomic_store_n(&copy->copied, copy->copied + 1, __ATOMIC_RELAXED);
	if (copy->copied == copy->plan.parts) {
		copy->times.copied = adma_now();
		adma_copy_ended(copy, 0);
	} else if (copy->plan.in_order) {
		put_back(&copy->work);
	}
}

/* With the lock, dropped meanwhile. */
static bool do_part(struct adma_work *work)
{
	struct adma_copy *copy = copy_of(work);
	struct part part;

	if (!claim(copy, &part)) {
		adma_schedule_remove(&self.schedule, work);
		return false;
	}
	if (!more(copy))
		adma_schedule_remove(&self.schedule, work);
	adma_engine_unlock();
	run(copy, &part);
	adma_engine_lock();
	retire(copy, &part);
	return true;
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

static void list(struct adma_work *work, uint64_t parts)
{
	adma_schedule_add(&self.schedule, work);
	atomic_store_explicit(&self.news, true, memory_order_relaxed);
	mark_sleepers(work, parts);
}

/* A queue goes on with what it puts back; a caller may leave, and a queue has to be awake for it. */
static void put_back(struct adma_work *work)
{
	adma_schedule_return(&self.schedule, work);
	if (is_queue)
		return;
	atomic_store_explicit(&self.news, true, memory_order_relaxed);
	mark_sleepers(work, 1);
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
	list(&copy->work, copy->plan.in_order ? 1 : copy->plan.parts);
}

static bool cancel(struct adma_copy *copy)
{
	if (copy->claimed)
		return false;
	adma_schedule_remove(&self.schedule, &copy->work);
	return true;
}

/* For a caller: of anything, what queue 0 would take; round robin, what the first queue with work would. */
static struct adma_work *anything(void)
{
	for (uint32_t queue = 0; queue < self.schedule.queues; queue++)
		if (adma_schedule_any(&self.schedule, queue))
			return adma_schedule_next(&self.schedule, queue);
	return NULL;
}

static bool help(struct adma_copy *copy)
{
	struct adma_work *work = copy ? &copy->work : anything();

	if (!work || !do_part(work))
		return false;
	adma_offload.stats.parts_callers++;
	kick_from_within();
	return true;
}

/* ---- the queues ---- */

/* Without the lock: is more listed within a moment? */
static bool spin(uint32_t told)
{
	int64_t now = adma_now(), end = now + IDLE_SPIN_NS;

	if (adma_crowded(now))
		return false;
	for (unsigned int i = 1; i % 32 || adma_now() < end; i++) {
		if (atomic_load_explicit(&self.told, memory_order_relaxed) != told)
			return true;
		adma_relax();
	}
	return false;
}

/* With the lock, dropped meanwhile. */
static void rest(uint32_t queue)
{
	uint32_t told = atomic_load_explicit(&self.told, memory_order_relaxed), bell;

	adma_engine_unlock();
	bool found = spin(told);
	adma_engine_lock();
	if (found || self.stop || adma_schedule_any(&self.schedule, queue))
		return;
	bell = atomic_load(&self.bells[queue]);
	self.sleeping |= 1u << queue;
	adma_offload.stats.sleeps++;
	adma_engine_unlock();
	(void)adma_futex_wait(&self.bells[queue], bell, -1);
	adma_engine_lock();
	self.sleeping &= ~(1u << queue);
	adma_offload.stats.wakes++;
}

static void *serve(void *argument)
{
	uint32_t queue = (uint32_t)(uintptr_t)argument;

	is_queue = true;
	adma_engine_lock();
	while (!self.stop) {
		struct adma_work *work = adma_schedule_next(&self.schedule, queue);

		if (!work) {
			rest(queue);
			continue;
		}
		if (do_part(work))
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

void adma_engine_kernels(uint32_t class, struct adma_engine_kernels *found)
{
	adma_engine_lock();
	const struct adma_kernel_samples *samples = &measured[class < ADMA_CLASSES ? class : 0];

	found->ways = (uint32_t)adma_kernels();
	found->best = samples->best;
	for (int kernel = 0; kernel < ADMA_KERNELS; kernel++) {
		found->taken[kernel] = samples->taken[kernel];
		found->median_ns[kernel] = adma_kernel_median(samples, kernel);
	}
	adma_engine_unlock();
}
