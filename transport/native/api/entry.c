/* SPDX-License-Identifier: BSD-3-Clause */
/* entry.c - entering a worker, and publishing what changed before leaving it; see entry.h. */
#include "api/entry.h"

#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"

#define ARM_TRIES 16 /* each may look at a whole ring, and the lock is held */

/* Why the lock of a worker is not even asked for: negated, or 0. */
static int enter_refused(const struct adma_progress *progress)
{
	if (!progress) /* it was freed: the objects of a binding may die in any order */
		return -ADMA_E_CLOSED_HERE;
	return atomic_load_explicit(&progress->worker.forked, memory_order_relaxed) ? -ADMA_E_FORKED : 0;
}

/* With the lock held: keep it and return 0, unless the worker is closed. */
static int enter_if_open(struct adma_worker *worker)
{
	if (!worker->closed)
		return 0;
	pthread_mutex_unlock(&worker->lock);
	return -ADMA_E_CLOSED_HERE;
}

int adma_enter_worker(struct adma_progress *progress)
{
	int rc = enter_refused(progress);

	if (rc)
		return rc;
	pthread_mutex_lock(&progress->worker.lock);
	return enter_if_open(&progress->worker);
}

int adma_try_enter_worker(struct adma_progress *progress)
{
	int rc = enter_refused(progress);

	if (rc)
		return rc;
	if (pthread_mutex_trylock(&progress->worker.lock))
		return -ADMA_E_BUSY;
	return enter_if_open(&progress->worker);
}

/* Does any thread rely on the event counts being armed? */
static bool publish_is_awaited(struct adma_progress *progress)
{
	return progress->waiters.sleepers || adma_poll_descriptor_is_open(progress) || progress->ownership.delegated ||
	       adma_watch_is_slept_on(&progress->watch);
}

/* Look until there is nothing to do and the event count can be armed. False: that did not happen in so many tries. */
static bool publish_arm(struct adma_endpoint *ep)
{
	_Atomic uint64_t *event_count = &ep->connection.config.local->event_count;

	for (int i = 0; i < ARM_TRIES; i++) {
		uint64_t events = adma_ec_read(event_count); /* before the look */

		if (!adma_endpoint_advance(ep) && adma_ec_arm(event_count, events)) {
			adma_list_remove(&ep->rearm);
			return true;
		}
	}
	return false;
}

/*
 * The same for all endpoints whose event counts may not be armed. Where that fails, the others have to be
 * armed all the same: a peer that signals again and again may not make us deaf to them.
 */
static bool publish_arm_all(struct adma_worker *worker)
{
	bool armed = true;

	adma_list_for_each_safe(at, after, &worker->rearm)
		armed &= publish_arm(adma_container_of(at, struct adma_endpoint, rearm));
	return armed;
}

static bool publish_rearm(struct adma_progress *progress, bool by_progress_thread)
{
	struct adma_worker *worker = &progress->worker;
	bool polled = adma_poll_descriptor_is_open(progress), armed, more;

	if (polled) /* an unread wake-up would keep the descriptor readable */
		adma_poll_read(progress);
	armed = publish_arm_all(worker);
	/* If there is more to do, wake the sleepers for it: this thread may have read the byte that was to wake one. */
	more = adma_worker_ready(worker) || !armed;
	if (more || adma_waiters_miss_events(progress) ||
	    (progress->waiters.listeners && adma_worker_has_message(worker)))
		adma_waiters_wake(progress);
	adma_waiters_wake_marked(progress);
	if (progress->ownership.delegated)
		adma_delegation_rearm(progress, more, by_progress_thread);
	if (adma_is_shared(progress))
		adma_poll_update_data(progress);
	if (polled)
		adma_poll_descriptors_update(progress, !armed);
	return armed;
}

bool adma_publish(struct adma_progress *progress, bool by_progress_thread)
{
	bool armed = true;

	adma_waiters_wake_marked(progress);
	if (progress->worker.marks & ADMA_MARK_REARM) {
		bool awaited = publish_is_awaited(progress);

		if (awaited)
			armed = publish_rearm(progress, by_progress_thread);
		if (adma_watch_is_quiet(&progress->watch) &&
		    (!awaited || !armed || adma_worker_has_message(&progress->worker)))
			adma_watch_activate(&progress->watch);
	}
	progress->worker.marks = 0;
	return armed;
}
