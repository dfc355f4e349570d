/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * crew.h - the threads of which one is the progress thread.
 *
 * One thread at a time *serves*: it sleeps, and visits workers. A page that nobody provides (userfaultfd,
 * FUSE) may hold it up in a copy, for ever, and no signal ends that. So while it visits, another thread
 * *stands by*. It takes over when one visit lasts for ADMA_HELD_UP_NS. The thread that was held up ends
 * when its visit does. So many of them may be held up at once; beyond that, the visit has to end.
 *
 * The thread that stands by is started at the first visit. It wakes once in ADMA_HELD_UP_NS while there
 * are visits, and sleeps without a limit when there are none.
 *
 * Everything here is called with the lock of the registry held (progress/progress_thread.h), unless a
 * comment says otherwise.
 */
#ifndef ADMA_PROGRESS_CREW_H
#define ADMA_PROGRESS_CREW_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define ADMA_HELD_UP_MAX 4

struct adma_progress;

struct adma_crew {
	/*
	 * Set once: the lock of the registry, and what a thread does that serves. It returns with the lock held. `held_up`:
	 * the worker in whose visit the thread is held up that it has replaced; or NULL.
	 */
	pthread_mutex_t *registry;
	void (*serve)(uint32_t number, struct adma_progress *held_up);

	pthread_t serving, standby;
	uint32_t number;      /* of the thread that serves; each one has another number */
	bool alive;           /* a thread serves, which has not decided to end */
	bool joinable;        /* nobody has joined the last thread that served, or let go of it */
	bool stands_by;       /* a thread stands by, or is about to end */
	bool standby_joinable; /* the same as `joinable`, of the last thread that stood by */
	uint32_t held_up;     /* threads that were replaced, and whose visits go on */
	struct adma_progress *visiting; /* by the thread that serves, now; or NULL */
	int64_t since;        /* that visit began then */
	bool visited;         /* visits began since the thread that stands by last looked */
	bool called;          /* that thread will look soon by itself */
	int64_t failed_at;    /* when no thread could be started to stand by; 0: never */
	uint64_t takeovers;
	pthread_cond_t call;    /* for the thread that stands by */
	pthread_cond_t changed; /* a visit is over, or a thread has ended */
};

void adma_crew_init(struct adma_crew *crew);

/* In a forked child: there are no threads. */
void adma_crew_forget(struct adma_crew *crew);

/* Start a thread that serves. Returns 0 or a positive errno. */
int adma_crew_start(struct adma_crew *crew);

/* Does the thread of this number still serve? Otherwise it has to end. */
static inline bool adma_crew_serves(const struct adma_crew *crew, uint32_t number)
{
	return crew->number == number;
}

/* Around each visit of the thread of this number. */
void adma_crew_begin_visit(struct adma_crew *crew, struct adma_progress *progress);
void adma_crew_end_visit(struct adma_crew *crew, uint32_t number);

/* The thread that serves has nothing left to do, and ends. */
void adma_crew_dismiss(struct adma_crew *crew);

/* Wait for a change, until `end`. False: it is `end`. */
bool adma_crew_await_change(struct adma_crew *crew, int64_t end);

/*
 * Nothing is left to do: wait until `end` for the threads to end. Drops the lock. `needed` says whether there
 * is something to do again, so that they stay.
 */
void adma_crew_await_end(struct adma_crew *crew, int64_t end, bool (*needed)(void));

#endif
