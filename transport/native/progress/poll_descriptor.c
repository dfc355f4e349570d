/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll_descriptor.c - an epoll over all descriptors that can tell a channel something.
 *
 * An eventfd is writable unless its counter is full. So adding EPOLLOUT for it makes the epoll
 * readable at any time, and the counter stays free for local wake-ups.
 */
#include "progress/poll_descriptor.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "worker/ready.h"

static int poll_control(struct adma_chan *chan, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return fd >= 0 && epoll_ctl(chan->poll.epoll, op, fd, &event) ? -errno : 0;
}

/* The kernel helper's descriptor tells of messages and completions; a mechanism's is polled only when it is needed. */
static uint32_t poll_first_data_events(const struct adma_chan *chan)
{
	return chan->ep.ops->silent ? EPOLLIN | EPOLLPRI : 0;
}

int adma_poll_descriptor_open(struct adma_chan *chan)
{
	const struct adma_config *config = &chan->ep.connection.config;
	int rc;

	chan->poll.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (chan->poll.epoll < 0)
		return -errno;
	rc = poll_control(chan, EPOLL_CTL_ADD, config->sock, EPOLLIN);
	if (!rc)
		rc = poll_control(chan, EPOLL_CTL_ADD, config->pidfd, EPOLLIN);
	if (!rc)
		rc = poll_control(chan, EPOLL_CTL_ADD, chan->ep.ops->data_fd(&chan->ep), poll_first_data_events(chan));
	if (!rc)
		rc = poll_control(chan, EPOLL_CTL_ADD, chan->waiters.eventfd, 0);
	if (rc) {
		close(chan->poll.epoll);
		chan->poll.epoll = -1;
	}
	return rc;
}

static bool poll_has_news(struct adma_chan *chan)
{
	struct adma_endpoint *ep = &chan->ep;

	return ep->control.over || ep->control.unobserved || ep->receive.ring.held ||
	       adma_ring_fresh(&ep->receive.ring) || adma_transfers_ready(ep);
}

void adma_poll_descriptor_update(struct adma_chan *chan)
{
	bool readable = poll_has_news(chan);
	short data = chan->ep.ops->silent ? 0 : chan->ep.ops->events(&chan->ep, false);

	if (readable != chan->poll.readable) {
		chan->poll.readable = readable;
		(void)poll_control(chan, EPOLL_CTL_MOD, chan->waiters.eventfd, readable ? EPOLLOUT : 0);
	}
	if (data != chan->poll.data_events) {
		chan->poll.data_events = data;
		(void)poll_control(chan, EPOLL_CTL_MOD, chan->ep.ops->data_fd(&chan->ep),
				   (data & POLLIN ? EPOLLIN : 0) | (data & POLLOUT ? EPOLLOUT : 0));
	}
}
