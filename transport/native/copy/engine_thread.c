/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_thread.c - the engine made of copy worker threads, which sleep while there is nothing to do.
 *
 * A thread that lists work marks, under the engine lock, the sleeping workers that have to be
 * woken. It wakes them (kick) after it has released the lock. A worker that finds no work reads
 * its futex word and marks itself as sleeping, both under the lock, and then sleeps on the word
 * as it read it. So a thread that lists work after that finds the worker marked as sleeping, and
 * no wake-up is lost. tests/model/queues.pml proves this.
 */
#include "copy/engine_thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/held_up.h"
#include "base/holds.h"
#include "base/thread.h"
#include "copy/part.h"
#include "copy/state.h"

/* For how long a worker spins before it sleeps, since waking it costs more. */
static const struct adma_backoff_limits spin_limits = {.min_ns = 20000, .max_ns = 200000};

static struct {
	pthread_t threads[ADMA_COPY_WORKERS_MAX];
	_Atomic uint32_t words[ADMA_COPY_WORKERS_MAX]; /* the futex word of each worker */
	int64_t spin_ns[ADMA_COPY_WORKERS_MAX];        /* for how long it spins; it alone uses this */
	int64_t moved[ADMA_COPY_WORKERS_MAX];          /* when it was moved to another core; the same */
	uint32_t sleeping;                             /* the workers that sleep, a bit for each */
	_Atomic uint32_t to_wake;                      /* of these: the ones that a kick has to wake */
	_Atomic bool news;                             /* work was listed, and no kick has announced it */
	_Atomic uint32_t announced;                    /* counts kicks with news; spinning workers look at it */
	_Atomic int kicker;                            /* the core on which a thread last woke workers */
	uint32_t running;                              /* how many workers there are */
	uint32_t assisting;                            /* the workers that assist, a bit for each */
	uint32_t ended;                                /* those that have ended after a stop */
	uint32_t generation;                           /* how often the workers were stopped */
} self;

/* ---- listing work, and waking workers ---- */

/*
 * Mark as many sleeping workers as there are parts, or with round robin the one to which the
 * work is assigned. Called with the engine lock held.
 */
