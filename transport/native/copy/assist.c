/* SPDX-License-Identifier: BSD-3-Clause */
/* assist.c - asking copy worker threads to assist, and ending that. */
#include "copy/assist.h"

#include <stdatomic.h>

#include "base/thread.h"
#include "copy/engines.h"
#include "copy/state.h"

static _Atomic bool may_assist;

void adma_engine_may_assist(void)
{
	atomic_store_explicit(&may_assist, true, memory_order_relaxed);
}

void adma_engine_assist(struct adma_assist *assist, uint64_t bytes, uint64_t parts)
{
	const struct adma_engine *engine;

	if (!atomic_load_explicit(&may_assist, memory_order_relaxed))
		return;
	adma_engine_lock();
	assist->bytes = bytes;
	engine = adma_engine_to_assist();
	if (engine && !assist->work.listed) {
		assist->engine = engine;
		adma_copies.arrivals++;
		engine->assist(assist, parts);
	}
	adma_engine_unlock();
	adma_engine_kick();
}

void adma_engine_assist_stop(struct adma_assist *assist, int64_t end)
{
	adma_engine_lock();
	if (assist->work.listed)
		assist->engine->assist_end(assist);
	while (assist->busy && adma_condition_wait(&adma_copies.assist_idle, &adma_copies.lock, end))
		;
	adma_engine_unlock();
}

bool adma_engine_assist_leave(struct adma_assist *assist, void (*orphan)(struct adma_assist *assist))
{
	bool left;

	adma_engine_lock();
	left = assist->busy;
	if (left)
		assist->orphan = orphan;
	adma_engine_unlock();
	return left;
}
