/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * schedule.h - which work a free queue takes a piece of. Pure: no lock, no thread, no clock.
 *
 * ADMA_ADAPTIVE: one line for each class of size, shared by all queues. A free queue
 * takes a piece of the first work of the smallest class, so that small work does not
 * wait behind large; of a class that was passed over ADMA_PASSES times it takes one
 * first, the largest such class before others. So of the pieces taken while
 * a class has work, at least one in ADMA_CLASSES * (ADMA_PASSES + 1) is of that
 * class; and since a class is served in order of arrival, a work of k pieces with
 * m pieces before it in its class has all of them taken before
 * ADMA_CLASSES * (ADMA_PASSES + 1) * (k + m) more are, whatever comes later.
 *
 * ADMA_ROUND_ROBIN: the paper's. Each work belongs to one queue, one after the
 * other, and a queue does its works whole, in order of arrival.
 */
#ifndef ADMA_SCHEDULE_H
#define ADMA_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

enum {
	ADMA_QUEUES_MAX = 16,
	ADMA_CLASSES = 3,
	ADMA_PASSES = 4,
	ADMA_RUN_QUEUES = ADMA_QUEUES_MAX, /* at least ADMA_CLASSES */
};

enum adma_policy { ADMA_ADAPTIVE = 0, ADMA_ROUND_ROBIN = 1 };

#define ADMA_SMALL_MAX (256ull << 10) /* bytes; more is of the second class */
#define ADMA_MIDDLE_MAX (4ull << 20)  /* more is of the third */

struct adma_run_queue {
	struct adma_work *first, *last;
	uint32_t passed; /* times that another class was served while this had work */
};

struct adma_schedule {
	enum adma_policy policy;
	uint32_t queues;
	uint32_t turn; /* round robin: the queue of the next work */
	struct adma_run_queue lines[ADMA_RUN_QUEUES];
};

/* 0: small, 1: middling, 2: large. */
uint32_t adma_class_of(uint64_t bytes);

void adma_schedule_init(struct adma_schedule *schedule, enum adma_policy policy, uint32_t queues);

/* Last in its line. */
void adma_schedule_add(struct adma_schedule *schedule, struct adma_work *work);

/* First in the line it stood in before: one that could not be claimed from for a moment. */
void adma_schedule_return(struct adma_schedule *schedule, struct adma_work *work);

void adma_schedule_remove(struct adma_schedule *schedule, struct adma_work *work);

/* What queue number `queue` should take a piece of, or NULL. Counts who was passed over. `lent`: that, too. */
struct adma_work *adma_schedule_next(struct adma_schedule *schedule, uint32_t queue, bool lent);

/* Is there anything for this queue? */
bool adma_schedule_any(const struct adma_schedule *schedule, uint32_t queue, bool lent);

#endif
