/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.c - the life of a channel: making, closing, abandoning, freeing; the list of all channels, for a fork. */
#include "api/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "adma_handshake.h"
#include "api/entry.h"
#include "api/visit.h"
#include "base/clock.h"
#include "base/descriptor.h"
#include "base/fault.h"
#include "mech/table.h"
#include "progress/ownership.h"
#include "progress/poll_descriptor.h"
#include "progress/poll_set.h"
#include "progress/progress_thread.h"
#include "progress/waiters.h"
#include "shm/eventcount.h"
#include "worker/fifo.h"
#include "worker/fifo_endpoint.h"
#include "worker/peer.h"
#include "worker/ring_endpoint.h"
#include "worker/transfers.h"

#define CLOSE_SLEEP_NS 10000000
#define ABANDON_SLEEP_NS 1000000

/* ---- all channels of this process ---- */

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct adma_list all = ADMA_LIST_INIT(all);

static void channel_enlist(struct adma_chan *chan)
{
	pthread_mutex_lock(&all_lock);
	adma_list_push_front(&all, &chan->all);
	pthread_mutex_unlock(&all_lock);
}

static void channel_delist(struct adma_chan *chan)
{
	pthread_mutex_lock(&all_lock);
	adma_list_remove(&chan->all);
	pthread_mutex_unlock(&all_lock);
}

static void channel_unmap_segment(struct adma_segment **at)
{
	struct adma_segment *segment = *at;

	*at = NULL;
	adma_segment_unmap(segment);
}

static void channel_tear_down(struct adma_chan *chan)
{
	struct adma_endpoint *ep = &chan->ep;
	struct adma_config *config = &ep->connection.config;

	adma_progress_forget(chan);
	adma_descriptor_close(&config->sock);
	adma_descriptor_close(&config->pidfd);
	ep->ops->close(ep);
	adma_mechanisms_close(&ep->connection);
	adma_descriptor_close(&ep->send.segment_fd);
	adma_descriptor_close(&chan->waiters.eventfd);
	adma_descriptor_close(&chan->poll.epoll);
	channel_unmap_segment(&config->local);
	channel_unmap_segment(&config->remote);
	ep->control.torn_down = true;
}

void adma_channels_before_fork(void)
{
	pthread_mutex_lock(&all_lock);
	adma_progress_before_fork();
}

void adma_channels_after_fork_parent(void)
{
	adma_progress_after_fork_parent();
	pthread_mutex_unlock(&all_lock);
}

static void channel_forget_threads(struct adma_chan *chan)
{
	chan->entry = (struct adma_progress_entry){.visit = adma_visit};
	adma_list_init(&chan->entry.link);
	chan->assist = (struct adma_assist){.part = adma_visit_assist};
	adma_watch_init(&chan->watch);
}

/*
 * The child has one thread only. Locks that other threads held at the fork are never released in
 * the child. So its copies of channels are closed without taking any lock. They are closed so that
 * no descriptor keeps the parent's socket open, and they refuse all use from now on.
 */
void adma_channels_after_fork_child(void)
{
	adma_progress_after_fork_child();
	adma_list_for_each(at, &all) {
		struct adma_chan *chan = adma_container_of(at, struct adma_chan, all);

		channel_forget_threads(chan); /* these are threads of the parent */
		if (chan->ep.control.torn_down)
			continue;
		atomic_store(&chan->ep.control.forked, true);
		channel_tear_down(chan);
	}
	pthread_mutex_unlock(&all_lock);
}

/* ---- new ---- */

static void endpoint_init(struct adma_endpoint *ep, const struct adma_config *config)
{
	const struct adma_mechanism *forced = adma_mechanism(config->forced);
	bool in_kernel = forced && forced->flags & ADMA_KERNEL_FIFO;

	ep->connection.config = *config;
	ep->ops = in_kernel ? &adma_fifo_endpoint_ops : &adma_ring_endpoint_ops;
	ep->send.ring.segment = config->local;
	ep->receive.ring.segment = config->remote;
	ep->send.free_slots = ADMA_SLOTS;
	ep->send.segment_fd = -1;
	adma_req_queue_init(&ep->send.backlog);
	adma_req_queue_init(&ep->receive.reads);
	adma_list_init(&ep->transfers);
	ep->control.checked_at = adma_now();
}

/* The steps that can fail. Returns 0, or a negated errno: then nothing is left open. */
static int channel_open(struct adma_chan *chan)
{
	struct adma_endpoint *ep = &chan->ep;
	int rc = adma_waiters_init(&chan->waiters);

	if (rc)
		return rc;
	rc = ep->ops == &adma_fifo_endpoint_ops ? adma_fifo_open(ep) : 0;
	if (rc)
		goto close_eventfd;
	rc = adma_mechanisms_open(&ep->connection);
	if (rc)
		goto close_endpoint;
	return 0;

close_endpoint:
	ep->ops->close(ep);
	free(ep->fifo);
close_eventfd:
	adma_descriptor_close(&chan->waiters.eventfd);
	return rc;
}

