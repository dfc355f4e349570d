/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll_descriptor.c - an epoll over all descriptors that can tell a worker something.
 *
 * An eventfd is writable unless its counter is full. So adding EPOLLOUT for it makes the epoll
 * readable at any time, and the counter stays free for local wake-ups.
 *
 * The threads of a shared worker sleep on an epoll over the descriptors of its endpoints, which
 * fileno() contains. A channel has the one for fileno() only, if at all.
 */
#include "progress/poll_descriptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/poll.h"
#include "worker/peer.h"
#include "worker/ready.h"

#define POLL_EVENTS 32 /* endpoints that one look checks; the next look checks others */

static int poll_control(int epoll, int op, int fd, uint32_t events, void *whose)
{
	struct epoll_event event = {.events = events, .data.ptr = whose};

	return fd >= 0 && epoll_ctl(epoll, op, fd, &event) ? -errno : 0;
}

/* The epoll in which the descriptors of the endpoints are. */
static int poll_of_endpoints(const struct adma_progress *progress)
{
	return adma_is_shared(progress) ? progress->waiters.epoll : progress->poll.epoll;
}

/* The kernel helper's descriptor tells of messages and completions; a mechanism's is polled only when it is needed. */
static uint32_t poll_first_data_events(const struct adma_endpoint *ep)
{
	return ep->ops->silent ? EPOLLIN | EPOLLPRI : 0;
}

int adma_poll_add(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;
	int epoll = poll_of_endpoints(progress);
	int rc = poll_control(epoll, EPOLL_CTL_ADD, config->sock, EPOLLIN, ep);

	if (!rc)
		rc = poll_control(epoll, EPOLL_CTL_ADD, config->pidfd, EPOLLIN, ep);
	if (!rc)
		rc = poll_control(epoll, EPOLL_CTL_ADD, ep->ops->data_fd(ep), poll_first_data_events(ep), ep);
	return rc;
}

void adma_poll_remove(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;
	int epoll = poll_of_endpoints(progress);

	/* Closing a descriptor does not remove it from the epoll while a child has a copy of it. */
	(void)poll_control(epoll, EPOLL_CTL_DEL, config->sock, 0, ep);
	(void)poll_control(epoll, EPOLL_CTL_DEL, config->pidfd, 0, ep);
	(void)poll_control(epoll, EPOLL_CTL_DEL, ep->ops->data_fd(ep), 0, ep);
}

int adma_poll_descriptor_open(struct adma_progress *progress)
{
	struct adma_poll_descriptor *poll = &progress->poll;
	int rc;

	poll->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (poll->epoll < 0)
		return -errno;
	if (adma_is_shared(progress))
		rc = poll_control(poll->epoll, EPOLL_CTL_ADD, progress->waiters.epoll, EPOLLIN, progress);
	else
		rc = adma_poll_add(progress, adma_only_endpoint(progress));
	if (!rc)
		rc = poll_control(poll->epoll, EPOLL_CTL_ADD, progress->waiters.eventfd, 0, progress);
	if (rc) {
		close(poll->epoll);
		poll->epoll = -1;
	}
	return rc;
}

static bool poll_has_news(struct adma_progress *progress)
{
	struct adma_worker *worker = &progress->worker;

	return worker->unobserved || adma_worker_has_message(worker) || adma_worker_ready(worker);
}

static void poll_update_data(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	short data = ep->ops->silent ? 0 : ep->ops->events(ep, false);

	if (data == ep->control.data_events)
		return;
	ep->control.data_events = data;
	(void)poll_control(poll_of_endpoints(progress), EPOLL_CTL_MOD, ep->ops->data_fd(ep),
			   (data & POLLIN ? EPOLLIN : 0) | (data & POLLOUT ? EPOLLOUT : 0), ep);
}

void adma_poll_update_data(struct adma_progress *progress)
{
	adma_worker_for_each_active(ep, &progress->worker)
		poll_update_data(progress, ep);
}

void adma_poll_descriptor_update(struct adma_progress *progress)
{
	bool readable = poll_has_news(progress);

	if (readable == progress->poll.readable)
		return;
	progress->poll.readable = readable;
	(void)poll_control(progress->poll.epoll, EPOLL_CTL_MOD, progress->waiters.eventfd, readable ? EPOLLOUT : 0,
			   progress);
}

/*
 * Something has hung up, perhaps the data descriptor. It tells of that whether or not it is asked, so it is
 * not polled any more once no transfer needs it.
 */
static void poll_check_data(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	struct pollfd data = {.fd = ep->ops->data_fd(ep)};

	if (data.fd < 0 || adma_poll(&data, 1, 0) <= 0)
		return;
	if (ep->ops->polled)
		ep->ops->polled(ep, data.revents);
	if (ep->control.over && !adma_transfers_polled(ep))
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, data.fd, 0, ep);
}

/*
 * The byte is from this peer, whatever the summary says: so look. At the end of file, and after the death of
 * the process, a descriptor would tell of that again and again.
 */
static bool poll_check_endpoint(const struct adma_progress *progress, struct adma_endpoint *ep, bool hung_up)
{
	bool changed = adma_peer_check(ep);

	if (hung_up)
		poll_check_data(progress, ep);

	if (ep->control.eof)
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, ep->connection.config.sock, 0, ep);
	if (ep->control.dead)
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, ep->connection.config.pidfd, 0, ep);
	return adma_endpoint_advance(ep) || changed;
}

bool adma_poll_check(struct adma_progress *progress)
{
	struct epoll_event events[POLL_EVENTS];
	bool changed = false;
	int n;

	if (!adma_is_shared(progress))
		return adma_peer_check(adma_only_endpoint(progress));
	n = epoll_wait(progress->waiters.epoll, events, POLL_EVENTS, 0);
	for (int i = 0; i < n; i++)
		changed |= poll_check_endpoint(progress, events[i].data.ptr, events[i].events & EPOLLHUP);
	return changed;
}

void adma_poll_read(struct adma_progress *progress)
{
	(void)adma_poll_check(progress);
	adma_worker_for_each_active(ep, &progress->worker)
		if (ep->ops->polled)
			ep->ops->polled(ep, POLLIN);
}
