/* SPDX-License-Identifier: BSD-3-Clause */
/* state.c - the shared state of the copy engine, its lock, and the engine in use. */
#include "copy/state.h"

#include <string.h>

#include "base/holds.h"
#include "base/list.h"
#include "base/thread.h"

#define AT_ONCE (64 << 10) /* measured: up to this size copying takes less time than waking a worker */

struct adma_copies adma_copies = {
	.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP, /* it is held for moments, so a thread spins before it sleeps */
	.control = PTHREAD_MUTEX_INITIALIZER,
	.backlog = ADMA_LIST_INIT(adma_copies.backlog),
	.signals = ADMA_LIST_INIT(adma_copies.signals),
	.config = {.callers_help = true, .at_once = AT_ONCE},
	.at_once = AT_ONCE,
};

static __attribute__((constructor)) void state_init(void)
{
	adma_condition_init(&adma_copies.assist_idle);
}

void adma_engine_lock(void)
{
	pthread_mutex_lock(&adma_copies.lock);
}

void adma_engine_unlock(void)
{
	pthread_mutex_unlock(&adma_copies.lock);
}

void adma_engine_kick(void)
{
	const struct adma_engine *engine = __atomic_load_n(&adma_copies.engine, __ATOMIC_ACQUIRE);

	if (engine && engine->kick)
		engine->kick();
}

void adma_engine_reap(void)
{
	const struct adma_engine *engine = __atomic_load_n(&adma_copies.engine, __ATOMIC_ACQUIRE);

	if (!engine || !engine->reap || pthread_mutex_trylock(&adma_copies.lock))
		return;
	if (adma_copies.engine == engine) /* otherwise it is being stopped, or was */
		(void)engine->reap();
	adma_engine_unlock();
	adma_engine_kick();
	adma_holds_tell();
}

/*
 * The configuration stays. The mutexes are initialised anew: this thread holds them, but threads
 * of the parent may be recorded as their waiters, and those do not exist here.
 */
void adma_copies_forked(void)
{
	pthread_mutex_init(&adma_copies.lock, NULL);
	pthread_mutex_init(&adma_copies.control, NULL);
	adma_condition_init(&adma_copies.assist_idle);
	memset(&adma_copies.outstanding, 0, sizeof(adma_copies.outstanding));
	memset(&adma_copies.stats, 0, sizeof(adma_copies.stats));
	adma_copies.engine = NULL;
	adma_copies.running = 0;
	adma_list_init(&adma_copies.backlog);
	adma_copies.backlog_length = 0;
	adma_copies.sleepers = 0;
	adma_copies.fork_generation++;
	atomic_store(&adma_copies.pending, 0);
	atomic_store(&adma_copies.now_copies, 0);
	atomic_store(&adma_copies.now_bytes, 0);
	atomic_store(&adma_copies.complete_ns, 0);
}
