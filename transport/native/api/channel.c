/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c - the life of a channel: making, closing, abandoning, freeing. */
#include "api/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "api/closing.h"
#include "api/entry.h"
#include "api/workers.h"
#include "base/clock.h"
#include "mech/table.h"
#include "progress/ownership.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/ending.h"
#include "worker/fifo.h"
#include "worker/fifo_endpoint.h"
#include "worker/life.h"
#include "worker/ring_endpoint.h"

/* ---- new ---- */

static int channel_open_endpoint(struct adma_endpoint *ep)
{
	int rc = ep->ops == &adma_fifo_endpoint_ops ? adma_fifo_open(ep) : 0;

	if (rc)
		return rc;
	rc = adma_mechanisms_open(&ep->connection);
	if (rc)
		ep->ops->close(ep);
	return rc;
}

static const struct adma_endpoint_ops *channel_ops(const struct adma_config *config)
{
	const struct adma_mechanism *forced = adma_mechanism(config->forced);

	return forced && forced->flags & ADMA_KERNEL_FIFO ? &adma_fifo_endpoint_ops : &adma_ring_endpoint_ops;
}

int adma_chan_new(const struct adma_config *config, struct adma_chan **out)
{
	struct adma_chan *chan = calloc(1, sizeof(*chan));
	int rc;

	if (!chan)
		return -ENOMEM;
	rc = adma_workers_make(&chan->progress, false);
	if (rc)
		goto free_channel;
	rc = adma_endpoint_init(&chan->ep, config, channel_ops(config));
	if (!rc)
		rc = channel_open_endpoint(&chan->ep);
	if (rc)
		goto free_endpoint;
	adma_worker_add(&chan->progress.worker, &chan->ep);
	adma_workers_enlist(&chan->progress);
	*out = chan;
	return 0;

free_endpoint:
	adma_endpoint_free(&chan->ep);
	adma_workers_tear_down(&chan->progress);
free_channel:
	free(chan);
	return rc;
}

/* ---- close ---- */

static void channel_begin_close(struct adma_chan *chan)
{
	chan->progress.worker.closed = true;
	if (chan->progress.ownership.delegated)
		adma_delegation_end(&chan->progress);
	adma_closing_begin(&chan->ep);
	adma_waiters_wake(&chan->progress);
	adma_watch_leave(&chan->progress.watch);
}

static void channel_tear_down(struct adma_chan *chan)
{
	adma_progress_forget(&chan->progress);
	adma_workers_tear_down_endpoint(&chan->progress, &chan->ep);
	adma_workers_tear_down(&chan->progress);
	chan->progress.worker.torn_down = true;
}

void adma_chan_drain(struct adma_chan *chan)
{
	if (adma_enter(chan))
		return;
	adma_ending_begin(&chan->ep);
	adma_waiters_wake(&chan->progress);
	adma_ownership_hand_over(&chan->progress);
	adma_publish_and_leave(chan);
}

bool adma_chan_linger(struct adma_chan *chan)
{
	bool drained;

	if (adma_enter(chan))
		return true;
	adma_ending_begin(&chan->ep);
	chan->ep.control.lingers = true; /* so that it is handed over */
	adma_ownership_hand_over(&chan->progress);
	(void)adma_publish(&chan->progress, false);
	drained = adma_ending_is_drained(&chan->ep);
	chan->ep.control.lingers = !drained;
	adma_leave(chan);
	return drained;
}

int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns)
{
	int64_t end = adma_now() + timeout_ns;
	int rc = 0;

	if (!chan || atomic_load(&chan->progress.worker.forked))
		return 0; /* the copy in a forked child was closed at the fork */
	pthread_mutex_lock(&chan->progress.worker.lock);
	if (!chan->ep.control.closing)
		channel_begin_close(chan);
	while (!chan->ep.control.torn_down) {
		uint64_t events = adma_ec_read(&chan->ep.connection.config.local->event_count); /* before the look */
		int64_t left = end - adma_now();

		if (adma_closing_is_quiet(&chan->ep))
			break;
		if (left <= 0) {
			rc = -EAGAIN;
			break;
		}
		adma_waiters_wake(&chan->progress);
		adma_closing_sleep(&chan->ep, adma_closing_arm(&chan->ep, events),
				   left < ADMA_CLOSE_SLEEP_NS ? left : ADMA_CLOSE_SLEEP_NS);
	}
	if (!rc && !chan->ep.control.torn_down)
		channel_tear_down(chan);
	pthread_mutex_unlock(&chan->progress.worker.lock);
	if (!rc)
		adma_workers_await_threads(&chan->progress, end);
	return rc;
}

uint64_t adma_chan_abandon(struct adma_chan *chan)
{
	struct adma_endpoint *ep;
	uint64_t held = 0;

	if (!chan || atomic_load(&chan->progress.worker.forked))
		return 0;
	ep = &chan->ep;
	pthread_mutex_lock(&chan->progress.worker.lock);
	/*
	 * The peer's threads are given up on, and so are those of ours that sleep: if somebody has closed what wakes
	 * them, they sleep until their second is over. While a thread of ours is held up, the maps stay.
	 */
	if (!ep->control.torn_down) {
		bool unused = adma_closing_await_users(ep);

		(void)adma_endpoint_advance(ep); /* complete, without `held`, what only our own threads held up */
		held = ep->ops->abandon(ep);
		if (unused)
			channel_tear_down(chan);
		else
			adma_progress_forget(&chan->progress);
	}
	pthread_mutex_unlock(&chan->progress.worker.lock);
	adma_workers_await_threads(&chan->progress, adma_now());
	return held;
}

/* Tear down and free a closed channel, or leave it to the last thread of ours that is held up in it. */
static void channel_let_go(struct adma_progress *progress)
{
	struct adma_chan *chan = adma_container_of(progress, struct adma_chan, progress);

	if (adma_workers_leave(progress, channel_let_go))
		return;
	if (!chan->ep.control.torn_down)
		channel_tear_down(chan);
	adma_workers_delist(progress);
	adma_endpoint_free(&chan->ep);
	free(chan);
}

void adma_chan_free(struct adma_chan *chan)
{
	if (!chan)
		return;
	if (adma_chan_close(chan, 0))
		(void)adma_chan_abandon(chan);
	channel_let_go(&chan->progress);
}
