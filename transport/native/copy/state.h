/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state.h - what the files of the copy engine share: its lock, the engine in use, the copies that
 * are not complete, and counters.
 */
#ifndef ADMA_COPY_STATE_H
#define ADMA_COPY_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "copy/dependencies.h"
#include "copy/engine.h"
#include "copy/schedule.h"
#include "copy/spread.h"

/* Guarded by the engine lock, but for the atomics and where a comment says otherwise. */
struct adma_copies {
	pthread_mutex_t lock;             /* the engine lock */
	pthread_mutex_t control;          /* taken before the lock, by a thread that starts or stops an engine */
	const struct adma_engine *engine; /* the started one, or NULL; stored with the lock held, release */
	int refused;                      /* the errno with which the chosen engine failed to start */
	_Atomic uint32_t running;         /* copy worker threads; written with the lock held */
	uint32_t fork_generation;         /* how many forks led from the first process to this one */
	struct adma_schedule schedule;    /* what cores copy; initialised when an engine is started */
	uint64_t arrivals;                /* counts the copies and assists that were handed over */
	struct adma_spreads spreads;      /* what was learnt of copies; a child of a fork begins with it */
	struct adma_dependencies outstanding;
	struct adma_list backlog;         /* the copies behind the outstanding ones */
	uint64_t backlog_length;
	_Atomic uint64_t pending;         /* copies that are not complete; read without the lock, acquire */
	_Atomic uint32_t completions;     /* counts completed copies; callers sleep on this futex word */
	uint32_t sleepers;                /* callers that sleep there */
	struct adma_list signals;         /* the opened struct adma_copy_signal */
	pthread_cond_t assist_idle;       /* no worker is in part() of some assist any more */
	struct adma_engine_config config;
	_Atomic uint64_t at_once;         /* the value in `config`, to be read without the lock */
	struct adma_engine_stats stats;
	_Atomic uint64_t now_copies, now_bytes; /* copies that their post made, without the lock */
	_Atomic int64_t complete_ns;
};
extern struct adma_copies adma_copies;

void adma_engine_lock(void);
void adma_engine_unlock(void);

/* Wake the threads that have to see what was submitted. Called without the lock. */
void adma_engine_kick(void);

/*
 * Take note of copies that completed by themselves, unless another thread holds the lock: it may
 * do so as well. Called without the lock.
 */
void adma_engine_reap(void);

/* Forget the parent's copies, in a forked child. The engine in use was told of the fork before. */
void adma_copies_forked(void);

#endif
