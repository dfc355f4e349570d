/* SPDX-License-Identifier: BSD-3-Clause */
/* visit.c - the entry points of the progress thread and of copy worker threads; see visit.h. */
#include "api/visit.h"

#include <poll.h>

#include "api/entry.h"
#include "base/clock.h"
#include "progress/ownership.h"
#include "progress/policy.h"
#include "progress/waiters.h"
#include "worker/peer.h"

#define BUDGET_NS 1000000 /* for one channel, before the others are visited */

bool adma_visit_assist(struct adma_assist *assist)
{
	struct adma_chan *chan = adma_container_of(assist, struct adma_chan, assist);
	bool moved;

	if (adma_enter(chan))
		return false;
	moved = chan->ownership.delegated && !chan->ep.control.over && adma_policy_assist(chan, adma_now());
	if (moved)
		(void)adma_endpoint_advance(&chan->ep); /* the chunk may have been the last one */
	adma_publish_and_leave(chan);
	return moved;
}

/* Look, and wake the waiters of what completed, before the lock is dropped for the next chunk. */
static void visit_look(struct adma_chan *chan)
{
	(void)adma_endpoint_advance(&chan->ep);
	adma_waiters_wake_marked(chan);
}

static void visit_copy(struct adma_chan *chan)
{
	const struct adma_control *control = &chan->ep.control;
	int64_t now = adma_now(), end = now + BUDGET_NS;

	/* The channel is not delegated any more when it was closed, or when a thread owns it. */
	while (chan->ownership.delegated && !control->over && now < end && adma_policy_copy(chan, now)) {
		if (chan->ownership.delegated)
			adma_policy_ask_assist(chan);
		chan->ownership.grace_ns = ADMA_GRACE_NS; /* no owner came back */
		visit_look(chan);
		now = adma_now();
	}
}

int64_t adma_visit(struct adma_chan *chan, bool by_time)
{
	int64_t now, again;
	bool armed;

	if (adma_enter(chan))
		return ADMA_NEVER;
	if (by_time)
		adma_policy_learn(chan);
	/* Look even if a thread owns the channel: this event may be the only one that tells of the peer's death. */
	(void)adma_peer_check(&chan->ep);
	if (chan->ep.ops->polled)
		chan->ep.ops->polled(&chan->ep, POLLIN);
	visit_look(chan);
	visit_copy(chan);
	armed = adma_publish(chan, true);
	now = adma_now();
	again = armed || !chan->ownership.delegated ? adma_policy_next(chan, now) : now;
	adma_leave(chan);
	return again;
}
