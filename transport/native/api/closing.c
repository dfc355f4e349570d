/* SPDX-License-Identifier: BSD-3-Clause */
/* closing.c - the steps of a close that channels and workers share; see closing.h. */
#include "api/closing.h"

#include "base/fault.h"
#include "base/held_up.h"
#include "base/poll.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/ending.h"
#include "worker/peer.h"
#include "worker/transfers.h"

void adma_closing_begin(struct adma_endpoint *ep)
{
	struct adma_control *control = &ep->control;

	(void)ADMA_FAULT(ADMA_FAULT_CLOSE);
	adma_ending_begin(ep);
	control->closing = true;
	(void)adma_endpoint_advance(ep); /* what the peer has matched so far becomes a transfer */
	if (!control->over || control->over == ADMA_E_CLOSED || control->over == ADMA_E_DIED ||
	    control->over == ADMA_E_DESCRIPTOR)
		control->over = ADMA_E_CLOSED_HERE;
	(void)adma_endpoint_advance(ep); /* this withdraws and fails unmatched requests */
	adma_transfers_close(ep);
	adma_ending_tell_closed(ep);
}

bool adma_closing_has_users(const struct adma_endpoint *ep)
{
	return ep->control.users || ep->worker->users;
}

/* The same, without the threads of ours that sleep: they touch nothing before they have looked under the lock. */
static bool closing_has_users_awake(const struct adma_endpoint *ep)
{
	const struct adma_progress *progress = adma_progress_of(ep->worker);
	uint32_t asleep = adma_is_shared(progress) ? 0 : progress->waiters.sleepers;

	return ep->control.users || ep->worker->users > asleep;
}

bool adma_closing_await_users(struct adma_endpoint *ep)
{
	int64_t begun_at = adma_now();

	while (closing_has_users_awake(ep)) {
		if (adma_is_held_up(begun_at))
			return false;
		adma_waiters_wake(adma_progress_of(ep->worker));
		adma_closing_sleep(ep, adma_closing_arm(ep, 0), ADMA_ABANDON_SLEEP_NS);
	}
	return true;
}

bool adma_closing_is_quiet(struct adma_endpoint *ep)
{
	(void)adma_peer_check(ep);
	(void)adma_endpoint_advance(ep); /* the peer may have matched what was being withdrawn */
	return !adma_closing_has_users(ep) && !ep->ops->is_busy(ep);
}

bool adma_closing_arm(struct adma_endpoint *ep, uint64_t events)
{
	/* Neither a thread of ours that leaves nor the kernel signals anything: look again soon. */
	return !adma_closing_has_users(ep) && !ep->ops->silent &&
	       adma_ec_arm(&ep->connection.config.local->event_count, events);
}

void adma_closing_sleep(struct adma_endpoint *ep, bool armed, int64_t ns)
{
	struct adma_worker *worker = ep->worker;
	struct pollfd fds[2] = {
		{.fd = adma_polled_sock(ep), .events = POLLIN},
		{.fd = adma_polled_pidfd(ep), .events = POLLIN},
	};

	pthread_mutex_unlock(&worker->lock);
	(void)adma_poll(fds, 2, armed ? (int)(ns / 1000000) + 1 : 1);
	pthread_mutex_lock(&worker->lock);
}
