/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wait.c - callers that wait for copies, and make parts of copies meanwhile. wakeup.h tells how a
 * completion wakes them.
 */
#include <errno.h>

#include "adma.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/futex.h"
#include "base/holds.h"
#include "copy/completion.h"
#include "copy/state.h"

#define HELP_WITH 8        /* how many of its own copies a caller searches for a part to make */
#define SPIN_NS 20000      /* about what falling asleep and waking cost */
#define SPIN_MAX_NS 120000 /* the limit, where the copy is expected to complete in that time */
#define GUESS 8            /* one part in so many: the error that is allowed for in such an expectation */
#define SLEEP_MIN_NS 50000 /* a timed sleep that is shorter is not worth falling asleep twice */
#define EARLY_NS 120000    /* a timed sleep ends so much earlier: the timer's slack of 50 us, and waking */

struct waiter {
	struct adma_copy **copies;
	uint64_t n, need;
	uint64_t first; /* the copies before this one are complete */
	int64_t end;
	int64_t spun;  /* for how long it has spun since it last slept */
	uint64_t slept; /* 1 + how many parts were complete when it last slept for a time; 0: it did not yet */
};

/*
 * Are as many copies complete as are needed? A wait for all of them looks at the first one that
 * is not complete. A wait for some counts them.
 */
static bool waiter_satisfied(struct waiter *waiter)
{
	uint64_t ready = 0;

	while (waiter->first < waiter->n && adma_copy_done(waiter->copies[waiter->first]))
		waiter->first++;
	if (waiter->first >= waiter->need)
		return true;
	if (waiter->need == waiter->n)
		return false;
	ready = waiter->first;
	for (uint64_t i = waiter->first; i < waiter->n && ready < waiter->need; i++)
		ready += adma_copy_done(waiter->copies[i]);
	return ready >= waiter->need;
}

/* ---- making parts ---- */

/* Where there are no workers, callers have to help, whatever the configuration says. */
static bool waiter_may_help(const struct adma_engine *engine)
{
	return engine && engine->help && (adma_copies.config.callers_help || !adma_copies.running);
}

/*
 * Make a part. Called with the engine lock held, which is dropped meanwhile. Returns false when
 * there is nothing that the caller could do.
 */
static bool waiter_help(struct waiter *waiter)
{
	const struct adma_engine *engine = adma_copies.engine;
	bool held_back = false;
	uint64_t looked = 0;

	if (!waiter_may_help(engine))
		return false;
	for (uint64_t i = waiter->first; i < waiter->n && looked < HELP_WITH; i++) {
		struct adma_copy *copy = waiter->copies[i];

		/* A copy that the parent process posted is not for this process to make. */
		if (adma_copy_done(copy) || copy->fork_generation != adma_copies.fork_generation)
			continue;
		looked++;
		if (copy->state != ADMA_COPY_WAITING && engine->help(copy))
			return true;
		held_back |= copy->state == ADMA_COPY_WAITING;
	}
	return held_back && engine->help(NULL);
}

/* ---- resting ---- */

/*
 * In how many nanoseconds will the only copy that is still waited for be complete, judging by
 * what its parts have taken so far? 0: that cannot be told. Called with the lock held.
 */
static int64_t waiter_time_to_go(const struct waiter *waiter)
{
	const struct adma_copy *copy;

	if (waiter->need != waiter->n || waiter->n - waiter->first != 1)
		return 0;
	copy = waiter->copies[waiter->first];
	if (copy->state != ADMA_COPY_RUNNING || !copy->copied)
		return 0;
	int64_t each = (adma_now() - copy->times.started) / (int64_t)copy->copied;

	return each * (int64_t)(copy->plan.parts - copy->copied) + 1;
}

static bool spin_sees_completion(void *seen)
{
	return atomic_load_explicit(&adma_copies.completions, memory_order_relaxed) != *(const uint32_t *)seen;
}

static bool spin_reaps(void *seen)
{
	(void)seen;
	adma_engine_reap();
	return false;
}

/* Spin for up to `ns`, until a copy completes. Called without the lock. Returns true when one did. */
static bool waiter_spin(struct waiter *waiter, uint32_t seen, int64_t ns)
{
	int64_t begin = adma_now(), end = begin + ns < waiter->end ? begin + ns : waiter->end;

	/* Where there are as many workers as cores, no core is left for a thread that only looks. */
	if ((int)atomic_load_explicit(&adma_copies.running, memory_order_relaxed) >= adma_cpu_count(begin) ||
	    adma_cpu_oversubscribed(begin)) {
		waiter->spun = SPIN_MAX_NS;
		return false;
	}
	if (begin < end && adma_spin(end, spin_sees_completion, spin_reaps, &seen))
		return true;
	waiter->spun += adma_now() - begin;
	return false;
}

