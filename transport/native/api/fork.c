/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork.c - what is held while the process forks, and in which order.
 *
 * Whoever stops an engine holds `control` and waits for its queues, which may want a channel's lock and the
 * mover's book; whoever waits for the mover holds `life`, and the mover may want the engine lock. So:
 * control first, then the channels and the mover, the engine lock last, a leaf.
 */
#include <pthread.h>

#include "copy/engines.h"
#include "copy/state.h"
#include "worker/channel.h"

static void before(void)
{
	adma_engine_hold();
	adma_chans_before_fork();
	adma_engine_lock();
}

static void after_in_parent(void)
{
	adma_engine_unlock();
	adma_chans_after_fork_parent();
	adma_engine_let_go();
}

static void after_in_child(void)
{
	adma_engine_forked();
	adma_chans_after_fork_child();
}

/* From the beginning: any call takes the locks, and a fork may come while it has them. */
static __attribute__((constructor)) void watch(void)
{
	pthread_atfork(before, after_in_parent, after_in_child);
}
