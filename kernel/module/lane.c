// SPDX-License-Identifier: GPL-2.0
/* lane.c - whose turn it is; see lane.h. */
#include <linux/minmax.h>

#include "lane.h"

void adma_lane_init(struct adma_lane *lane, struct adma_lane *above)
{
	lane->above = above;
	lane->level = above ? above->level + 1 : ADMA_LANE_ALL;
	INIT_LIST_HEAD(&lane->node);
	INIT_LIST_HEAD(&lane->waiting);
	lane->running = 0;
}

/* ---- waiting ---- */

void adma_lane_wait(struct adma_lane *process, struct list_head *waiting)
{
	struct adma_lane *lane = process;
	bool first;

	for (; lane; waiting = &lane->node, lane = lane->above) {
		first = list_empty(&lane->waiting);
		list_add_tail(waiting, &lane->waiting);
		if (!first)
			return; /* the lanes above know it already */
	}
}

void adma_lane_withdraw(struct adma_lane *process, struct list_head *waiting)
{
	struct adma_lane *lane = process;

	for (; lane; waiting = &lane->node, lane = lane->above) {
		list_del_init(waiting);
		if (!list_empty(&lane->waiting))
			return;
	}
}

/* ---- turns ---- */

/* Half of what may run in all is for owners of whom nothing runs yet. */
static bool lane_owner_has_room(const struct adma_lane *owner,
				const struct adma_lane_limits *limits)
{
	unsigned int half = limits->most[ADMA_LANE_ALL] / 2;
	unsigned int left = half - min(half, owner->above->running);

	return !owner->running || owner->running < min(limits->most[ADMA_LANE_OWNER], left);
}

static bool lane_has_room(const struct adma_lane *lane, const struct adma_lane_limits *limits)
{
	if (lane->level == ADMA_LANE_OWNER)
		return lane_owner_has_room(lane, limits);
	return lane->running < limits->most[lane->level];
}

/*
 * The lane of the process whose turn it is; its lane and those above it go to the end of their
 * lists. The recursion is as deep as the tree.
 */
static struct adma_lane *lane_pick(struct adma_lane *lane, const struct adma_lane_limits *limits)
{
	struct adma_lane *below, *picked;

	if (!lane_has_room(lane, limits))
		return NULL;
	if (lane->level == ADMA_LANE_PROCESS)
		return lane;
	list_for_each_entry(below, &lane->waiting, node) {
		picked = lane_pick(below, limits);
		if (picked) {
			list_move_tail(&below->node, &lane->waiting);
			return picked;
		}
	}
	return NULL;
}

struct list_head *adma_lane_next(struct adma_lane *all, const struct adma_lane_limits *limits)
{
	struct adma_lane *picked = NULL, *lane;
	struct list_head *next;

	if (!list_empty(&all->waiting))
		picked = lane_pick(all, limits);
	if (!picked)
		return NULL;
	next = picked->waiting.next;
	adma_lane_withdraw(picked, next);
	for (lane = picked; lane; lane = lane->above)
		lane->running++;
	return next;
}

void adma_lane_leave(struct adma_lane *process)
{
	struct adma_lane *lane;

	for (lane = process; lane; lane = lane->above)
		lane->running--;
}
