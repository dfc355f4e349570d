/* SPDX-License-Identifier: BSD-3-Clause */
/* sleep.c - how a caller that waits falls asleep: it arms, looks again, and calls ppoll(2). */
#include <errno.h>
#include <stdlib.h>

#include "api/drive.h"
#include "api/entry.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/poll.h"
#include "progress/descriptors.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "progress/spin.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/peer.h"
#include "worker/ready.h"

/*
 * A sleep lasts for a second at most: if somebody has closed our descriptors, nobody can end it. Then the
 * caller looks whether they are still ours, and whether there is anything to do.
 */
#define SLEEP_MAX_NS ADMA_REST_NS

/* The time between two looks at the requests of a worker that another thread has closed. */
#define CLOSED_SLEEP_NS 10000000

/* For so many workers no memory is allocated. */
#define SLEEP_FEW 8

enum prepared {
	STAY_AWAKE, /* there is something to do */
	SLEEP,
	SLEEP_BRIEFLY, /* this worker cannot wake the caller */
};

/* Is there something that the caller would copy, if it did not sleep? */
static bool sleep_is_early(struct adma_progress *progress, const struct adma_sleeper *sleeper)
{
	const struct adma_ownership *ownership = &progress->ownership;
	bool copies = sleeper->owns || (!ownership->delegated && !ownership->owners); /* see drive_drain() */

	return copies && adma_worker_ready(&progress->worker);
}

/* Look at what may not be armed, and arm it. False: there is something to do. */
static bool sleep_arm(struct adma_progress *progress, const struct adma_sleeper *sleeper)
{
	struct adma_worker *worker = &progress->worker;
	struct adma_list *first;

	adma_worker_for_each_active(ep, worker)
		if (ep->ops->silent) /* what completed there signalled no event count */
			adma_mark(ep, ADMA_MARK_REARM);
	while ((first = adma_list_first(&worker->rearm))) {
		struct adma_endpoint *ep = adma_container_of(first, struct adma_endpoint, rearm);
		_Atomic uint64_t *event_count = &ep->connection.config.local->event_count;
		uint64_t events = adma_ec_read(event_count); /* before the look */

		adma_list_remove(&ep->rearm);
		if (!adma_endpoint_advance(ep) && adma_ec_arm(event_count, events)) {
			adma_list_remove(&ep->rearm);
			continue;
		}
		/* It is looked at again after the others. */
		if (!adma_list_listed(&ep->rearm))
			adma_list_push_back(&worker->rearm, &ep->rearm);
		return false;
	}
	return !sleep_is_early(progress, sleeper);
}

/* The kernel helper's descriptor, once the peer's is closed, reports that for ever: do not sleep on it. */
static bool sleep_is_blind(const struct adma_progress *progress)
{
	const struct adma_endpoint *ep;

	if (adma_is_shared(progress))
		return false;
	ep = adma_only_endpoint(progress);
	return ep->ops->silent && ep->control.over;
}

/*
 * Arm and look again: may the caller sleep on this worker? It owns the worker meanwhile, unless it waits until the worker
 * is drained, which the progress thread sees to.
 */
static enum prepared sleep_prepare(struct adma_progress *progress, struct adma_sleeper *sleeper, struct pollfd *fds)
{
	bool blind;

	for (int i = 0; i < ADMA_FDS_PER_WORKER; i++)
		fds[i].fd = -1;
	if (adma_enter_worker(progress))
		return SLEEP_BRIEFLY; /* it is closed */
	if (sleeper->owns)
		adma_ownership_acquire(progress);
	if (!sleep_arm(progress, sleeper)) {
		if (sleeper->owns)
			adma_ownership_release(progress, false);
		adma_publish_and_leave_worker(progress);
		return STAY_AWAKE;
	}
	if (sleeper->owns)
		adma_progress_unpoll(progress);
	if (adma_is_shared(progress))
		adma_poll_update_data(progress);
	blind = sleep_is_blind(progress);
	adma_sleeper_join(progress, sleeper, fds, blind);
	if (!sleeper->owns) {
		(void)adma_publish(progress, false); /* also for the progress thread */
	} else {
		/* Nothing more is to be published: the look found no change, and the event counts were armed after it. */
		adma_waiters_wake_marked(progress);
		progress->worker.marks = 0;
	}
	adma_leave_worker(progress);
	return blind ? SLEEP_BRIEFLY : SLEEP;
}

/* Was the sleep ended by the eventfd, although nobody had woken the caller? Then it may be another file by now. */
static bool sleep_is_suspect(const struct adma_progress *progress, const struct adma_sleeper *sleeper,
			     const struct pollfd *fds)
{
	const struct adma_waiters *waiters = &progress->waiters;

	return fds[0].revents & ~POLLIN ||
	       (fds[0].revents && !waiters->wakes_left && sleeper->epoch == waiters->wake_epoch);
}

/* The caller is awake: read what woke it. */
static void sleep_look(struct adma_progress *progress, const struct pollfd *fds)
{
	struct adma_endpoint *ep;

	if (adma_is_shared(progress)) {
		if (fds[1].revents)
			(void)adma_poll_check(progress);
		return;
	}
	ep = adma_only_endpoint(progress);
	if (fds[1].revents || fds[2].revents)
		(void)adma_peer_look(ep, fds[1].revents, fds[2].revents);
	if (ep->ops->polled)
		ep->ops->polled(ep, fds[3].revents);
}

