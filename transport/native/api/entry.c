/* SPDX-License-Identifier: BSD-3-Clause */
/* entry.c - entering a channel, and publishing what changed before leaving it; see entry.h. */
#include "api/entry.h"

#include <poll.h>

#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/peer.h"
#include "worker/ready.h"

#define ARM_TRIES 1000

int adma_enter(struct adma_chan *chan)
{
	if (!chan) /* it was freed: the objects of a binding may die in any order */
		return -ADMA_E_CLOSED_HERE;
	if (atomic_load_explicit(&chan->ep.control.forked, memory_order_relaxed))
		return -ADMA_E_FORKED;
	pthread_mutex_lock(&chan->ep.lock);
	if (!chan->ep.control.closing)
		return 0;
	pthread_mutex_unlock(&chan->ep.lock);
	return -ADMA_E_CLOSED_HERE;
}

/* Does any thread rely on the event count being armed? */
static bool publish_is_awaited(struct adma_chan *chan)
{
	return chan->waiters.sleepers || adma_poll_descriptor_is_open(chan) || chan->ownership.delegated ||
	       adma_watch_is_slept_on(&chan->watch);
}

/* Look until there is nothing to do and the event count can be armed. False: that did not happen in so many tries. */
static bool publish_arm(struct adma_chan *chan)
{
	for (int i = 0; i < ARM_TRIES; i++) {
		uint64_t events = adma_ec_read(adma_event_count(chan)); /* before the look */

		if (!adma_endpoint_advance(&chan->ep) && adma_ec_arm(adma_event_count(chan), events))
			return true;
	}
	return false;
}

static bool publish_has_message(const struct adma_endpoint *ep)
{
	return ep->control.over || ep->receive.ring.held || adma_ring_fresh(&ep->receive.ring);
}

static bool publish_rearm(struct adma_chan *chan, bool by_progress_thread)
{
	struct adma_endpoint *ep = &chan->ep;
	bool polled = adma_poll_descriptor_is_open(chan), armed, more;

	if (polled) {
		(void)adma_peer_check(ep); /* an unread wake-up would keep the descriptor readable */
		if (ep->ops->polled)
			ep->ops->polled(ep, POLLIN);
	}
	armed = publish_arm(chan);
	/* If there is more to do, wake the sleepers for it: this thread may have read the byte that was to wake one. */
	more = adma_transfers_ready(ep) || !armed;
	if (more || adma_waiters_miss_events(chan) || (chan->waiters.listeners && publish_has_message(ep)))
		adma_waiters_wake(chan);
	adma_waiters_wake_marked(chan);
	if (chan->ownership.delegated)
		adma_delegation_rearm(chan, more, by_progress_thread);
	if (polled)
		adma_poll_descriptor_update(chan);
	return armed;
}

bool adma_publish(struct adma_chan *chan, bool by_progress_thread)
{
	bool armed = true;

	adma_waiters_wake_marked(chan);
	if (chan->ep.control.marks & ADMA_MARK_REARM) {
		bool awaited = publish_is_awaited(chan);

		if (awaited)
			armed = publish_rearm(chan, by_progress_thread);
		if (adma_watch_is_quiet(&chan->watch) && (!awaited || !armed || publish_has_message(&chan->ep)))
			adma_watch_activate(&chan->watch);
	}
	chan->ep.control.marks = 0;
	return armed;
}
