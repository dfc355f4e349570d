/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - the interface of a copy engine, which executes copies.
 *
 * An engine is given copies that conflict with no outstanding copy. It executes them in any
 * order, and calls adma_copy_complete() for each, with the engine lock held. A new engine is one
 * file, with a header that declares its struct adma_engine, and a line in the table of engines.c.
 *
 * The files of copy/, from low to high:
 *
 *   kernels.c         ways for a core to copy bytes
 *   plan.c            the geometry of a copy, and its parts
 *   schedule.c        which work a free worker takes
 *   spread.c          over how many workers a copy is spread, and in how large parts
 *   dependencies.c    which copies have to wait for which
 *   work.h, engine.h  what a run queue holds; this interface
 *   state.c           what all files below share: the engine lock, the engine in use, counters
 *   wakeup.c          waking the threads that wait for a completion
 *   completion.c      from a copy's admission to its completion
 *   part.c            making a part of a copy
 *   engine_*.c        the engines: caller, thread, dma
 *   engines.c         which engine is in use: configuration, start, stop, fork
 *   assist.c          workers that assist channels
 *   wait.c            waiting for copies, and making parts meanwhile
 *   post.c, check.c   posting, checking and cancelling copies
 *
 * The engine lock guards copies, the schedule and engines. It is a leaf: no other lock is taken,
 * nothing is copied and no thread sleeps while it is held.
 */
#ifndef ADMA_COPY_ENGINE_H
#define ADMA_COPY_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_copy.h"
#include "copy/schedule.h"
#include "copy/work.h"

struct adma_engine {
	const char *name;

	/* stop() may be called while copies are outstanding: the engine `caller` continues with them. */
	bool leaves_to_callers;

	/* It is learnt how a copy is best spread over its workers (spread.h). */
	bool learns;

	/* Can the engine be used here? Returns 0 or a negated errno. Called without a lock. */
	int (*probe)(void);

	/*
	 * Start up to `workers` copy worker threads. Returns how many were started, or a negated errno.
	 * Called with the engine lock held.
	 */
	int (*start)(uint32_t workers, enum adma_policy policy);

	/*
	 * Release all resources. No copy is outstanding, but see `leaves_to_callers`. Called without
	 * the lock. NULL: the engine has no resources.
	 */
	void (*stop)(void);

	/*
	 * This is a forked child, where no thread of the engine exists. Called with the lock held.
	 * NULL: the engine keeps nothing of its own.
	 */
	void (*forked)(void);

	/* Execute the copy. Called with the lock held. */
	void (*submit)(struct adma_copy *copy);

	/* Take the copy back, which is READY or RUNNING, unless it was started. Called with the lock held. */
	bool (*cancel)(struct adma_copy *copy);

	/*
	 * Let the calling thread make a part of this copy, or (NULL) of any copy. Called with the lock
	 * held, which is dropped meanwhile. Returns false when there was no part to make. NULL when
	 * callers cannot help.
	 */
	bool (*help)(struct adma_copy *copy);

	/*
	 * Take note of copies that completed by themselves, so that nobody waits until a thread of the
	 * engine does so. Called with the lock held. Returns true when there were any. NULL when no
	 * copy completes by itself.
	 */
	bool (*reap)(void);

	/*
	 * Wake the threads that have to see what was submitted. Called after submit() and assist(),
	 * without the lock. NULL: there are no threads.
	 */
	void (*kick)(void);

	/*
	 * Let up to `parts` workers assist; let no further one begin. Both are called with the lock
	 * held. NULL: workers of this engine do not assist.
	 */
	void (*assist)(struct adma_assist *assist, uint64_t parts);
	void (*assist_end)(struct adma_assist *assist);
};

#endif
