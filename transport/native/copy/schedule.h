/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * schedule.h - which work a free copy worker thread takes a piece of. Pure: no lock, no thread, no clock.
 *
 * ADMA_ADAPTIVE: there is one run queue for each class of size, and all workers share them. A
 * free worker takes a piece of the first work of the smallest class, so that small work does not
 * wait behind large work. If a class was passed over ADMA_PASSES times, the worker takes a piece
 * of that class first; if several classes were, of the largest of them. So while a class has
 * work, at least one of ADMA_CLASSES * (ADMA_PASSES + 1) pieces taken is of that class. A class
 * is served in order of arrival. So if a work has k pieces and finds m pieces before it in its
 * class, all its pieces are taken before ADMA_CLASSES * (ADMA_PASSES + 1) * (k + m) others are,
 * whatever arrives later.
 *
 * ADMA_ROUND_ROBIN is the paper's policy. Each worker has a run queue of its own. Works are
 * assigned to the workers one after the other, and a worker finishes each of its works before it
 * begins the next, in order of arrival.
 */
#ifndef ADMA_SCHEDULE_H
#define ADMA_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"

enum {
	ADMA_COPY_WORKERS_MAX = 16,
	ADMA_CLASSES = 3,
	ADMA_PASSES = 4,
	ADMA_RUN_QUEUES = ADMA_COPY_WORKERS_MAX, /* at least ADMA_CLASSES */
};

enum adma_policy { ADMA_ADAPTIVE = 0, ADMA_ROUND_ROBIN = 1 };

#define ADMA_SMALL_MAX (256ull << 10) /* bytes; larger work is of the second class */
#define ADMA_MIDDLE_MAX (4ull << 20)  /* bytes; larger work is of the third class */

struct adma_run_queue {
	struct adma_list works; /* of struct adma_work */
	uint32_t passed;        /* how often another class was served while this one had work */
};

struct adma_schedule {
	enum adma_policy policy;
	uint32_t workers;
	uint32_t arrivals; /* round robin: works so far, which tells the worker of the next one */
	struct adma_run_queue run_queues[ADMA_RUN_QUEUES];
};

/* 0: small, 1: middling, 2: large. */
uint32_t adma_class_of(uint64_t bytes);

/* A schedule must be initialised before any other call. It is empty then. */
void adma_schedule_init(struct adma_schedule *schedule, enum adma_policy policy, uint32_t workers);

/* Put the work at the end of its run queue. */
void adma_schedule_add(struct adma_schedule *schedule, struct adma_work *work);

/*
 * Put the work at the front of the run queue that it was in before: it was removed because no
 * piece of it could be taken for a moment.
 */
void adma_schedule_return(struct adma_schedule *schedule, struct adma_work *work);

/* Take the work out of its run queue. Does nothing when it is in none. */
void adma_schedule_remove(struct adma_schedule *schedule, struct adma_work *work);

/*
 * The work that this worker should take a piece of, or NULL. Counts the classes that are passed
 * over. `assists`: works that are assists count, too (assist.h).
 */
struct adma_work *adma_schedule_next(struct adma_schedule *schedule, uint32_t worker, bool assists);

/* Would adma_schedule_next() return a work for this worker? */
bool adma_schedule_any(const struct adma_schedule *schedule, uint32_t worker, bool assists);

/* Remove all works that are assists. */
void adma_schedule_remove_assists(struct adma_schedule *schedule);

#endif