static void workers_mark(const struct adma_work *work, uint64_t parts)
{
	uint32_t candidates = self.sleeping & ~atomic_load_explicit(&self.to_wake, memory_order_relaxed);
	uint32_t marked = 0;

	if (adma_copies.schedule.policy == ADMA_ROUND_ROBIN) {
		candidates &= 1u << work->run_queue;
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

/* Work of so many parts was listed: see to it that workers notice. Called with the lock held. */
static void workers_notify(const struct adma_work *work, uint64_t parts)
{
	atomic_store_explicit(&self.news, true, memory_order_relaxed);
	workers_mark(work, parts);
}

static void worker_wake(uint32_t worker)
{
	atomic_fetch_add(&self.words[worker], 1);
	adma_futex_wake(&self.words[worker], 1);
}

/* Called without the lock, because the threads that are woken take it at once. */
static void thread_kick(void)
{
	uint32_t marked;

	if (atomic_load_explicit(&self.news, memory_order_relaxed)) {
		atomic_store_explicit(&self.news, false, memory_order_relaxed);
		atomic_fetch_add_explicit(&self.announced, 1, memory_order_relaxed);
	}
	/*
	 * Whether there are workers to wake does not depend on the news: another kick may have taken
	 * the news after this thread listed its work and before it marked workers. This thread sees
	 * its own marks, unless another kick has taken them; that one wakes the workers.
	 */
	if (!atomic_load_explicit(&self.to_wake, memory_order_relaxed))
		return;
	marked = atomic_exchange(&self.to_wake, 0);
	atomic_store_explicit(&self.kicker, sched_getcpu(), memory_order_relaxed);
	for (; marked; marked &= marked - 1)
		worker_wake((uint32_t)__builtin_ctz(marked));
}

/*
 * Announce what a completion made ready. Called with the lock held, which is dropped meanwhile. It
 * looks at the marks and not only at the news: a kick by another thread may have taken the news
 * after the work was listed and before workers were marked, and so have found no marks.
 */
static void thread_kick_unlocked(void)
{
	if (!atomic_load_explicit(&self.news, memory_order_relaxed) &&
	    !atomic_load_explicit(&self.to_wake, memory_order_relaxed))
		return;
	adma_engine_unlock();
	thread_kick();
	adma_engine_lock();
}

static void thread_submit(struct adma_copy *copy)
{
	uint64_t parts = copy->plan.in_order ? 1 : copy->plan.parts;

	adma_part_enqueue(copy);
	workers_notify(&copy->work, parts < copy->queues ? parts : copy->queues);
}

/*
 * A caller makes a part. If the copy is in order, the caller puts it back into its run queue and
 * may leave, so a worker has to be woken for the next part. A worker that puts back a copy
 * continues by itself.
 */
static bool thread_help(struct adma_copy *copy)
{
	enum adma_part_result result;

	copy = copy ? copy : adma_part_any_copy();
	result = copy ? adma_part_make(copy, ADMA_PART_BY_CALLER) : ADMA_PART_NONE;
	if (result == ADMA_PART_NONE)
		return false;
	if (result == ADMA_PART_RETURNED)
		workers_notify(&copy->work, 1);
	adma_copies.stats.parts_callers++;
	thread_kick_unlocked();
	return true;
}

/* ---- assisting ---- */

static void assist_enqueue(struct adma_assist *assist)
{
	assist->work.assist = 1;
	assist->work.bytes = assist->bytes;
	adma_schedule_add(&adma_copies.schedule, &assist->work);
}

static void thread_assist(struct adma_assist *assist, uint64_t parts)
{
	assist_enqueue(assist);
	workers_notify(&assist->work, parts);
}

static void thread_assist_end(struct adma_assist *assist)
{
	adma_schedule_remove(&adma_copies.schedule, &assist->work);
}

/* A worker does one piece. Called with the lock held, which is dropped meanwhile. */
static void assist_make_part(uint32_t worker, struct adma_assist *assist)
{
	void (*orphan)(struct adma_assist *assist);
	bool made;

	/*
	 * It goes to the end of its run queue. That is done before the piece and not after it, so that
	 * other workers may assist at the same time.
	 */
	adma_schedule_remove(&adma_copies.schedule, &assist->work);
	assist_enqueue(assist);
	assist->busy++;
	/*
	 * A page may hold this worker up. It may have put back a copy that no other worker was woken for, since no
	 * two of them may make parts of it at the same time.
	 */
	if (adma_schedule_any(&adma_copies.schedule, worker, false))
		workers_notify(&assist->work, 1);
	adma_engine_unlock();
	thread_kick();
	made = assist->part(assist);
	adma_engine_lock();
	/*
	 * Nothing is left to do. Another worker may have found that out before this one, and the
	 * channel may have asked for help again since then. That request is lost, which costs
	 * nothing but help: the progress thread asks again after its next chunk.
	 */
	if (!made)
		adma_schedule_remove(&adma_copies.schedule, &assist->work);
	if (--assist->busy)
		return;
	pthread_cond_broadcast(&adma_copies.assist_idle);
	orphan = assist->orphan;
	if (!orphan)
		return;
	adma_engine_unlock();
	orphan(assist);
	adma_engine_lock();
}

/* ---- the workers ---- */

static bool worker_sees_news(void *announced)
{
	return atomic_load_explicit(&self.announced, memory_order_relaxed) != *(const uint32_t *)announced;
}

/* Spin until work is listed. Called without the lock. Returns false when there was none in time. */
static bool worker_spin(uint32_t worker, uint32_t announced)
{
	int64_t now = adma_now();

	/* One core is left to the callers: where there are as many workers as cores, the last one does not spin. */
	if ((int)worker + 1 >= adma_cpu_count(now) || adma_cpu_oversubscribed(now))
		return false;
	return adma_spin(now + self.spin_ns[worker], worker_sees_news, NULL, &announced);
}

/* Called without the lock; `word` is the value of the worker's futex word under the lock. */
static void worker_sleep(uint32_t worker, uint32_t word)
{
	int64_t since = adma_now(), now;

	adma_holds_tell();
	(void)adma_futex_wait(&self.words[worker], word, adma_holds_limit(-1));
	now = adma_now();
	self.spin_ns[worker] = adma_backoff_after_sleep(self.spin_ns[worker], now - since, spin_limits);
	adma_cpu_avoid(atomic_load_explicit(&self.kicker, memory_order_relaxed), now, &self.moved[worker]);
}

/* The worker found no work. Called with the lock held, which is dropped meanwhile. */
static void worker_rest(uint32_t worker, uint32_t generation)
{
	uint32_t announced = atomic_load_explicit(&self.announced, memory_order_relaxed), word;
	bool found;

	adma_engine_unlock();
	found = worker_spin(worker, announced);
	adma_engine_lock();
	if (found || self.generation != generation || adma_schedule_any(&adma_copies.schedule, worker, true))
		return;
	word = atomic_load(&self.words[worker]);
	self.sleeping |= 1u << worker;
	adma_copies.stats.sleeps++;
	adma_engine_unlock();
	worker_sleep(worker, word);
	adma_engine_lock();
	self.sleeping &= ~(1u << worker);
	adma_copies.stats.wakes++;
}

/* A worker that has nothing to do tells before it sleeps: until then a thread that waits may see what is complete. */
static void worker_tell(uint32_t worker)
{
	if (!atomic_load_explicit(&adma_holds_untold, memory_order_relaxed) ||
	    !adma_schedule_any(&adma_copies.schedule, worker, true))
		return;
	adma_engine_unlock();
	adma_holds_tell();
	adma_engine_lock();
}

/* A worker assists. If the workers were stopped meanwhile, the bits are no longer about it. */
static void worker_assist(uint32_t worker, uint32_t generation, struct adma_assist *assist)
{
	self.assisting |= 1u << worker;
	assist_make_part(worker, assist);
	if (self.generation == generation)
		self.assisting &= ~(1u << worker);
}

static void worker_end(uint32_t worker, uint32_t generation)
{
	if (self.generation == generation + 1) /* otherwise the bits are about other workers by now */
		self.ended |= 1u << worker;
	pthread_cond_broadcast(&adma_copies.assist_idle);
}

static void *worker_run(void *argument)
{
	uint32_t worker = (uint32_t)((uintptr_t)argument % ADMA_COPY_WORKERS_MAX);
	uint32_t generation = (uint32_t)((uintptr_t)argument / ADMA_COPY_WORKERS_MAX);

	adma_engine_lock();
	self.spin_ns[worker] = spin_limits.min_ns;
	while (self.generation == generation) {
		struct adma_work *work = adma_schedule_next(&adma_copies.schedule, worker, true);

		if (!work) {
			worker_rest(worker, generation);
			continue;
		}
		if (work->assist)
			worker_assist(worker, generation, adma_work_assist(work));
		else if (adma_part_make(adma_work_copy(work), ADMA_PART_BY_WORKER) != ADMA_PART_NONE)
			adma_copies.stats.parts_queues++;
		thread_kick_unlocked();
		worker_tell(worker);
	}
	worker_end(worker, generation);
	adma_engine_unlock();
	return NULL;
}

static int worker_start(uint32_t worker)
{
	uintptr_t argument = (uintptr_t)self.generation * ADMA_COPY_WORKERS_MAX + worker;
	char name[16];
	int err = ADMA_FAULT(ADMA_FAULT_THREAD);

	(void)snprintf(name, sizeof(name), "adma-queue-%u", worker % ADMA_COPY_WORKERS_MAX);
	return err ? err : adma_thread_start(&self.threads[worker], name, 0, worker_run, (void *)argument);
}

/* ---- the interface ---- */

static int thread_probe(void)
{
	return 0;
}

/*
 * If fewer threads can be started than asked for, those serve. They wait for the lock until the
 * schedule is initialised. The futex words and `announced` keep their values: a kick that began a
 * moment ago may still increment them, which does no harm.
 */
static int thread_start(uint32_t workers, enum adma_policy policy)
{
	int err = 0;

	self.sleeping = 0;
	self.running = 0;
	self.assisting = 0;
	atomic_store(&self.to_wake, 0);
	for (uint32_t i = 0; i < workers && !err; i++) {
		err = worker_start(i);
		self.running += !err;
	}
	adma_schedule_init(&adma_copies.schedule, policy, self.running ? self.running : 1);
	return self.running ? (int)self.running : -err;
}

/* Wait for workers to end: for those that make copies without a limit, for those that a page holds up only a moment. */
static void workers_await_end(uint32_t all)
{
	int64_t end = adma_now() + ADMA_HELD_UP_NS;

	while (self.ended != all && (all & ~(self.ended | self.assisting) || adma_now() < end))
		(void)adma_condition_wait(&adma_copies.assist_idle, &adma_copies.lock, adma_now() + ADMA_HELD_UP_NS);
}

static void thread_stop(void)
{
	uint32_t workers, ended;

	adma_engine_lock();
	self.generation++;
	self.ended = 0;
	workers = self.running;
	atomic_fetch_add(&self.announced, 1);
	adma_engine_unlock();
	for (uint32_t i = 0; i < workers; i++)
		worker_wake(i);
	adma_engine_lock();
	workers_await_end((uint32_t)((1ull << workers) - 1));
	ended = self.ended;
	self.running = 0; /* so that no thread is joined twice if this is called again */
	/* Callers make the copies that are left, but they do not assist. */
	adma_schedule_remove_assists(&adma_copies.schedule);
	adma_engine_unlock();
	for (uint32_t i = 0; i < workers; i++) {
		if (ended & 1u << i)
			pthread_join(self.threads[i], NULL);
		else
			pthread_detach(self.threads[i]);
	}
}

static void thread_forked(void)
{
	memset(&self, 0, sizeof(self));
}

const struct adma_engine adma_engine_thread = {
	.name = "thread",
	.leaves_to_callers = true,
	.learns = true,
	.probe = thread_probe,
	.start = thread_start,
	.stop = thread_stop,
	.forked = thread_forked,
	.submit = thread_submit,
	.cancel = adma_part_dequeue,
	.help = thread_help,
	.kick = thread_kick,
	.assist = thread_assist,
	.assist_end = thread_assist_end,
};
