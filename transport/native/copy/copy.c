/* SPDX-License-Identifier: BSD-3-Clause */
/* offload.c - a copy from its post to its end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adma.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/trace.h"
#include "copy/engine.h"
#include "copy/plan.h"

#define everything adma_offload

/* ---- ending ---- */

static void drop_stage(struct adma_copy *copy)
{
	free(copy->plan.stage);
	copy->plan.stage = NULL;
}

static void count(const struct adma_copy *copy, int error)
{
	struct adma_engine_stats *stats = &everything.stats;
	const struct adma_copy_times *times = &copy->times;

	if (error == ECANCELED)
		stats->cancelled++;
	else if (error)
		stats->failed++;
	if (error)
		return;
	stats->copies++;
	stats->bytes += copy->plan.bytes;
	stats->post_ns += times->queued - times->posted;
	stats->start_ns += times->started > times->queued ? times->started - times->queued : 0;
	stats->copy_ns += times->copied - times->started;
}

static void ring_signals(void)
{
	uint64_t one = 1;

	for (struct adma_copy_signal *signal = everything.signals; signal; signal = signal->next) {
		if (signal->armed)
			(void)!write(signal->fd, &one, sizeof(one));
		signal->armed = 0;
	}
}

/* Done: whoever reads the state (acquire) sees what was copied. The copy may be gone after this. */
static void finish(struct adma_copy *copy, int error)
{
	count(copy, error);
	adma_trace_span(ADMA_TRACE_COPY_END, copy->times.posted, copy, copy->plan.bytes, (uint64_t)error, 0);
	drop_stage(copy);
	copy->error = error;
	__atomic_store_n(&copy->state, ADMA_COPY_DONE, __ATOMIC_RELEASE);
	/* Release: who then finds nothing pending, and copies by itself, copies what we did. */
	atomic_fetch_sub_explicit(&everything.pending, 1, memory_order_release);
	atomic_fetch_add_explicit(&everything.ended, 1, memory_order_relaxed);
	if (everything.sleepers)
		adma_futex_wake(&everything.ended, (int)everything.sleepers);
	ring_signals();
}

static void submit(struct adma_copy *copy)
{
	__atomic_store_n(&copy->state, ADMA_COPY_READY, __ATOMIC_RELAXED);
	everything.engine->submit(copy);
}

static void leave_line(struct adma_copy *copy)
{
	adma_copy_line_remove(&everything.line, copy);
	everything.in_line--;
}

static void join_line(struct adma_copy *copy)
{
	adma_copy_line_push(&everything.line, copy);
	everything.in_line++;
}

/* A place among the outstanding; it begins now or when those before it have ended. False: no place. */
static bool admit(struct adma_copy *copy)
{
	if (!adma_dependencies_admit(&everything.outstanding, copy))
		return false;
	if (copy->blockers)
		everything.stats.held_back++;
	else
		submit(copy);
	return true;
}

void adma_copy_ended(struct adma_copy *copy, int error)
{
	struct adma_copy *freed[ADMA_OUTSTANDING];
	uint32_t n = adma_dependencies_release(&everything.outstanding, copy, freed);

	finish(copy, error);
	for (uint32_t i = 0; i < n; i++)
		submit(freed[i]);
	while (everything.line.first && adma_dependencies_room(&everything.outstanding)) {
		struct adma_copy *head = everything.line.first;

		leave_line(head);
		(void)admit(head);
	}
}

/* ---- posting ---- */

static bool in_the_way(const struct adma_plan *plan)
{
	bool conflict;

	/* No bytes, nothing to wait for; and an engine has no part of them to do. */
	if (!plan->bytes)
		return false;
	/* Acquire: with the release of an end. Nothing pending: what was posted before is copied. */
	if (!atomic_load_explicit(&everything.pending, memory_order_acquire))
		return false;
	adma_engine_reap();
	adma_engine_lock();
	conflict = everything.in_line || adma_dependencies_conflict(&everything.outstanding, plan);
	adma_engine_unlock();
	return conflict;
}

/* One that was copied in the call, without the lock. */
static void count_now(uint64_t bytes)
{
	atomic_fetch_add_explicit(&everything.now_copies, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&everything.now_bytes, bytes, memory_order_relaxed);
}

int adma_copy_now(void *dst, const void *src, uint64_t n)
{
	int64_t begun = adma_trace_begin();

	if (atomic_load_explicit(&everything.pending, memory_order_acquire)) {
		struct adma_plan plan;

		adma_plan_bytes(&plan, dst, src, n);
		if (in_the_way(&plan))
			return -EAGAIN;
	}
	memmove(dst, src, n);
	adma_trace_span(ADMA_TRACE_COPY_HERE, begun, dst, n, 0, 0);
	count_now(n);
	return 0;
}

