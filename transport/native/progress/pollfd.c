/* SPDX-License-Identifier: BSD-3-Clause */
/* watch.c - fileno(): a descriptor that others can poll for the channel. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "worker/channel.h"

/* The TCP socket's events that would let a transfer go on. */
short adma_socket_events(const struct adma_chan *chan)
{
	short events = 0;

	for (const struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (t->mechanism && t->mechanism->waitfd && adma_transfer_is_next(chan, t))
			events |= t->outbound ? POLLOUT : POLLIN;
	return events;
}

static int watch(struct adma_chan *chan, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return fd >= 0 && epoll_ctl(chan->epoll, op, fd, &event) ? -errno : 0;
}

static int start_watching(struct adma_chan *chan)
{
	int rc;

	chan->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (chan->epoll < 0)
		return -errno;
	rc = watch(chan, EPOLL_CTL_ADD, chan->config.sock, EPOLLIN);
	if (!rc)
		rc = watch(chan, EPOLL_CTL_ADD, chan->config.pidfd, EPOLLIN);
	if (!rc)
		rc = watch(chan, EPOLL_CTL_ADD, chan->config.mech_fd[ADMA_MECH_TCP], 0);
	if (!rc)
		rc = watch(chan, EPOLL_CTL_ADD, chan->fifo ? chan->config.mech_fd[chan->config.forced] : -1, EPOLLIN | EPOLLPRI);
	if (!rc)
		rc = watch(chan, EPOLL_CTL_ADD, chan->eventfd, 0);
	if (rc) {
		close(chan->epoll);
		chan->epoll = -1;
	}
	return rc;
}

int adma_fileno(struct adma_chan *chan)
{
	int rc = adma_enter(chan);

	if (rc)
		return rc;
	if (chan->epoll < 0)
		rc = start_watching(chan);
	if (!rc)
		rc = chan->epoll;
	adma_leave(chan);
	return rc;
}

/*
 * An eventfd is writable unless it is full, so EPOLLOUT on it makes the epoll
 * readable at will, and its counter stays free for local wake-ups.
 */
void adma_set_level(struct adma_chan *chan)
{
	bool level = chan->over || chan->unobserved || chan->in.held || adma_ring_fresh(&chan->in) ||
		     adma_transfers_ready(chan);
	short tcp = adma_socket_events(chan);

	if (level != chan->level) {
		chan->level = level;
		(void)watch(chan, EPOLL_CTL_MOD, chan->eventfd, level ? EPOLLOUT : 0);
	}
	if (tcp != chan->tcp_events) {
		chan->tcp_events = tcp;
		(void)watch(chan, EPOLL_CTL_MOD, chan->config.mech_fd[ADMA_MECH_TCP],
			    (tcp & POLLIN ? EPOLLIN : 0) | (tcp & POLLOUT ? EPOLLOUT : 0));
	}
}
