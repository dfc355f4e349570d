/* SPDX-License-Identifier: BSD-3-Clause */
/* engine.c - which engine serves, how it is set up, and what a fork leaves of it. */
#include "copy/engine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "adma.h"
#include "base/cpu.h"

#define everything adma_offload
#define QUEUES_DEFAULT_MAX 4
#define AT_ONCE (64 << 10) /* measured: copying it takes less than handing it over to queues that sleep */

struct adma_offload adma_offload = {
	.lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP, /* held for moments: spin before sleeping */
	.control = PTHREAD_MUTEX_INITIALIZER,
	.unlent = PTHREAD_COND_INITIALIZER,
	.config = {.callers_help = true, .at_once = AT_ONCE},
	.at_once = AT_ONCE,
};

/* By enum adma_engine_id; `auto` is none of them. */
static const struct adma_engine *const engines[ADMA_ENGINE_COUNT] = {
	[ADMA_ENGINE_CALLER] = &adma_engine_caller,
	[ADMA_ENGINE_THREAD] = &adma_engine_thread,
	[ADMA_ENGINE_DMA] = &adma_engine_dma,
};

void adma_engine_lock(void)
{
	pthread_mutex_lock(&everything.lock);
}

void adma_engine_unlock(void)
{
	pthread_mutex_unlock(&everything.lock);
}

void adma_engine_kick(void)
{
	const struct adma_engine *engine = __atomic_load_n(&everything.engine, __ATOMIC_ACQUIRE);

	if (engine)
		engine->kick();
}

void adma_engine_reap(void)
{
	const struct adma_engine *engine = __atomic_load_n(&everything.engine, __ATOMIC_ACQUIRE);

	if (!engine || !engine->reap || pthread_mutex_trylock(&everything.lock))
		return;
	if (everything.engine == engine) /* else it is stopping, or stopped */
		(void)engine->reap();
	adma_engine_unlock();
	adma_engine_kick();
}

/* ---- which ---- */

/* A thread of our own can only be in the way where there is one core. */
static uint32_t chosen(void)
{
	if (everything.config.engine != ADMA_ENGINE_AUTO)
		return everything.config.engine;
	return adma_cpu_count_now() > 1 ? ADMA_ENGINE_THREAD : ADMA_ENGINE_CALLER;
}

/* One core is left to who posts and waits: it copies, too. */
static uint32_t queues(void)
{
	int spare = adma_cpu_count_now() - 1;

	if (everything.config.queues)
		return everything.config.queues;
	if (spare < 1)
		return 1;
	return spare < QUEUES_DEFAULT_MAX ? (uint32_t)spare : QUEUES_DEFAULT_MAX;
}

/* ---- forks ---- */

void adma_engine_hold(void)
{
	pthread_mutex_lock(&everything.control);
}

void adma_engine_let_go(void)
{
	pthread_mutex_unlock(&everything.control);
}

/* Of threads that are not here, but for one at most. */
static void close_signals(void)
{
	for (struct adma_copy_signal *signal = everything.signals; signal; signal = signal->next) {
		close(signal->fd);
		signal->fd = -1;
	}
	everything.signals = NULL;
}

/*
 * The child has this one thread. What the parent had outstanding is the parent's: its copies here say so, and
 * the engine starts anew when it is needed. The lock is ours, but its waiters are not here.
 */
void adma_engine_forked(void)
{
	pthread_mutex_init(&everything.lock, NULL);
	pthread_mutex_init(&everything.control, NULL);
	pthread_cond_init(&everything.unlent, NULL);
	if (everything.engine)
		everything.engine->forked();
	memset(&everything.outstanding, 0, sizeof(everything.outstanding));
	memset(&everything.stats, 0, sizeof(everything.stats));
	everything.engine = NULL;
	everything.running = 0;
	everything.line = (struct adma_copy_line){0};
	everything.in_line = 0;
	everything.sleepers = 0;
	close_signals();
	everything.family++;
	atomic_store(&everything.pending, 0);
	atomic_store(&everything.now_copies, 0);
	atomic_store(&everything.now_bytes, 0);
	atomic_store(&everything.complete_ns, 0);
}

/* ---- starting and stopping ---- */

static int start(const struct adma_engine *engine)
{
	int got = engine->start(queues(), everything.config.policy);

	if (got < 0)
		return got;
	everything.running = (uint32_t)got;
	__atomic_store_n(&everything.engine, engine, __ATOMIC_RELEASE);
	return 0;
}

/* With both locks. */
static void start_chosen(void)
{
	if (everything.engine)
		return;
	everything.refused = -start(engines[chosen()]);
	if (everything.refused)
		(void)start(&adma_engine_caller);
}

const struct adma_engine *adma_engine_ready(void)
{
	if (everything.engine)
		return everything.engine;
	/* It may be stopping: that is waited for. */
	adma_engine_unlock();
	pthread_mutex_lock(&everything.control);
	adma_engine_lock();
	start_chosen();
	pthread_mutex_unlock(&everything.control);
	return everything.engine;
}

