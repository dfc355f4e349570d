/* SPDX-License-Identifier: BSD-3-Clause */
/* completion.c - outstanding copies, the backlog behind them, and what a completion sets off. */
#include "copy/completion.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/holds.h"
#include "base/list.h"
#include "base/notify.h"
#include "base/trace.h"
#include "copy/dependencies.h"
#include "copy/state.h"
#include "copy/wakeup.h"

/* ---- one copy ---- */

bool adma_copy_done(const struct adma_copy *copy)
{
	return __atomic_load_n(&copy->state, __ATOMIC_ACQUIRE) == ADMA_COPY_DONE;
}

void adma_copy_seen(struct adma_copy *copy)
{
	int64_t now = adma_now(), never = 0;

	if (!copy->times.copied || copy->fork_generation != adma_copies.fork_generation)
		return;
	if (__atomic_compare_exchange_n(&copy->times.seen, &never, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		atomic_fetch_add_explicit(&adma_copies.complete_ns, now - copy->times.copied, memory_order_relaxed);
}

void adma_copy_free_stage(struct adma_copy *copy)
{
	free(copy->plan.stage);
	copy->plan.stage = NULL;
}

static void copy_count(const struct adma_copy *copy, int error)
{
	struct adma_engine_stats *stats = &adma_copies.stats;
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

/*
 * Store the result. A thread that reads the state DONE (acquire) sees the bytes that were copied.
 * The caller may free the copy once it is stored.
 */
static void copy_finish(struct adma_copy *copy, int error)
{
	bool notifies = adma_hold_notifies(&copy->hold);

	copy_count(copy, error);
	adma_trace_span(ADMA_TRACE_COPY_END, copy->times.posted, copy, copy->plan.bytes, (uint64_t)error, 0);
	adma_copy_free_stage(copy);
	copy->error = error;
	adma_hold_complete(&copy->hold);
	__atomic_store_n(&copy->state, ADMA_COPY_DONE, __ATOMIC_RELEASE);
	/* Release: a thread that then finds no copy pending, and copies by itself, sees the bytes of this one. */
	atomic_fetch_sub_explicit(&adma_copies.pending, 1, memory_order_release);
	adma_wakeup_waiters();
	if (notifies)
		adma_notify_completion();
}

static void copy_submit(struct adma_copy *copy)
{
	__atomic_store_n(&copy->state, ADMA_COPY_READY, __ATOMIC_RELAXED);
	adma_copies.engine->submit(copy);
}

/* ---- the backlog and the outstanding copies ---- */

static void backlog_push(struct adma_copy *copy)
{
	adma_list_push_back(&adma_copies.backlog, &copy->link);
	adma_copies.backlog_length++;
}

static void backlog_remove(struct adma_copy *copy)
{
	adma_list_remove(&copy->link);
	adma_copies.backlog_length--;
}

/* Give the copy a place, and submit it unless it has to wait for others. False: no place is free. */
static bool copy_admit(struct adma_copy *copy)
{
	if (!adma_dependencies_admit(&adma_copies.outstanding, copy))
		return false;
	if (copy->blockers)
		adma_copies.stats.held_back++;
	else
		copy_submit(copy);
	return true;
}

static void backlog_admit(void)
{
	struct adma_list *first;

	while ((first = adma_list_first(&adma_copies.backlog)) && adma_dependencies_room(&adma_copies.outstanding)) {
		struct adma_copy *copy = adma_container_of(first, struct adma_copy, link);

		backlog_remove(copy);
		(void)copy_admit(copy);
	}
}

void adma_copy_enter(struct adma_copy *copy)
{
	if (adma_copies.backlog_length || !copy_admit(copy))
		backlog_push(copy);
}

void adma_copy_complete(struct adma_copy *copy, int error)
{
	struct adma_copy *freed[ADMA_OUTSTANDING];
	uint32_t n = adma_dependencies_release(&adma_copies.outstanding, copy, freed);

	copy_finish(copy, error);
	for (uint32_t i = 0; i < n; i++)
		copy_submit(freed[i]);
	backlog_admit();
}

/* A copy in the backlog has no place: the place it names, if any, is another copy's or free. */
static bool copy_is_in_backlog(const struct adma_copy *copy)
{
	return adma_copies.outstanding.copies[copy->place % ADMA_OUTSTANDING] != copy;
}

void adma_copy_withdraw(struct adma_copy *copy)
{
	if (!copy_is_in_backlog(copy)) {
		adma_copy_complete(copy, ECANCELED);
		return;
	}
	backlog_remove(copy);
	copy_finish(copy, ECANCELED);
}
