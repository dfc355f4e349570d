// SPDX-License-Identifier: GPL-2.0
/* fair_queue.c - whose turn it is; see fair_queue.h. */
#include <linux/minmax.h>

#include "fair_queue.h"

void adma_fair_queue_init(struct adma_fair_queue *queue, struct adma_fair_queue *above)
{
	queue->above = above;
	queue->level = above ? above->level + 1 : ADMA_FAIR_QUEUE_ALL;
	INIT_LIST_HEAD(&queue->node);
	INIT_LIST_HEAD(&queue->waiting);
	queue->running = 0;
}

/* ---- waiting ---- */

void adma_fair_queue_wait(struct adma_fair_queue *process, struct list_head *waiting)
{
	struct adma_fair_queue *queue = process;
	bool first;

	for (; queue; waiting = &queue->node, queue = queue->above) {
		first = list_empty(&queue->waiting);
		list_add_tail(waiting, &queue->waiting);
		if (!first)
			return; /* the queues above know it already */
	}
}

void adma_fair_queue_withdraw(struct adma_fair_queue *process, struct list_head *waiting)
{
	struct adma_fair_queue *queue = process;

	for (; queue; waiting = &queue->node, queue = queue->above) {
		list_del_init(waiting);
		if (!list_empty(&queue->waiting))
			return;
	}
}

/* ---- turns ---- */

/* Half of what may run in all is for owners of whom nothing runs yet. */
static bool fair_queue_owner_has_room(const struct adma_fair_queue *owner,
				      const struct adma_fair_queue_limits *limits)
{
	unsigned int half = limits->most[ADMA_FAIR_QUEUE_ALL] / 2;
	unsigned int left = half - min(half, owner->above->running);

	return !owner->running || owner->running < min(limits->most[ADMA_FAIR_QUEUE_OWNER], left);
}

static bool fair_queue_has_room(const struct adma_fair_queue *queue,
				const struct adma_fair_queue_limits *limits)
{
	if (queue->level == ADMA_FAIR_QUEUE_OWNER)
		return fair_queue_owner_has_room(queue, limits);
	return queue->running < limits->most[queue->level];
}

/*
 * The queue of the process whose turn it is; its queue and those above it go to the end of their
 * lists. The recursion is as deep as the tree.
 */
static struct adma_fair_queue *fair_queue_pick(struct adma_fair_queue *queue,
					       const struct adma_fair_queue_limits *limits)
{
	struct adma_fair_queue *below, *picked;

	if (!fair_queue_has_room(queue, limits))
		return NULL;
	if (queue->level == ADMA_FAIR_QUEUE_PROCESS)
		return queue;
	list_for_each_entry(below, &queue->waiting, node) {
		picked = fair_queue_pick(below, limits);
		if (picked) {
			list_move_tail(&below->node, &queue->waiting);
			return picked;
		}
	}
	return NULL;
}

struct list_head *adma_fair_queue_next(struct adma_fair_queue *all,
				       const struct adma_fair_queue_limits *limits)
{
	struct adma_fair_queue *picked = NULL, *queue;
	struct list_head *next;

	if (!list_empty(&all->waiting))
		picked = fair_queue_pick(all, limits);
	if (!picked)
		return NULL;
	next = picked->waiting.next;
	adma_fair_queue_withdraw(picked, next);
	for (queue = picked; queue; queue = queue->above)
		queue->running++;
	return next;
}

void adma_fair_queue_leave(struct adma_fair_queue *process)
{
	struct adma_fair_queue *queue;

	for (queue = process; queue; queue = queue->above)
		queue->running--;
}