/* ---- lending ---- */

static _Atomic bool may_lend;

void adma_engine_may_assist(void)
{
	atomic_store_explicit(&may_lend, true, memory_order_relaxed);
}

void adma_engine_assist(struct adma_assist *lending, uint64_t bytes, uint64_t parts)
{
	const struct adma_engine *engine;

	if (!atomic_load_explicit(&may_lend, memory_order_relaxed))
		return;
	adma_engine_lock();
	lending->bytes = bytes;
	/* Who stops an engine waits for queues, and these for the lock of the channel that asks: so it must not wait. */
	if (!everything.engine && engines[chosen()]->lend && !pthread_mutex_trylock(&everything.control)) {
		start_chosen();
		pthread_mutex_unlock(&everything.control);
	}
	engine = everything.engine;
	if (engine && engine->lend && everything.running && everything.config.policy == ADMA_ADAPTIVE &&
	    !lending->work.listed) {
		lending->engine = engine;
		engine->lend(lending, parts);
	}
	adma_engine_unlock();
	adma_engine_kick();
}

void adma_engine_assist_stop(struct adma_assist *lending)
{
	adma_engine_lock();
	if (lending->work.listed)
		lending->engine->take_back(lending);
	while (lending->busy)
		pthread_cond_wait(&everything.unlent, &everything.lock);
	adma_engine_unlock();
}

/* With control. 0, or -EBUSY: something is outstanding. */
static int stop(void)
{
	const struct adma_engine *engine;
	int rc;

	adma_engine_lock();
	engine = everything.engine;
	rc = atomic_load(&everything.pending) ? -EBUSY : 0;
	if (!rc)
		__atomic_store_n(&everything.engine, NULL, __ATOMIC_RELEASE);
	adma_engine_unlock();
	if (rc || !engine)
		return rc;
	engine->stop();
	adma_engine_lock();
	everything.running = 0;
	adma_engine_unlock();
	return 0;
}

int adma_engine_stop(void)
{
	int rc;

	pthread_mutex_lock(&everything.control);
	rc = stop();
	pthread_mutex_unlock(&everything.control);
	return rc;
}

/* With control: the engine, whose queues are gone, hands what is left over to `caller`. */
static void leave(const struct adma_engine *engine)
{
	adma_engine_lock();
	everything.running = 0; /* nothing is lent to any more */
	adma_engine_unlock();
	engine->stop();
	adma_engine_lock();
	__atomic_store_n(&everything.engine, &adma_engine_caller, __ATOMIC_RELEASE);
	adma_engine_unlock();
}

int adma_engine_end(void)
{
	const struct adma_engine *engine;
	int rc = 0;

	pthread_mutex_lock(&everything.control);
	adma_engine_lock();
	everything.config.engine = ADMA_ENGINE_CALLER;
	everything.refused = 0;
	engine = everything.engine;
	adma_engine_unlock();
	if (engine && engine->leaves)
		leave(engine);
	else
		rc = stop();
	pthread_mutex_unlock(&everything.control);
	return rc;
}

int adma_engine_configure(const struct adma_engine_config *config)
{
	int rc;

	if (adma_engine_probe(config->engine) || config->queues > ADMA_QUEUES_MAX ||
	    config->policy > ADMA_ROUND_ROBIN || config->kernel > (uint32_t)adma_kernels())
		return -EINVAL;
	pthread_mutex_lock(&everything.control);
	rc = stop();
	if (!rc) {
		adma_engine_lock();
		everything.config = *config;
		atomic_store(&everything.at_once, config->at_once);
		everything.refused = 0;
		adma_engine_unlock();
	}
	pthread_mutex_unlock(&everything.control);
	return rc;
}

int adma_engine_probe(uint32_t engine)
{
	if (engine >= ADMA_ENGINE_COUNT)
		return EINVAL;
	if (engine == ADMA_ENGINE_AUTO)
		return 0; /* one of them always can be had */
	return -engines[engine]->probe();
}

/* ---- looking ---- */

void adma_engine_look(struct adma_engine_state *state)
{
	adma_engine_lock();
	state->chosen = chosen();
	state->running = everything.running;
	state->queues = state->chosen == ADMA_ENGINE_CALLER ? 0 : queues();
	state->refused = everything.refused;
	state->config = everything.config;
	adma_engine_unlock();
}

void adma_engine_get_stats(struct adma_engine_stats *stats)
{
	adma_engine_lock();
	*stats = everything.stats;
	stats->in_line = everything.in_line;
	stats->outstanding = atomic_load(&everything.pending);
	adma_engine_unlock();
	stats->at_once = atomic_load(&everything.now_copies);
	stats->copies += stats->at_once;
	stats->bytes += atomic_load(&everything.now_bytes);
	stats->complete_ns = atomic_load(&everything.complete_ns);
}
