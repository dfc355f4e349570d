/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lane.h - whose turn it is, where only so many may run at a time.
 *
 * Lanes form a tree of four levels: all, the owners of user namespaces, users, processes. What
 * waits does so in the lane of a process. Each lane has a limit of how many may run below it, and
 * on each level the lanes take turns. So whoever has much waiting makes only himself wait, and
 * his owner's other users the less the more of them there are.
 *
 * Half of what may run in all is kept for owners of whom nothing runs yet: each of them may have
 * one running. Of the other half an owner may have running no more than is left of it for others.
 * So what never ends, of however many users and processes, leaves something for whoever comes
 * next, until half as many owners as may run in all take part in it.
 *
 * This is pure list code: it takes no locks, allocates nothing and never sleeps. The caller
 * holds a lock that protects the whole tree. It compiles in user space too, where it is tested
 * (kernel/tests/test_lane.c).
 */
#ifndef ADMA_LANE_H
#define ADMA_LANE_H

#include <linux/list.h>
#include <linux/types.h>

enum adma_lane_level {
	ADMA_LANE_ALL,
	ADMA_LANE_OWNER,
	ADMA_LANE_USER,
	ADMA_LANE_PROCESS,
	ADMA_LANE_LEVELS,
};

struct adma_lane {
	struct adma_lane *above;
	unsigned int level;       /* enum adma_lane_level */
	struct list_head node;    /* in above->waiting, while something waits in this lane */
	struct list_head waiting; /* lanes of the next level, or what waits; the next turn first */
	unsigned int running; /* in this lane and those below it */
};

/* How many may run at a time, in a lane of each level. */
struct adma_lane_limits {
	unsigned int most[ADMA_LANE_LEVELS];
};

/* @above: a lane of the next higher level, which outlives @lane. NULL: @lane is that of all. */
void adma_lane_init(struct adma_lane *lane, struct adma_lane *above);

/* Something of a process waits from now on, or does not wait any more. */
void adma_lane_wait(struct adma_lane *process, struct list_head *waiting);
void adma_lane_withdraw(struct adma_lane *process, struct list_head *waiting);

/*
 * What may run now: it does not wait any more, and is counted. NULL: nothing may. @all is the lane
 * of all.
 */
struct list_head *adma_lane_next(struct adma_lane *all, const struct adma_lane_limits *limits);

/* Something of a process has run. */
void adma_lane_leave(struct adma_lane *process);

#endif
