/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork.c - which locks are held while the process forks, and in which order they are taken.
 *
 * The thread that stops an engine holds `control` and waits for the copy worker threads, which may
 * want the lock of a worker and that of the progress thread's registry. So `control` is taken first,
 * then the list of workers, and last the locks of the registry and of the poll sets, the engine
 * lock, those of the list of holds (base/holds.h) and of the notifications (base/notify.h), and that of
 * what was learnt, which are leaves.
 */
#include <pthread.h>

#include "api/workers.h"
#include "base/closer.h"
#include "base/holds.h"
#include "base/notify.h"
#include "base/thread.h"
#include "copy/engines.h"
#include "copy/state.h"
#include "learn/tables.h"
#include "progress/poll_set.h"

static void fork_before(void)
{
	adma_engine_hold();
	adma_workers_before_fork();
	adma_poll_sets_before_fork();
	adma_engine_lock();
	adma_holds_before_fork();
	adma_notify_before_fork();
	adma_closer_before_fork();
	adma_tables_before_fork();
}

static void fork_after_in_parent(void)
{
	adma_tables_after_fork();
	adma_closer_after_fork_parent();
	adma_notify_after_fork_parent();
	adma_holds_after_fork_parent();
	adma_engine_unlock();
	adma_poll_sets_after_fork_parent();
	adma_workers_after_fork_parent();
	adma_engine_let_go();
}

static void fork_after_in_child(void)
{
	adma_thread_after_fork_child();
	adma_tables_after_fork();
	adma_closer_after_fork_child();
	adma_holds_after_fork_child();
	adma_notify_after_fork_child();
	adma_engine_forked();
	adma_poll_sets_after_fork_child();
	adma_workers_after_fork_child();
}

/* Run when the library is loaded, because a fork may come while another thread is in any call and holds a lock. */
static __attribute__((constructor)) void fork_watch(void)
{
	pthread_atfork(fork_before, fork_after_in_parent, fork_after_in_child);
}
