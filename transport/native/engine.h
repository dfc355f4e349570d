/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - what executes copies: the interface, and what engines have in common.
 *
 * A new engine is one file and a line in engine.c. offload.c gives it copies whose
 * bytes nobody outstanding is at; it executes them in any order and calls
 * adma_copy_ended() for each, with the lock.
 *
 * One lock, the engine lock, guards copies, schedule and engines. It is
 * innermost but for nothing: no other lock of ours is taken under it, and it is never held while
 * bytes are copied or a system call sleeps.
 */
#ifndef ADMA_ENGINE_H
#define ADMA_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "offload.h"
#include "schedule.h"

struct adma_engine {
	const char *name;

	/* Can it be had here? 0 or a negated errno. No lock. */
	int (*probe)(void);

	/* Start with up to `queues` queues. The number started, or a negated errno. With the lock. */
	int (*start)(uint32_t queues, enum adma_policy policy);

	/* Nothing is outstanding: give everything back. Called without the lock; starts again at need. */
	void (*stop)(void);

	/* In a forked child: nothing of it exists here. With the lock. */
	void (*forked)(void);

	/* Execute it. 0, or a negated errno: it ends with that. With the lock. */
	int (*submit)(struct adma_copy *copy);

	/* Take it back, if nothing of it has begun. With the lock. */
	bool (*cancel)(struct adma_copy *copy);

	/*
	 * Let the caller do a part of this copy, or (NULL) of anything. With the lock, which is dropped
	 * meanwhile. False: there was none. NULL when callers cannot help.
	 */
	bool (*help)(struct adma_copy *copy);

	/* End what has ended since: for engines that nobody but us looks at. With the lock. NULL: not needed. */
	void (*poll)(void);
};

extern const struct adma_engine adma_engine_thread;
extern const struct adma_engine adma_engine_dma;

void adma_engine_lock(void);
void adma_engine_unlock(void);

/* With the lock: this copy is through, error 0 or errno. Those that waited for it go on. The copy may be gone then. */
void adma_copy_ended(struct adma_copy *copy, int error);

/*
 * Other work for the thread queues: what channels have to copy while nobody waits for them. It
 * stays listed until adma_work_withdraw() returns, after which no piece of it is running. False: there are no queues.
 */
bool adma_work_lend(struct adma_work *work);
void adma_work_withdraw(struct adma_work *work);

struct adma_engine_stats *adma_engine_counters(void);

#endif
