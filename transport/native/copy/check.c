/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - checking and cancelling a copy. */
#include <errno.h>

#include "adma.h"
#include "base/holds.h"
#include "base/notify.h"
#include "copy/completion.h"
#include "copy/state.h"

int adma_copy_check(struct adma_copy *copy)
{
	if (adma_copy_done(copy)) {
		adma_copy_seen(copy);
		return 1;
	}
	if (copy->fork_generation != adma_copies.fork_generation)
		return -ADMA_E_FORKED;
	adma_engine_reap();
	if (adma_copy_done(copy)) {
		adma_copy_seen(copy);
		return 1;
	}
	/* Where only callers copy, this call does: otherwise a loop of checks would never end. */
	return adma_copies.running ? 0 : adma_copy_wait_one(copy, 0);
}

/* Make sure that the engine does not start the copy. Called with the lock held. Returns false when it was started. */
static bool copy_take_back(struct adma_copy *copy)
{
	if (copy->state == ADMA_COPY_READY || copy->state == ADMA_COPY_RUNNING)
		return adma_copies.engine->cancel(copy);
	return copy->state == ADMA_COPY_WAITING;
}

int adma_copy_cancel(struct adma_copy *copy)
{
	int won = 0;

	if (adma_copy_done(copy))
		return copy->error == ECANCELED;
	adma_engine_lock();
	if (adma_copy_done(copy)) {
		won = copy->error == ECANCELED;
	} else if (copy->fork_generation == adma_copies.fork_generation && copy_take_back(copy)) {
		adma_copy_withdraw(copy);
		won = 1;
	}
	adma_engine_unlock();
	adma_engine_kick();
	adma_holds_tell();
	return won;
}

int adma_copy_tell(struct adma_copy *copy)
{
	bool done;

	adma_engine_lock();
	done = adma_copy_done(copy);
	if (!done)
		adma_hold_want(&copy->hold);
	adma_engine_unlock();
	return done;
}

int adma_copy_notify(struct adma_copy *copy)
{
	bool done;

	adma_engine_lock();
	done = adma_copy_done(copy);
	if (!done)
		adma_hold_notify(&copy->hold);
	adma_engine_unlock();
	return done;
}
