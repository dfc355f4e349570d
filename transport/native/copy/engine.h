/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - what executes copies: the interface, and what engines have in common.
 *
 * A new engine is one file and a line in engine.c. It is given copies whose bytes
 * nothing outstanding is at; it executes them in any order and calls
 * adma_copy_ended() for each, with the lock.
 *
 *   offload.c        posts, checks, cancels, the end of a copy
 *   outstanding.c    which copies touch the same bytes
 *   awaiting.c       callers that wait, and help
 *   engine.c         which engine, its configuration, forks, counters
 *   engine_*.c       the engines: threads, callers, DMA channels
 *   schedule.c       which work a free queue takes
 *
 * One lock, the engine lock, guards copies, schedule and engines. It is a
 * leaf: no other lock is taken under it, nothing is copied and nothing sleeps with it held.
 */
#ifndef ADMA_ENGINE_H
#define ADMA_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "copy/assist.h"
#include "copy/copyline.h"
#include "copy/dependencies.h"
#include "copy/schedule.h"

struct adma_engine {
	const char *name;
	bool leaves; /* stop() may be called with copies outstanding: `caller` goes on with them */

	/* Can it be had here? 0 or a negated errno. No lock. */
	int (*probe)(void);

	/* Start with up to `queues` queues. The number started, or a negated errno. With the lock. */
	int (*start)(uint32_t queues, enum adma_policy policy);

	/* Nothing is outstanding (but see `leaves`): give everything back. Without the lock. */
	void (*stop)(void);

	/* In a forked child: nothing of it exists here. With the lock. */
	void (*forked)(void);

	/* Execute it. With the lock. */
	void (*submit)(struct adma_copy *copy);

	/* Take it back, READY or RUNNING, if nothing of it has begun. With the lock. */
	bool (*cancel)(struct adma_copy *copy);

	/*
	 * Let the caller do a part of this copy, or (NULL) of anything. With the lock, which is dropped
	 * meanwhile. False: there was none. NULL when callers cannot help.
	 */
	bool (*help)(struct adma_copy *copy);

	/*
	 * Take note of what has ended by itself, so that nobody waits for a thread to do so. With the lock.
	 * True: something had. NULL: nothing does.
	 */
	bool (*reap)(void);

	/* After submits and lends, without the lock: wake whoever has to see them. */
	void (*kick)(void);

	/* Have up to so many queues at it; and none any more that is not at it yet. With the lock. NULL: there are none. */
	void (*lend)(struct adma_assist *lending, uint64_t parts);
	void (*take_back)(struct adma_assist *lending);
};

extern const struct adma_engine adma_engine_thread;
extern const struct adma_engine adma_engine_caller;
extern const struct adma_engine adma_engine_dma;

/* What is shared by the files above. All but the atomics with the lock. */
struct adma_offload {
	pthread_mutex_t lock;
	pthread_mutex_t control;          /* outside of the lock: who starts or stops an engine */
	const struct adma_engine *engine; /* started; NULL: none yet, or none any more */
	int refused;                      /* errno: the engine could not be started, `caller` serves */
	_Atomic uint32_t running;         /* queues; written with the lock */
	uint32_t family;                  /* forks between the first process and this one */
	struct adma_dependencies outstanding;
	struct adma_copy_line line;       /* behind the outstanding ones */
	uint64_t in_line;
	_Atomic uint64_t pending;         /* outstanding and in line: read without the lock, acquire */
	_Atomic uint32_t ended;           /* counts ends of copies; callers sleep on it */
	uint32_t sleepers;
	pthread_cond_t unlent;            /* no queue is at some lending any more */
	struct adma_copy_signal *signals; /* descriptors of who waits for other things, too */
	struct adma_engine_config config;
	_Atomic uint64_t at_once;         /* as in config, to be read without the lock */
	struct adma_engine_stats stats;
	_Atomic uint64_t now_copies, now_bytes; /* copied in the post */
	_Atomic int64_t complete_ns;
};
extern struct adma_offload adma_offload;

void adma_engine_lock(void);
void adma_engine_unlock(void);

/* With the lock, maybe dropped meanwhile: the engine, running. Never NULL: `caller` always starts. */
const struct adma_engine *adma_engine_ready(void);

/* Without the lock: what submit left to be woken. */
void adma_engine_kick(void);

/* Without the lock: reap, unless somebody has the lock, who may do so as well. */
void adma_engine_reap(void);

/* Around a fork (fork.c): nobody starts or stops an engine meanwhile. */
void adma_engine_hold(void);
void adma_engine_let_go(void);
void adma_engine_forked(void);

/* With the lock: this copy is through, error 0 or errno. Those that waited for it go on. The copy may be gone then. */
void adma_copy_ended(struct adma_copy *copy, int error);

/* Done, and a caller has found it so: when it was the first to. */
void adma_copy_seen(struct adma_copy *copy);

#endif
