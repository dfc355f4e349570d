/* SPDX-License-Identifier: BSD-3-Clause */
/* part.c - making parts of copies, and measuring which way of copying them is the fastest. */
#include "copy/part.h"

#include "base/clock.h"
#include "base/cpu.h"
#include "base/fault.h"
#include "base/trace.h"
#include "copy/completion.h"
#include "copy/kernels.h"
#include "copy/plan.h"
#include "copy/spread.h"
#include "copy/state.h"

struct part {
	uint64_t number;
	enum adma_kernel kernel; /* the way to copy it */
	int64_t ns;              /* how long that took */
};

/* The measurements of each class of size. They stay true when workers are stopped and started. */
static struct adma_kernel_samples measured[ADMA_CLASSES];

static enum adma_kernel part_choose_kernel(const struct adma_copy *copy, uint64_t part)
{
	uint32_t forced = adma_copies.config.kernel;

	if (forced)
		return forced - 1;
	if (!adma_plan_has_choice(&copy->plan, part))
		return ADMA_KERNEL_LIBC;
	return adma_kernel_next(&measured[adma_class_of(copy->plan.bytes)]);
}

/* Can another part be started now? */
static bool part_is_ready(const struct adma_copy *copy)
{
	return copy->claimed < copy->plan.parts && (!copy->plan.in_order || copy->claimed == copy->copied);
}

/* And by another worker? */
static bool part_is_for_worker(const struct adma_copy *copy)
{
	return part_is_ready(copy) && copy->workers < copy->queues;
}

static void part_count_maker(struct adma_copy *copy, enum adma_part_maker maker)
{
	bool at_once = copy->copied * ADMA_SPREAD_SOON <= copy->plan.parts;

	if (maker == ADMA_PART_BY_WORKER)
		copy->workers++;
	else if (!copy->helped)
		copy->helped = at_once ? ADMA_HELPED_AT_ONCE : ADMA_HELPED_LATE;
}

/* Returns false when no part can be started now. */
static bool part_claim(struct adma_copy *copy, struct part *part, enum adma_part_maker maker)
{
	if (!part_is_ready(copy))
		return false;
	if (!copy->claimed) {
		copy->times.started = adma_now();
		__atomic_store_n(&copy->state, ADMA_COPY_RUNNING, __ATOMIC_RELAXED);
	}
	part_count_maker(copy, maker);
	part->number = copy->claimed++;
	part->kernel = part_choose_kernel(copy, part->number);
	return true;
}

/* Called without the lock. */
static void part_run(const struct adma_copy *copy, struct part *part)
{
	int64_t begin = adma_now();

	(void)ADMA_FAULT(ADMA_FAULT_CHUNK);
	adma_plan_run(&copy->plan, part->number, part->kernel);
	part->ns = adma_now() - begin;
	(void)ADMA_FAULT(ADMA_FAULT_COPIED);
	adma_trace_span(ADMA_TRACE_COPY_PART, begin, copy, part->number, copy->plan.parts, 0);
}

/* What the copy teaches. Other work may have been listed while it was made. */
static void part_learn(const struct adma_copy *copy)
{
	bool alone = copy->arrivals == adma_copies.arrivals;

	adma_spread_note(&adma_copies.spreads, copy, alone && !adma_cpu_was_oversubscribed(copy->times.copied));
}

/* The time of a part of any size, as that of a usual one: so parts of all sizes can be compared. */
static int64_t part_usual_ns(const struct adma_copy *copy, const struct part *part)
{
	return part->ns * ADMA_PART_BYTES / (int64_t)copy->plan.part_bytes;
}

/*
 * Returns true when the copy has to go back into its run queue, because a worker may claim a part again. After false
 * the copy may have been freed.
 */
static bool part_retire(struct adma_copy *copy, const struct part *part, enum adma_part_maker maker)
{
	if (adma_plan_has_choice(&copy->plan, part->number))
		adma_kernel_took(&measured[adma_class_of(copy->plan.bytes)], part->kernel, part_usual_ns(copy, part));
	copy->workers -= maker == ADMA_PART_BY_WORKER;
	__atomic_store_n(&copy->copied, copy->copied + 1, __ATOMIC_RELAXED);
	if (copy->copied < copy->plan.parts)
		return part_is_for_worker(copy) && !copy->work.listed;
	copy->times.copied = adma_now();
	part_learn(copy);
	adma_copy_complete(copy, 0);
	return false;
}

void adma_part_enqueue(struct adma_copy *copy)
{
	copy->work.bytes = copy->plan.bytes;
	copy->work.assist = 0;
	adma_schedule_add(&adma_copies.schedule, &copy->work);
}

bool adma_part_dequeue(struct adma_copy *copy)
{
	if (copy->claimed)
		return false;
	adma_schedule_remove(&adma_copies.schedule, &copy->work);
	return true;
}

enum adma_part_result adma_part_make(struct adma_copy *copy, enum adma_part_maker maker)
{
	struct adma_schedule *schedule = &adma_copies.schedule;
	struct part part;

	if (!part_claim(copy, &part, maker)) {
		adma_schedule_remove(schedule, &copy->work);
		return ADMA_PART_NONE;
	}
	if (!part_is_for_worker(copy))
		adma_schedule_remove(schedule, &copy->work);
	adma_engine_unlock();
	part_run(copy, &part);
	adma_engine_lock();
	if (!part_retire(copy, &part, maker))
		return ADMA_PART_MADE;
	adma_schedule_return(schedule, &copy->work);
	return ADMA_PART_RETURNED;
}

struct adma_copy *adma_part_any_copy(void)
{
	struct adma_schedule *schedule = &adma_copies.schedule;

	for (uint32_t worker = 0; worker < schedule->workers; worker++)
		if (adma_schedule_any(schedule, worker, false))
			return adma_work_copy(adma_schedule_next(schedule, worker, false));
	return NULL;
}

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
