/* SPDX-License-Identifier: BSD-3-Clause */
/* schedule.c - lines of work, and whose turn it is. */
#include "copy/schedule.h"

#include <string.h>

_Static_assert((int)ADMA_RUN_QUEUES >= (int)ADMA_CLASSES, "each class has its line");

void adma_schedule_init(struct adma_schedule *schedule, enum adma_policy policy, uint32_t queues)
{
	memset(schedule, 0, sizeof(*schedule));
	schedule->policy = policy;
	schedule->queues = queues;
}

uint32_t adma_class_of(uint64_t bytes)
{
	if (bytes <= ADMA_SMALL_MAX)
		return 0;
	return bytes <= ADMA_MIDDLE_MAX ? 1 : 2;
}

static uint32_t line_of(struct adma_schedule *schedule, const struct adma_work *work)
{
	return schedule->policy == ADMA_ADAPTIVE ? adma_class_of(work->bytes)
						 : schedule->turn++ % schedule->queues;
}

void adma_schedule_add(struct adma_schedule *schedule, struct adma_work *work)
{
	work->line = line_of(schedule, work);
	struct adma_run_queue *line = &schedule->lines[work->line];

	work->listed = 1;
	work->next = NULL;
	work->prev = line->last;
	if (line->last)
		line->last->next = work;
	else
		line->first = work;
	line->last = work;
}

void adma_schedule_return(struct adma_schedule *schedule, struct adma_work *work)
{
	struct adma_run_queue *line = &schedule->lines[work->line];

	work->listed = 1;
	work->prev = NULL;
	work->next = line->first;
	if (line->first)
		line->first->prev = work;
	else
		line->last = work;
	line->first = work;
}

void adma_schedule_remove(struct adma_schedule *schedule, struct adma_work *work)
{
	struct adma_run_queue *line = &schedule->lines[work->line];

	if (!work->listed)
		return;
	work->listed = 0;
	if (work->prev)
		work->prev->next = work->next;
	else
		line->first = work->next;
	if (work->next)
		work->next->prev = work->prev;
	else
		line->last = work->prev;
	if (!line->first)
		line->passed = 0;
}

static struct adma_work *first_of(const struct adma_run_queue *line, bool lent)
{
	struct adma_work *work = line->first;

	while (work && work->lent && !lent)
		work = work->next;
	return work;
}

/* The class to serve: the largest that was passed over too often, else the smallest; -1: none. */
static int class_to_serve(const struct adma_schedule *schedule, bool lent)
{
	int smallest = -1;

	for (int i = ADMA_CLASSES - 1; i >= 0; i--) {
		if (!first_of(&schedule->lines[i], lent))
			continue;
		if (schedule->lines[i].passed >= ADMA_PASSES)
			return i;
		smallest = i;
	}
	return smallest;
}

static struct adma_work *next_of_classes(struct adma_schedule *schedule, bool lent)
{
	int served = class_to_serve(schedule, lent);

	if (served < 0)
		return NULL;
	for (int i = 0; i < ADMA_CLASSES; i++)
		if (i != served && schedule->lines[i].first)
			schedule->lines[i].passed++;
	schedule->lines[served].passed = 0;
	return first_of(&schedule->lines[served], lent);
}

struct adma_work *adma_schedule_next(struct adma_schedule *schedule, uint32_t queue, bool lent)
{
	if (schedule->policy == ADMA_ADAPTIVE)
		return next_of_classes(schedule, lent);
	return first_of(&schedule->lines[queue], lent);
}

bool adma_schedule_any(const struct adma_schedule *schedule, uint32_t queue, bool lent)
{
	if (schedule->policy == ADMA_ROUND_ROBIN)
		return first_of(&schedule->lines[queue], lent);
	for (int i = 0; i < ADMA_CLASSES; i++)
		if (first_of(&schedule->lines[i], lent))
			return true;
	return false;
}
