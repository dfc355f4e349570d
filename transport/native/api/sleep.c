/* SPDX-License-Identifier: BSD-3-Clause */
/* sleep.c - how a caller that waits falls asleep: it arms, looks again, and calls ppoll(2). */
#include <errno.h>
#include <stdlib.h>

#include "api/drive.h"
#include "api/entry.h"
#include "base/clock.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "progress/spin.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/peer.h"
#include "worker/ready.h"

/* The time between two looks at the requests of a channel that another thread has closed. */
#define CLOSED_SLEEP_NS 10000000

enum prepared {
	STAY_AWAKE, /* there is something to do */
	SLEEP,
	SLEEP_BRIEFLY, /* this channel cannot wake the caller */
};

/* Arm and look again: may the caller sleep on this channel? */
static enum prepared sleep_prepare(struct adma_chan *chan, struct adma_sleeper *sleeper, struct pollfd *fds)
{
	struct adma_endpoint *ep;
	uint64_t events;
	bool blind;

	for (int i = 0; i < ADMA_FDS_PER_CHANNEL; i++)
		fds[i].fd = -1;
	if (adma_enter(chan))
		return SLEEP_BRIEFLY; /* it is closed */
	ep = &chan->ep;
	adma_ownership_acquire(chan);
	events = adma_ec_read(adma_event_count(chan));
	if (adma_endpoint_advance(ep) || adma_transfers_ready(ep) || !adma_ec_arm(adma_event_count(chan), events)) {
		adma_ownership_release(chan, false);
		adma_publish_and_leave(chan);
		return STAY_AWAKE;
	}
	adma_progress_unpoll(chan);
	/* The kernel helper's descriptor, once the peer's is closed, reports that for ever: do not sleep on it. */
	blind = ep->ops->silent && ep->control.over;
	adma_sleeper_join(chan, sleeper, fds, blind);
	/* Nothing else is to be published: the look found no change, and the event count was armed after it. */
	adma_waiters_wake_marked(chan);
	ep->control.marks = 0;
	adma_leave(chan);
	return blind ? SLEEP_BRIEFLY : SLEEP;
}

static void sleep_finish(struct adma_chan *chan, struct adma_sleeper *sleeper, const struct pollfd *fds, int64_t slept)
{
	struct adma_endpoint *ep = &chan->ep;

	if (!sleeper->in)
		return;
	pthread_mutex_lock(&ep->lock);
	adma_sleeper_leave(chan, sleeper);
	adma_ownership_release(chan, false);
	if (!chan->waiters.sleepers && !adma_poll_descriptor_is_open(chan) && !adma_watch_is_quiet(&chan->watch))
		adma_ec_disarm(adma_event_count(chan));
	if (fds[1].revents || fds[2].revents)
		(void)adma_peer_check(ep);
	if (ep->ops->polled)
		ep->ops->polled(ep, fds[3].revents);
	adma_spin_learn(chan, slept);
	adma_publish_and_leave(chan);
}

/* Sleep. 0: something happened; -ETIMEDOUT; -EINTR. */
static int sleep_poll(struct pollfd *fds, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
	struct timespec ts = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
	int rc = ppoll(fds, n, timeout_ns < 0 ? NULL : &ts, mask);

	if (rc < 0) {
		/* A ppoll() that fails does not fill in revents. */
		for (nfds_t i = 0; i < n; i++)
			fds[i].revents = 0;
		return -errno;
	}
	return rc ? 0 : -ETIMEDOUT;
}

/* A channel that is closed wakes nobody any more: sleep briefly, so that the caller soon looks at its requests. */
static int sleep_poll_briefly(struct pollfd *fds, nfds_t n, int64_t timeout_ns, const sigset_t *mask)
{
	bool last = timeout_ns >= 0 && timeout_ns <= CLOSED_SLEEP_NS;
	int rc = sleep_poll(fds, n, last ? timeout_ns : CLOSED_SLEEP_NS, mask);

	return rc == -ETIMEDOUT && !last ? 0 : rc;
}

static int sleep_on(const struct adma_wait *wait, struct adma_sleeper *sleepers, struct pollfd *fds, int64_t timeout_ns,
		    const sigset_t *mask)
{
	int n = wait->nchans, rc = 0;
	nfds_t nfds = (nfds_t)n * ADMA_FDS_PER_CHANNEL + 1;
	bool may = true, briefly = false;
	int64_t begin;

	fds[nfds - 1] = (struct pollfd){.fd = wait->also, .events = POLLIN};
	for (int i = 0; i < n && may; i++) {
		enum prepared prepared;

		sleepers[i].listener = !wait->nreqs;
		prepared = sleep_prepare(wait->chans[i], &sleepers[i], &fds[i * ADMA_FDS_PER_CHANNEL]);
		may = prepared != STAY_AWAKE;
		briefly |= prepared == SLEEP_BRIEFLY;
	}
	/* All channels are prepared: what completed before is seen here, and what completes from now on wakes us. */
	may = may && !adma_wait_is_satisfied(wait);
	begin = adma_now();
	if (may)
		rc = briefly ? sleep_poll_briefly(fds, nfds, timeout_ns, mask)
			     : sleep_poll(fds, nfds, timeout_ns, mask);
	for (int i = 0; i < n; i++)
		sleep_finish(wait->chans[i], &sleepers[i], &fds[i * ADMA_FDS_PER_CHANNEL], adma_now() - begin);
	return rc;
}

int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask)
{
	struct adma_sleeper few_sleepers[ADMA_SPIN_CHANNELS] = {0}, *sleepers = few_sleepers;
	struct pollfd few_fds[ADMA_SPIN_CHANNELS * ADMA_FDS_PER_CHANNEL + 1] = {0}, *fds = few_fds;
	int rc = -ENOMEM;

	if (wait->nchans > ADMA_SPIN_CHANNELS) {
		sleepers = calloc((size_t)wait->nchans, sizeof(*sleepers));
		fds = calloc((size_t)wait->nchans * ADMA_FDS_PER_CHANNEL + 1, sizeof(*fds));
	}
	if (sleepers && fds)
		rc = sleep_on(wait, sleepers, fds, timeout_ns, mask);
	if (wait->nchans > ADMA_SPIN_CHANNELS) {
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