/* `polled`: the descriptors were polled to the end. */
static void sleep_finish(struct adma_progress *progress, struct adma_sleeper *sleeper, const struct pollfd *fds,
			 int64_t slept, bool polled)
{
	int64_t now = adma_now();
	bool suspect;

	if (!sleeper->in)
		return;
	pthread_mutex_lock(&progress->worker.lock);
	suspect = sleep_is_suspect(progress, sleeper, fds);
	if (polled) /* which told of deaths and of all that is armed: the next check is due after a time of polling */
		progress->waiters.checked_at = now;
	adma_sleeper_leave(progress, sleeper);
	if (sleeper->owns)
		adma_ownership_release(progress, false);
	if (progress->worker.torn_down) { /* whoever closed it did not wait for us */
		adma_leave_worker(progress);
		return;
	}
	if (suspect)
		adma_descriptors_suspect(progress);
	adma_descriptors_check(progress, now);
	if (!progress->waiters.sleepers && !progress->ownership.delegated && !adma_poll_descriptor_is_open(progress) &&
	    !adma_watch_is_quiet(&progress->watch))
		adma_worker_disarm(&progress->worker);
	sleep_look(progress, fds);
	adma_spin_slept(progress, slept);
	adma_publish_and_leave_worker(progress);
}

/* Sleep. 0: something happened; -ETIMEDOUT; -EINTR. */
static int sleep_poll(struct pollfd *fds, nfds_t n, int64_t ns, const sigset_t *mask)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	int rc = adma_ppoll(fds, n, &ts, mask);

	if (rc < 0) {
		/* A ppoll() that fails does not fill in revents. */
		for (nfds_t i = 0; i < n; i++)
			fds[i].revents = 0;
		return -errno;
	}
	return rc ? 0 : -ETIMEDOUT;
}

/* Sleep once, for a second at most. 0: something happened; -ETIMEDOUT: nothing did; -EINTR. */
static int sleep_once(const struct adma_wait *wait, struct adma_sleeper *sleepers, struct pollfd *fds, int64_t ns,
		      const sigset_t *mask)
{
	int n = adma_wait_count(wait), rc = 0;
	nfds_t nfds = (nfds_t)n * ADMA_FDS_PER_WORKER + 1;
	bool may = true, briefly = false;
	int64_t begin;

	fds[nfds - 1] = (struct pollfd){.fd = wait->also, .events = POLLIN};
	for (int i = 0; i < n && may; i++) {
		enum prepared prepared;

		sleepers[i].listener = !wait->nreqs && !wait->drained;
		sleepers[i].owns = !wait->drained;
		prepared = sleep_prepare(adma_wait_progress(wait, i), &sleepers[i], &fds[i * ADMA_FDS_PER_WORKER]);
		may = prepared != STAY_AWAKE;
		briefly |= prepared == SLEEP_BRIEFLY;
	}
	/* All workers are prepared: what completed before is seen here, and what completes from now on wakes us. */
	may = may && !adma_wait_is_satisfied(wait);
	begin = adma_now();
	if (may && briefly && ns > CLOSED_SLEEP_NS) {
		/* A worker that is closed wakes nobody any more: the caller soon looks at its requests. */
		rc = sleep_poll(fds, nfds, CLOSED_SLEEP_NS, mask);
		rc = rc == -ETIMEDOUT ? 0 : rc;
	} else if (may) {
		rc = sleep_poll(fds, nfds, ns, mask);
	}
	for (int i = 0; i < n; i++)
		sleep_finish(adma_wait_progress(wait, i), &sleepers[i], &fds[i * ADMA_FDS_PER_WORKER],
			     adma_now() - begin, may && rc != -EINTR);
	return rc;
}

/* Sleep, second by second. The look that precedes each of them is also that for what nobody could tell us of. */
static int sleep_on(const struct adma_wait *wait, struct adma_sleeper *sleepers, struct pollfd *fds, int64_t timeout_ns,
		    const sigset_t *mask)
{
	int64_t end = timeout_ns < 0 ? ADMA_NEVER : adma_now() + timeout_ns,
		left = timeout_ns < 0 ? ADMA_NEVER : timeout_ns;
	int rc;

	do {
		rc = sleep_once(wait, sleepers, fds, left < SLEEP_MAX_NS ? left : SLEEP_MAX_NS, mask);
		left = end - adma_now();
	} while (rc == -ETIMEDOUT && left > 0 && wait->also < 0);
	/* The caller's own descriptor may be lost as well: what it tells of is looked at by the caller. */
	return left > 0 && rc == -ETIMEDOUT ? 0 : rc;
}

int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask)
{
	struct adma_sleeper few_sleepers[SLEEP_FEW] = {0}, *sleepers = few_sleepers;
	struct pollfd few_fds[SLEEP_FEW * ADMA_FDS_PER_WORKER + 1] = {0}, *fds = few_fds;
	int n = adma_wait_count(wait), rc = -ENOMEM;

	if (n > SLEEP_FEW) {
		sleepers = calloc((size_t)n, sizeof(*sleepers));
		fds = calloc((size_t)n * ADMA_FDS_PER_WORKER + 1, sizeof(*fds));
	}
	if (sleepers && fds)
		rc = sleep_on(wait, sleepers, fds, timeout_ns, mask);
	if (n > SLEEP_FEW) {
		free(sleepers);
		free(fds);
	}
	return rc;
}

int adma_sleep_one(struct adma_chan *chan, struct adma_req *req, int64_t timeout_ns, const sigset_t *mask)
{
	struct adma_wait wait = adma_wait_for_one(&chan, &req);

	return adma_sleep(&wait, timeout_ns, mask);
}
