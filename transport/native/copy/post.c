/* SPDX-License-Identifier: BSD-3-Clause */
/* post.c - posting a copy, and copying in the call where nothing is in the way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/holds.h"
#include "base/trace.h"
#include "copy/completion.h"
#include "copy/dependencies.h"
#include "copy/engines.h"
#include "copy/plan.h"
#include "copy/spread.h"
#include "copy/state.h"

/* ---- in the call ---- */

/* Does an outstanding copy conflict, or may one in the backlog? */
static bool plan_is_blocked(const struct adma_plan *plan)
{
	bool conflict;

	/* A copy of no bytes waits for nothing; and it has no part that an engine could make. */
	if (!plan->bytes)
		return false;
	/* Acquire: pairs with the release of a completion. If nothing is pending, all that was posted is copied. */
	if (!atomic_load_explicit(&adma_copies.pending, memory_order_acquire))
		return false;
	adma_engine_reap();
	adma_engine_lock();
	conflict = adma_copies.backlog_length || adma_dependencies_conflict(&adma_copies.outstanding, plan);
	adma_engine_unlock();
	return conflict;
}

/* Count a copy that was made in the call, without the lock. */
static void count_now(uint64_t bytes)
{
	atomic_fetch_add_explicit(&adma_copies.now_copies, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&adma_copies.now_bytes, bytes, memory_order_relaxed);
}

/* Make a copy with which nothing conflicts. It needs no lock. */
static void bytes_copy(void *dst, const void *src, uint64_t n)
{
	int64_t begun = adma_trace_begin();

	memmove(dst, src, n);
	adma_trace_span(ADMA_TRACE_COPY_HERE, begun, dst, n, 0, 0);
	count_now(n);
}

int adma_copy_now(void *dst, const void *src, uint64_t n)
{
	struct adma_plan plan;

	if (adma_copy_try_now(dst, src, n) == 0)
		return 0;
	adma_plan_bytes(&plan, dst, src, n);
	if (plan_is_blocked(&plan))
		return -EAGAIN;
	bytes_copy(dst, src, n);
	return 0;
}

int adma_copy_try_now(void *dst, const void *src, uint64_t n)
{
	/* Acquire: as in plan_is_blocked(). */
	if (atomic_load_explicit(&adma_copies.pending, memory_order_acquire))
		return -EBUSY;
	bytes_copy(dst, src, n);
	return 0;
}

bool adma_copy_is_small(uint64_t n)
{
	return !n || n <= atomic_load_explicit(&adma_copies.at_once, memory_order_relaxed);
}

/* The post itself makes the copy: it is small, and nothing conflicts with it. */
static int copy_here(struct adma_copy *copy)
{
	adma_plan_run_all(&copy->plan);
	adma_copy_free_stage(copy);
	copy->copied = copy->plan.parts;
	copy->times.started = copy->times.posted;
	copy->times.queued = copy->times.copied = copy->times.seen = adma_now();
	adma_trace_span(ADMA_TRACE_COPY_HERE, copy->times.posted, copy, copy->plan.bytes, 0, 0);
	__atomic_store_n(&copy->state, ADMA_COPY_DONE, __ATOMIC_RELEASE);
	count_now(copy->plan.bytes);
	return 0;
}

/* ---- handing over ---- */

static int copy_prepare(struct adma_copy *copy)
{
	copy->state = ADMA_COPY_IDLE;
	copy->error = 0;
	copy->copied = copy->claimed = 0;
	copy->workers = 0;
	copy->helped = ADMA_HELPED_NOT;
	adma_hold_init(&copy->hold);
	copy->times = (struct adma_copy_times){.posted = adma_now()};
	if (copy->plan.staged && !copy->plan.stage)
		copy->plan.stage = malloc(copy->plan.bytes);
	return copy->plan.staged && !copy->plan.stage ? -ENOMEM : 0;
}

/* Does nothing compete with this copy, which was just counted as pending, for the workers and their cores? */
static bool copy_is_alone(const struct adma_copy *copy)
{
	return atomic_load_explicit(&adma_copies.pending, memory_order_relaxed) == 1 &&
	       !adma_schedule_any(&adma_copies.schedule, 0, true) && !adma_cpu_was_oversubscribed(copy->times.posted);
}

/* Decide how the copy is spread over the workers. Called with the lock held. */
static void copy_spread(struct adma_copy *copy)
{
	const struct adma_engine_config *config = &adma_copies.config;

	copy->arrivals = ++adma_copies.arrivals;
	if (config->learns && config->policy == ADMA_ADAPTIVE && adma_copies.engine->learns && copy_is_alone(copy))
		adma_spread_choose(&adma_copies.spreads, copy, adma_copies.running, config->callers_help);
	else
		adma_spread_plainly(copy);
}

/* Called with the lock held. Returns what adma_copy_post() does. */
static int copy_hand_over(struct adma_copy *copy)
{
	if (adma_copies.backlog_length >= ADMA_BACKLOG_MAX)
		return -EAGAIN;
	(void)adma_engine_ready();
	copy->fork_generation = adma_copies.fork_generation;
	__atomic_store_n(&copy->state, ADMA_COPY_WAITING, __ATOMIC_RELAXED);
	atomic_fetch_add_explicit(&adma_copies.pending, 1, memory_order_relaxed);
	copy_spread(copy);
	adma_copy_enter(copy);
	return !adma_copies.running;
}

int adma_copy_post(struct adma_copy *copy)
{
	int rc = copy_prepare(copy);

	if (rc)
		return rc;
	if (adma_copy_is_small(copy->plan.bytes) && !plan_is_blocked(&copy->plan))
		return copy_here(copy);
	adma_engine_lock();
	rc = copy_hand_over(copy);
	/* The copy may be complete by now. It is not freed before this call returns. */
	if (rc >= 0)
		copy->times.queued = adma_now();
	if (rc >= 0 && copy->tell && !adma_copy_done(copy))
		adma_hold_want(&copy->hold);
	adma_engine_unlock();
	adma_engine_kick();
	adma_holds_tell();
	if (rc < 0)
		adma_copy_free_stage(copy); /* the caller may never post it again */
	adma_trace_span(ADMA_TRACE_COPY_POST, copy->times.posted, copy, copy->plan.bytes, 0, 0);
	return rc;
}

int adma_copy_post_bytes(struct adma_copy *copy, void *dst, const void *src, uint64_t n)
{
	adma_plan_bytes(&copy->plan, dst, src, n);
	return adma_copy_post(copy);
}
