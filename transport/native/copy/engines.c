/* SPDX-License-Identifier: BSD-3-Clause */
/* engines.c - the table of engines, and which of them is in use. */
#include "copy/engines.h"

#include <errno.h>

#include "base/cpu.h"
#include "copy/engine_caller.h"
#include "copy/engine_dma.h"
#include "copy/engine_thread.h"
#include "copy/kernels.h"
#include "copy/spread.h"
#include "copy/state.h"
#include "copy/wakeup.h"

#define WORKERS_DEFAULT_MAX 4

/* By enum adma_engine_id. ADMA_ENGINE_AUTO stands for one of them. */
static const struct adma_engine *const engines[ADMA_ENGINE_COUNT] = {
	[ADMA_ENGINE_CALLER] = &adma_engine_caller,
	[ADMA_ENGINE_THREAD] = &adma_engine_thread,
	[ADMA_ENGINE_DMA] = &adma_engine_dma,
};

/* ---- what the configuration means here ---- */

/* Where there is one core, a worker can only be in the way of the caller. */
static uint32_t engine_chosen(void)
{
	if (adma_copies.config.engine != ADMA_ENGINE_AUTO)
		return adma_copies.config.engine;
	return adma_cpu_count_now() > 1 ? ADMA_ENGINE_THREAD : ADMA_ENGINE_CALLER;
}

/* How many workers to start. One core is left to the thread that posts and waits, which copies as well. */
static uint32_t engine_workers(void)
{
	int spare = adma_cpu_count_now() - 1;

	if (adma_copies.config.queues)
		return adma_copies.config.queues;
	if (spare < 1)
		return 1;
	return spare < WORKERS_DEFAULT_MAX ? (uint32_t)spare : WORKERS_DEFAULT_MAX;
}

/* ---- forks ---- */

void adma_engine_hold(void)
{
	pthread_mutex_lock(&adma_copies.control);
}

void adma_engine_let_go(void)
{
	pthread_mutex_unlock(&adma_copies.control);
}

void adma_engine_forked(void)
{
	if (adma_copies.engine && adma_copies.engine->forked)
		adma_copies.engine->forked();
	adma_wakeup_forked();
	adma_copies_forked();
}

/* ---- starting ---- */

/* Called with the lock and `control` held. */
static int engine_start(const struct adma_engine *engine)
{
	int got = engine->start(engine_workers(), adma_copies.config.policy);

	if (got < 0)
		return got;
	adma_copies.running = (uint32_t)got;
	__atomic_store_n(&adma_copies.engine, engine, __ATOMIC_RELEASE);
	return 0;
}

/* Start the chosen engine, or `caller` in its place. Called with the lock and `control` held. */
static void engine_start_chosen(void)
{
	if (adma_copies.engine)
		return;
	adma_copies.refused = -engine_start(engines[engine_chosen()]);
	if (adma_copies.refused)
		(void)engine_start(&adma_engine_caller);
}

const struct adma_engine *adma_engine_ready(void)
{
	if (adma_copies.engine)
		return adma_copies.engine;
	/* An engine may be stopping just now. The thread that stops it holds `control`, so this waits for it. */
	adma_engine_unlock();
	pthread_mutex_lock(&adma_copies.control);
	adma_engine_lock();
	engine_start_chosen();
	pthread_mutex_unlock(&adma_copies.control);
	return adma_copies.engine;
}

const struct adma_engine *adma_engine_to_assist(void)
{
	const struct adma_engine *engine;

	/*
	 * The caller holds the lock of a channel. It must not wait for `control`: the thread that stops
	 * an engine holds it and waits for the workers, and these may wait for that lock.
	 */
	if (!adma_copies.engine && engines[engine_chosen()]->assist && !pthread_mutex_trylock(&adma_copies.control)) {
		engine_start_chosen();
		pthread_mutex_unlock(&adma_copies.control);
	}
	engine = adma_copies.engine;
	if (!engine || !engine->assist || !adma_copies.running || adma_copies.config.policy != ADMA_ADAPTIVE)
		return NULL;
	return engine;
}

/* ---- stopping ---- */

