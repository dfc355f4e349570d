/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fair_queue.h - whose turn it is, where only so many may run at a time.
 *
 * Fair queues form a tree of four levels: all, the owners of user namespaces, users, processes.
 * What waits does so in the queue of a process. Each queue has a limit of how many may run below
 * it, and on each level the queues take turns. So whoever has much waiting makes only himself
 * wait, and his owner's other users the less the more of them there are.
 *
 * Half of what may run in all is kept for owners of whom nothing runs yet: each of them may have
 * one running. Of the other half an owner may have running no more than is left of it for others.
 * So what never ends, of however many users and processes, leaves something for whoever comes
 * next, until half as many owners as may run in all take part in it.
 *
 * This is pure list code: it takes no locks, allocates nothing and never sleeps. The caller
 * holds a lock that protects the whole tree. It compiles in user space too, where it is tested
 * (kernel/tests/test_fair_queue.c).
 */
#ifndef ADMA_FAIR_QUEUE_H
#define ADMA_FAIR_QUEUE_H

#include <linux/list.h>
#include <linux/types.h>

enum adma_fair_queue_level {
	ADMA_FAIR_QUEUE_ALL,
	ADMA_FAIR_QUEUE_OWNER,
	ADMA_FAIR_QUEUE_USER,
	ADMA_FAIR_QUEUE_PROCESS,
	ADMA_FAIR_QUEUE_LEVELS,
};

struct adma_fair_queue {
	struct adma_fair_queue *above;
	unsigned int level;       /* enum adma_fair_queue_level */
	struct list_head node;    /* in above->waiting, while something waits in this queue */
	struct list_head waiting; /* queues of the next level, or what waits; the next turn first */
	unsigned int running; /* in this queue and those below it */
};

/* How many may run at a time, in a queue of each level. */
struct adma_fair_queue_limits {
	unsigned int most[ADMA_FAIR_QUEUE_LEVELS];
};

/* @above: a queue of the next higher level, which outlives @queue. NULL: @queue is that of all. */
void adma_fair_queue_init(struct adma_fair_queue *queue, struct adma_fair_queue *above);

/* Something of a process waits from now on, or does not wait any more. */
void adma_fair_queue_wait(struct adma_fair_queue *process, struct list_head *waiting);
void adma_fair_queue_withdraw(struct adma_fair_queue *process, struct list_head *waiting);

/*
 * What may run now: it does not wait any more, and is counted. NULL: nothing may. @all is the queue
 * of all.
 */
struct list_head *adma_fair_queue_next(struct adma_fair_queue *all,
				       const struct adma_fair_queue_limits *limits);

/* Something of a process has run. */
void adma_fair_queue_leave(struct adma_fair_queue *process);

#endif
