/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule.c - run queues of work, and which of them is served next. */
#include "copy/schedule.h"

#include <string.h>

#include "base/list.h"

_Static_assert((int)ADMA_RUN_QUEUES >= (int)ADMA_CLASSES, "each class has its run queue");

void adma_schedule_init(struct adma_schedule *schedule, enum adma_policy policy, uint32_t workers)
{
	memset(schedule, 0, sizeof(*schedule));
	schedule->policy = policy;
	schedule->workers = workers;
	for (int i = 0; i < ADMA_RUN_QUEUES; i++)
		adma_list_init(&schedule->run_queues[i].works);
}

uint32_t adma_class_of(uint64_t bytes)
{
	if (bytes <= ADMA_SMALL_MAX)
		return 0;
	return bytes <= ADMA_MIDDLE_MAX ? 1 : 2;
}

static uint32_t schedule_run_queue_for(struct adma_schedule *schedule, const struct adma_work *work)
{
	return schedule->policy == ADMA_ADAPTIVE ? adma_class_of(work->bytes)
						 : schedule->arrivals++ % schedule->workers;
}

void adma_schedule_add(struct adma_schedule *schedule, struct adma_work *work)
{
	work->run_queue = schedule_run_queue_for(schedule, work);
	work->listed = 1;
	adma_list_push_back(&schedule->run_queues[work->run_queue].works, &work->link);
}

void adma_schedule_return(struct adma_schedule *schedule, struct adma_work *work)
{
	work->listed = 1;
	adma_list_push_front(&schedule->run_queues[work->run_queue].works, &work->link);
}

void adma_schedule_remove(struct adma_schedule *schedule, struct adma_work *work)
{
	struct adma_run_queue *run_queue = &schedule->run_queues[work->run_queue];

	if (!work->listed)
		return;
	work->listed = 0;
	adma_list_remove(&work->link);
	if (adma_list_empty(&run_queue->works))
		run_queue->passed = 0;
}

void adma_schedule_remove_assists(struct adma_schedule *schedule)
{
	for (int i = 0; i < ADMA_RUN_QUEUES; i++) {
		adma_list_for_each_safe(at, after, &schedule->run_queues[i].works) {
			struct adma_work *work = adma_container_of(at, struct adma_work, link);

			if (work->assist)
				adma_schedule_remove(schedule, work);
		}
	}
}

static struct adma_work *run_queue_first(const struct adma_run_queue *run_queue, bool assists)
{
	adma_list_for_each(at, &run_queue->works) {
		struct adma_work *work = adma_container_of(at, struct adma_work, link);

		if (assists || !work->assist)
			return work;
	}
	return NULL;
}

/* The class to serve: the largest one that was passed over too often, else the smallest; -1 when none has work. */
static int schedule_class_to_serve(const struct adma_schedule *schedule, bool assists)
{
	int smallest = -1;

	for (int i = ADMA_CLASSES - 1; i >= 0; i--) {
		if (!run_queue_first(&schedule->run_queues[i], assists))
			continue;
		if (schedule->run_queues[i].passed >= ADMA_PASSES)
			return i;
		smallest = i;
	}
	return smallest;
}

static struct adma_work *schedule_next_of_classes(struct adma_schedule *schedule, bool assists)
{
	int served = schedule_class_to_serve(schedule, assists);

	if (served < 0)
		return NULL;
	for (int i = 0; i < ADMA_CLASSES; i++)
		if (i != served && !adma_list_empty(&schedule->run_queues[i].works))
			schedule->run_queues[i].passed++;
	schedule->run_queues[served].passed = 0;
	return run_queue_first(&schedule->run_queues[served], assists);
}

struct adma_work *adma_schedule_next(struct adma_schedule *schedule, uint32_t worker, bool assists)
{
	if (schedule->policy == ADMA_ADAPTIVE)
		return schedule_next_of_classes(schedule, assists);
	return run_queue_first(&schedule->run_queues[worker], assists);
}

bool adma_schedule_any(const struct adma_schedule *schedule, uint32_t worker, bool assists)
{
	if (schedule->policy == ADMA_ROUND_ROBIN)
		return run_queue_first(&schedule->run_queues[worker], assists);
	for (int i = 0; i < ADMA_CLASSES; i++)
		if (run_queue_first(&schedule->run_queues[i], assists))
			return true;
	return false;
}
