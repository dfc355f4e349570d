/* SPDX-License-Identifier: BSD-3-Clause */
/* engine.c - which engine serves, how it is set up, and what a fork leaves of it. */
#include "engine.h"

#include <errno.h>
#include <string.h>

#include "adma.h"
#include "cores.h"

#define everything adma_offload
#define QUEUES_DEFAULT_MAX 4
#define DRAIN_NS 1000000000ll

struct adma_offload adma_offload = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.control = PTHREAD_MUTEX_INITIALIZER,
	.signal = -1,
	.config = {.callers_help = true, .at_once = 16 << 10},
};

/* By enum adma_engine_id; `auto` is none of them. */
static const struct adma_engine *const engines[ADMA_ENGINE_COUNT] = {
	[ADMA_ENGINE_CALLER] = &adma_engine_caller,
	[ADMA_ENGINE_THREAD] = &adma_engine_thread,
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

/* ---- which ---- */

/* A thread of our own can only be in the way where there is one core. */
static uint32_t chosen(void)
{
	if (everything.config.engine != ADMA_ENGINE_AUTO)
		return everything.config.engine;
	return adma_cores_now() > 1 ? ADMA_ENGINE_THREAD : ADMA_ENGINE_CALLER;
}

/* One core is left to who posts and waits: it copies, too. */
static uint32_t queues(void)
{
	int spare = adma_cores_now() - 1;

	if (everything.config.queues)
		return everything.config.queues;
	if (spare < 1)
		return 1;
	return spare < QUEUES_DEFAULT_MAX ? (uint32_t)spare : QUEUES_DEFAULT_MAX;
}

/* ---- forks ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&everything.control);
	adma_engine_lock();
}

static void after_fork_parent(void)
{
	adma_engine_unlock();
	pthread_mutex_unlock(&everything.control);
}

/*
 * The child has this one thread. What the parent had outstanding is the parent's: its copies here say so, and
 * the engine starts anew when it is needed. The lock is ours, but its waiters are not here.
 */
static void after_fork_child(void)
{
	pthread_mutex_init(&everything.lock, NULL);
	pthread_mutex_init(&everything.control, NULL);
	if (everything.engine)
		everything.engine->forked();
	memset(&everything.outstanding, 0, sizeof(everything.outstanding));
	memset(&everything.stats, 0, sizeof(everything.stats));
	everything.engine = NULL;
	everything.running = 0;
	everything.first = everything.last = NULL;
	everything.in_line = 0;
	everything.sleepers = 0;
	everything.signal = -1; /* the parent's; close-on-exec, and shared with it until then */
	everything.signal_armed = false;
	everything.family++;
	atomic_store(&everything.pending, 0);
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
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

const struct adma_engine *adma_engine_ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (everything.engine)
		return everything.engine;
	/* It may be stopping: that is waited for. */
	adma_engine_unlock();
	pthread_once(&once, watch_forks);
	pthread_mutex_lock(&everything.control);
	adma_engine_lock();
	if (!everything.engine) {
		everything.refused = -start(engines[chosen()]);
		if (everything.refused)
			(void)start(&adma_engine_caller);
	}
	pthread_mutex_unlock(&everything.control);
	return everything.engine;
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

int adma_engine_configure(const struct adma_engine_config *config)
{
	int rc;

	if (config->engine >= ADMA_ENGINE_COUNT || config->queues > ADMA_QUEUES_MAX ||
	    config->policy > ADMA_ROUND_ROBIN)
		return -EINVAL;
	pthread_mutex_lock(&everything.control);
	rc = stop();
	if (!rc) {
		adma_engine_lock();
		everything.config = *config;
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
	return engines[engine] ? -engines[engine]->probe() : ENOSYS;
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
}