/* Called with `control` held. Returns 0, or -EBUSY while copies are outstanding. */
static int engine_stop(void)
{
	const struct adma_engine *engine;
	int rc;

	adma_engine_lock();
	engine = adma_copies.engine;
	rc = atomic_load(&adma_copies.pending) ? -EBUSY : 0;
	if (!rc)
		__atomic_store_n(&adma_copies.engine, NULL, __ATOMIC_RELEASE);
	adma_engine_unlock();
	if (rc || !engine)
		return rc;
	if (engine->stop)
		engine->stop();
	adma_engine_lock();
	adma_copies.running = 0;
	adma_engine_unlock();
	return 0;
}

int adma_engine_stop(void)
{
	int rc;

	pthread_mutex_lock(&adma_copies.control);
	rc = engine_stop();
	pthread_mutex_unlock(&adma_copies.control);
	return rc;
}

/* Stop the engine's threads, and let `caller` continue with the copies that are left. Called with `control` held. */
static void engine_leave_to_callers(const struct adma_engine *engine)
{
	adma_engine_lock();
	adma_copies.running = 0; /* so that no assist is listed from now on */
	adma_engine_unlock();
	if (engine->stop)
		engine->stop();
	adma_engine_lock();
	__atomic_store_n(&adma_copies.engine, &adma_engine_caller, __ATOMIC_RELEASE);
	adma_engine_unlock();
}

int adma_engine_end(void)
{
	const struct adma_engine *engine;
	int rc = 0;

	pthread_mutex_lock(&adma_copies.control);
	adma_engine_lock();
	adma_copies.config.engine = ADMA_ENGINE_CALLER;
	adma_copies.refused = 0;
	engine = adma_copies.engine;
	adma_engine_unlock();
	if (engine && engine->leaves_to_callers)
		engine_leave_to_callers(engine);
	else
		rc = engine_stop();
	pthread_mutex_unlock(&adma_copies.control);
	return rc;
}

/* ---- configuration ---- */

int adma_engine_probe(uint32_t engine)
{
	if (engine >= ADMA_ENGINE_COUNT)
		return EINVAL;
	if (engine == ADMA_ENGINE_AUTO)
		return 0; /* `caller` can always be used */
	return -engines[engine]->probe();
}

int adma_engine_configure(const struct adma_engine_config *config)
{
	int rc;

	if (adma_engine_probe(config->engine) || config->queues > ADMA_COPY_WORKERS_MAX ||
	    config->policy > ADMA_ROUND_ROBIN || config->kernel > (uint32_t)adma_kernels())
		return -EINVAL;
	pthread_mutex_lock(&adma_copies.control);
	rc = engine_stop();
	if (!rc) {
		adma_engine_lock();
		adma_copies.config = *config;
		atomic_store(&adma_copies.at_once, config->at_once);
		adma_copies.refused = 0;
		adma_engine_unlock();
	}
	pthread_mutex_unlock(&adma_copies.control);
	return rc;
}

void adma_engine_look(struct adma_engine_state *state)
{
	adma_engine_lock();
	state->chosen = engine_chosen();
	state->running = adma_copies.running;
	state->queues = state->chosen == ADMA_ENGINE_CALLER ? 0 : engine_workers();
	state->refused = adma_copies.refused;
	state->config = adma_copies.config;
	adma_engine_unlock();
}

int adma_engine_learnt(struct adma_spread *found, int room)
{
	int told;

	adma_engine_lock();
	told = adma_spread_tell(&adma_copies.spreads, found, room);
	adma_engine_unlock();
	return told;
}

int adma_engine_take_up(const struct adma_spread *spread)
{
	int rc;

	adma_engine_lock();
	rc = adma_spread_take_up(&adma_copies.spreads, engine_workers(), spread);
	adma_engine_unlock();
	return rc;
}

void adma_engine_get_stats(struct adma_engine_stats *stats)
{
	adma_engine_lock();
	*stats = adma_copies.stats;
	stats->in_line = adma_copies.backlog_length;
	stats->outstanding = atomic_load(&adma_copies.pending);
	adma_engine_unlock();
	stats->at_once = atomic_load(&adma_copies.now_copies);
	stats->copies += stats->at_once;
	stats->bytes += atomic_load(&adma_copies.now_bytes);
	stats->complete_ns = atomic_load(&adma_copies.complete_ns);
}