int adma_chan_new(const struct adma_config *config, struct adma_chan **out)
{
	struct adma_chan *chan = calloc(1, sizeof(*chan));
	int rc;

	if (!chan)
		return -ENOMEM;
	endpoint_init(&chan->ep, config);
	chan->poll.epoll = -1;
	chan->ownership.grace_ns = ADMA_GRACE_NS;
	channel_forget_threads(chan);
	rc = channel_open(chan);
	if (rc) {
		free(chan);
		return rc;
	}
	pthread_mutex_init(&chan->ep.lock, NULL);
	channel_enlist(chan);
	*out = chan;
	return 0;
}

/* ---- close ---- */

static void channel_begin_close(struct adma_chan *chan)
{
	struct adma_endpoint *ep = &chan->ep;
	struct adma_control *control = &ep->control;

	(void)ADMA_FAULT(ADMA_FAULT_CLOSE);
	control->closing = true;
	if (chan->ownership.delegated)
		adma_delegation_end(chan);
	(void)adma_endpoint_advance(ep); /* what the peer has matched so far becomes a transfer */
	if (!control->over || control->over == ADMA_E_CLOSED || control->over == ADMA_E_DIED)
		control->over = ADMA_E_CLOSED_HERE;
	(void)adma_endpoint_advance(ep); /* this withdraws and fails unmatched requests */
	adma_transfers_close(ep);
	/* Stored after the withdrawals: a peer that sees `closed` sees all of these, too. */
	atomic_store_explicit(&ep->connection.config.local->closed, 1, memory_order_release);
	adma_signal_peer(ep);
	adma_waiters_wake(chan);
	adma_watch_leave(&chan->watch);
}

static bool channel_is_quiet(struct adma_chan *chan)
{
	(void)adma_peer_check(&chan->ep);
	(void)adma_endpoint_advance(&chan->ep); /* the peer may have matched what was being withdrawn */
	return !chan->ep.control.users && !chan->ep.ops->is_busy(&chan->ep);
}

/* Sleep until something may have completed the last transfer, or the last user may have left. */
static void channel_await_quiet(struct adma_chan *chan, uint64_t events, int64_t ns)
{
	const struct adma_endpoint *ep = &chan->ep;
	struct pollfd fds[2] = {
		{.fd = ep->control.eof ? -1 : ep->connection.config.sock, .events = POLLIN},
		{.fd = ep->control.dead ? -1 : ep->connection.config.pidfd, .events = POLLIN},
	};
	/* Neither a thread of ours that leaves nor the kernel signals anything: look again soon. */
	bool soon = ep->control.users || ep->ops->silent || !adma_ec_arm(adma_event_count(chan), events);

	pthread_mutex_unlock(&chan->ep.lock);
	(void)poll(fds, 2, soon ? 1 : (int)(ns / 1000000) + 1);
	pthread_mutex_lock(&chan->ep.lock);
}

/* The channel closes, so no thread enters it or assists it any more. Wait for those that did so before. */
static void channel_await_threads(struct adma_chan *chan)
{
	adma_engine_assist_stop(&chan->assist);
	adma_progress_release(chan);
}

int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns)
{
	int64_t end = adma_now() + timeout_ns;
	int rc = 0;

	if (!chan || atomic_load(&chan->ep.control.forked))
		return 0; /* the copy in a forked child was closed at the fork */
	pthread_mutex_lock(&chan->ep.lock);
	if (!chan->ep.control.closing)
		channel_begin_close(chan);
	while (!chan->ep.control.torn_down) {
		uint64_t events = adma_ec_read(adma_event_count(chan)); /* before the look */
		int64_t left = end - adma_now();

		if (channel_is_quiet(chan))
			break;
		if (left <= 0) {
			rc = -EAGAIN;
			break;
		}
		adma_waiters_wake(chan);
		channel_await_quiet(chan, events, left < CLOSE_SLEEP_NS ? left : CLOSE_SLEEP_NS);
	}
	if (!rc && !chan->ep.control.torn_down)
		channel_tear_down(chan);
	pthread_mutex_unlock(&chan->ep.lock);
	if (!rc)
		channel_await_threads(chan);
	return rc;
}

uint64_t adma_chan_abandon(struct adma_chan *chan)
{
	struct adma_endpoint *ep;
	uint64_t held = 0;

	if (!chan || atomic_load(&chan->ep.control.forked))
		return 0;
	ep = &chan->ep;
	pthread_mutex_lock(&ep->lock);
	/* Wait for our own threads, which copy for a moment only. Only the peer's threads are given up on. */
	while (!ep->control.torn_down && ep->control.users) {
		adma_waiters_wake(chan);
		channel_await_quiet(chan, 0, ABANDON_SLEEP_NS);
	}
	if (!ep->control.torn_down) {
		(void)adma_endpoint_advance(ep); /* complete, without `held`, what only our own threads held up */
		held = ep->ops->abandon(ep);
		channel_tear_down(chan);
	}
	pthread_mutex_unlock(&ep->lock);
	channel_await_threads(chan);
	return held;
}

void adma_chan_free(struct adma_chan *chan)
{
	if (!chan)
		return;
	if (adma_chan_close(chan, 0))
		(void)adma_chan_abandon(chan);
	channel_delist(chan);
	if (!atomic_load(&chan->ep.control.forked)) /* in a child it may be held for ever, by a thread of the parent */
		pthread_mutex_destroy(&chan->ep.lock);
	free(chan->ep.fifo);
	free(chan);
}