/*
 * Sleep until a copy completes, for at most `left`. Called with the lock held, which is dropped
 * meanwhile. Returns false when a signal or the time has ended the sleep.
 *
 * A caller that is woken by the completion itself is late by what waking takes. So where the
 * completion can be foreseen, the sleep ends a little before it, and the caller spins. It does so
 * once for each part: if no part was completed meanwhile, nobody knows how long it will take.
 */
static bool waiter_sleep(struct waiter *waiter, uint32_t seen, int64_t left)
{
	int64_t soon = waiter_time_to_go(waiter), early_ns = soon - soon / GUESS - EARLY_NS;
	uint64_t copied = soon ? waiter->copies[waiter->first]->copied : 0;
	bool early = early_ns > SLEEP_MIN_NS && early_ns < left && waiter->slept != copied + 1;
	int rc;

	if (early)
		waiter->slept = copied + 1;
	adma_copies.sleepers++;
	adma_engine_unlock();
	rc = adma_futex_wait(&adma_copies.completions, seen, early ? early_ns : left);
	adma_engine_lock();
	adma_copies.sleepers--;
	waiter->spun = 0;
	return rc == 0 || rc == -EAGAIN || (rc == -ETIMEDOUT && early);
}

/*
 * Spin, then sleep, until something has changed or the time is over. Called with the lock held,
 * which is dropped meanwhile. Returns false when the caller should look at the clock.
 */
static bool waiter_rest(struct waiter *waiter)
{
	uint32_t seen = atomic_load_explicit(&adma_copies.completions, memory_order_relaxed);
	int64_t soon = waiter_time_to_go(waiter), left;
	bool moved;

	adma_engine_unlock();
	adma_engine_kick(); /* a copy that this thread completed may have made others ready */
	moved = waiter_spin(waiter, seen, soon && soon < SPIN_MAX_NS ? soon + SPIN_NS : SPIN_NS);
	adma_engine_lock();
	if (moved || atomic_load_explicit(&adma_copies.completions, memory_order_relaxed) != seen)
		return true;
	left = waiter->end - adma_now();
	if (left <= 0)
		return false;
	soon = waiter_time_to_go(waiter);
	if (soon && soon < SPIN_MAX_NS && waiter->spun < SPIN_MAX_NS)
		return true;
	return waiter_sleep(waiter, seen, left);
}

/* ---- waiting for copies ---- */

static void waiter_note_seen(struct waiter *waiter)
{
	for (uint64_t i = 0; i < waiter->n; i++)
		if (adma_copy_done(waiter->copies[i]))
			adma_copy_seen(waiter->copies[i]);
}

static bool engine_reap(void)
{
	return adma_copies.engine && adma_copies.engine->reap && adma_copies.engine->reap();
}

/* Called with the lock held, which is dropped meanwhile. Returns what adma_copy_wait() does. */
static int waiter_wait(struct waiter *waiter)
{
	while (!waiter_satisfied(waiter)) {
		if (waiter->copies[waiter->first]->fork_generation != adma_copies.fork_generation)
			return -ADMA_E_FORKED;
		if (engine_reap())
			continue;
		if (waiter_help(waiter)) {
			if (adma_now() >= waiter->end)
				return waiter_satisfied(waiter);
		} else if (!waiter_rest(waiter)) {
			return waiter_satisfied(waiter);
		}
	}
	return 1;
}

int adma_copy_wait(struct adma_copy **copies, uint64_t n, uint64_t need, int64_t slice_ns)
{
	struct waiter waiter = {.copies = copies, .n = n, .need = need, .end = adma_now() + slice_ns};
	int rc;

	adma_engine_lock();
	rc = waiter_wait(&waiter);
	adma_engine_unlock();
	adma_engine_kick();
	if (rc == 1)
		waiter_note_seen(&waiter);
	return rc;
}

int adma_copy_wait_one(struct adma_copy *copy, int64_t slice_ns)
{
	return adma_copy_wait(&copy, 1, 1, slice_ns);
}

/* ---- waiting for a condition ---- */

/* Wait until enough() is true, and make parts of any copies meanwhile. enough() is called with the lock held. */
static int wait_until(bool (*enough)(void), int64_t slice_ns)
{
	struct waiter waiter = {.end = adma_now() + slice_ns};

	adma_engine_lock();
	while (!enough()) {
		const struct adma_engine *engine = adma_copies.engine;
		bool helped = waiter_may_help(engine) && engine->help(NULL);

		if (helped ? adma_now() >= waiter.end : !waiter_rest(&waiter))
			break;
	}
	int rc = enough();
	adma_engine_unlock();
	adma_engine_kick();
	adma_holds_tell();
	return rc;
}

static bool backlog_has_room(void)
{
	return adma_copies.backlog_length < ADMA_BACKLOG_MAX;
}

static bool nothing_is_pending(void)
{
	return !atomic_load_explicit(&adma_copies.pending, memory_order_acquire);
}

int adma_copy_wait_room(int64_t slice_ns)
{
	return wait_until(backlog_has_room, slice_ns);
}

int adma_engine_drain(int64_t slice_ns)
{
	return wait_until(nothing_is_pending, slice_ns);
}