/* In the post itself: it is small, and nothing is in its way. */
static int copy_here(struct adma_copy *copy)
{
	adma_plan_run_all(&copy->plan);
	drop_stage(copy);
	copy->copied = copy->plan.parts;
	copy->times.started = copy->times.posted;
	copy->times.queued = copy->times.copied = copy->times.seen = adma_now();
	adma_trace_span(ADMA_TRACE_COPY_HERE, copy->times.posted, copy, copy->plan.bytes, 0, 0);
	__atomic_store_n(&copy->state, ADMA_COPY_DONE, __ATOMIC_RELEASE);
	count_now(copy->plan.bytes);
	return 0;
}

/* With the lock. 0; 1: nobody but callers will copy it; -EAGAIN. */
static int hand_over(struct adma_copy *copy)
{
	if (everything.in_line >= ADMA_BACKLOG_MAX)
		return -EAGAIN;
	(void)adma_engine_ready();
	copy->family = everything.family;
	__atomic_store_n(&copy->state, ADMA_COPY_WAITING, __ATOMIC_RELAXED);
	atomic_fetch_add_explicit(&everything.pending, 1, memory_order_relaxed);
	if (everything.in_line || !admit(copy))
		join_line(copy);
	return !everything.running;
}

static int prepare(struct adma_copy *copy)
{
	copy->state = ADMA_COPY_IDLE;
	copy->error = 0;
	copy->copied = copy->claimed = 0;
	copy->times = (struct adma_copy_times){.posted = adma_now()};
	if (copy->plan.staged && !copy->plan.stage)
		copy->plan.stage = malloc(copy->plan.bytes);
	return copy->plan.staged && !copy->plan.stage ? -ENOMEM : 0;
}

static bool is_small(uint64_t bytes)
{
	return !bytes || bytes <= atomic_load_explicit(&everything.at_once, memory_order_relaxed);
}

int adma_copy_small(void *dst, const void *src, uint64_t n)
{
	return is_small(n) ? adma_copy_now(dst, src, n) : -EAGAIN;
}

int adma_copy_post(struct adma_copy *copy)
{
	int rc = prepare(copy);

	if (rc)
		return rc;
	if (is_small(copy->plan.bytes) && !in_the_way(&copy->plan))
		return copy_here(copy);
	adma_engine_lock();
	rc = hand_over(copy);
	/* It may be done by now, and is still ours: nobody frees it before this call returns. */
	if (rc >= 0)
		copy->times.queued = adma_now();
	adma_engine_unlock();
	adma_engine_kick();
	if (rc < 0)
		drop_stage(copy); /* it may never be posted again */
	adma_trace_span(ADMA_TRACE_COPY_POST, copy->times.posted, copy, copy->plan.bytes, 0, 0);
	return rc;
}

int adma_copy_post_bytes(struct adma_copy *copy, void *dst, const void *src, uint64_t n)
{
	adma_plan_bytes(&copy->plan, dst, src, n);
	return adma_copy_post(copy);
}

/* ---- looking ---- */

bool adma_copy_done(const struct adma_copy *copy)
{
	return __atomic_load_n(&copy->state, __ATOMIC_ACQUIRE) == ADMA_COPY_DONE;
}

void adma_copy_seen(struct adma_copy *copy)
{
	int64_t now = adma_now(), never = 0;

	if (!copy->times.copied || copy->family != everything.family)
		return;
	if (__atomic_compare_exchange_n(&copy->times.seen, &never, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED))
		atomic_fetch_add_explicit(&everything.complete_ns, now - copy->times.copied,
					  memory_order_relaxed);
}

int adma_copy_check(struct adma_copy *copy)
{
	if (adma_copy_done(copy)) {
		adma_copy_seen(copy);
		return 1;
	}
	if (copy->family != everything.family)
		return -ADMA_E_FORKED;
	adma_engine_reap();
	if (adma_copy_done(copy)) {
		adma_copy_seen(copy);
		return 1;
	}
	/* A loop of checks must come to an end where nobody but callers copies. */
	return everything.running ? 0 : adma_copy_wait_one(copy, 0);
}

/* With the lock: nothing of it has begun. */
static bool take_back(struct adma_copy *copy)
{
	if (copy->state == ADMA_COPY_READY || copy->state == ADMA_COPY_RUNNING)
		return everything.engine->cancel(copy);
	return copy->state == ADMA_COPY_WAITING;
}

/* In line it has no place yet: of those only the line knows. */
static bool in_line(const struct adma_copy *copy)
{
	return everything.outstanding.copies[copy->place % ADMA_OUTSTANDING] != copy;
}

int adma_copy_cancel(struct adma_copy *copy)
{
	int won = 0;

	if (adma_copy_done(copy))
		return copy->error == ECANCELED;
	adma_engine_lock();
	if (adma_copy_done(copy)) {
		won = copy->error == ECANCELED;
	} else if (copy->family == everything.family && take_back(copy)) {
		if (in_line(copy)) {
			leave_line(copy);
			finish(copy, ECANCELED);
		} else {
			adma_copy_ended(copy, ECANCELED);
		}
		won = 1;
	}
	adma_engine_unlock();
	adma_engine_kick();
	return won;
}
