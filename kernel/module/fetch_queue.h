/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch_queue.h - one user's fetches: those that wait, and those that run.
 *
 * Each user has one; user.c keeps it, and fetch.c works with it.
 */
#ifndef ADMA_FETCH_QUEUE_H
#define ADMA_FETCH_QUEUE_H

#include <linux/list.h>
#include <linux/spinlock.h>

struct adma_fetch_queue {
	spinlock_t lock;          /* all below, and the state of its fetches */
	struct list_head waiting; /* oldest first */
	struct list_head running;
	unsigned int running_count;
};

static inline void adma_fetch_queue_init(struct adma_fetch_queue *queue)
{
	spin_lock_init(&queue->lock);
	INIT_LIST_HEAD(&queue->waiting);
	INIT_LIST_HEAD(&queue->running);
	queue->running_count = 0;
}

#endif
