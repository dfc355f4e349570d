/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll_descriptor.c - epolls over the descriptors that can tell a worker something.
 *
 * An eventfd is writable unless its counter is full. So an epoll is readable while it polls the
 * eventfd for EPOLLOUT, and the counter stays free for local wake-ups. The eventfd is added and
 * removed for that: an epoll that has told of a member does not tell those who poll it for edges
 * when the member is changed (EPOLL_CTL_MOD) and ready again.
 *
 * A channel has up to two of them, because a caller may be able to do something about the one reason
 * to be readable, and not about the other. The one for messages has the socket, the pidfd and the
 * kernel helper's descriptor in it, for as long as it is open: a byte that tells of something
 * else is read by any call. The one for completions has them while a request is pending, and with them
 * the data descriptor: then its holder has a request to check, which reads what is there.
 *
 * The threads of a shared worker sleep on an epoll over the descriptors of its endpoints. That one is
 * in the only descriptor that it has for others, which tells of messages and completions.
 */
#include "progress/poll_descriptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/poll.h"
#include "worker/peer.h"
#include "worker/ready.h"

#define POLL_EVENTS 32 /* endpoints that one look checks; the next look checks others */

/* Which descriptor of an endpoint is meant: an endpoint is aligned, so this fits into its address. */
enum poll_which { POLL_SOCK, POLL_PIDFD, POLL_DATA, POLL_WHICH_MASK };

static void *poll_tag(struct adma_endpoint *ep, enum poll_which which)
{
	return (void *)((uintptr_t)ep | which);
}

static int poll_control(int epoll, int op, int fd, uint32_t events, void *whose)
{
	struct epoll_event event = {.events = events, .data.ptr = whose};

	return fd >= 0 && epoll_ctl(epoll, op, fd, &event) ? -errno : 0;
}

static int poll_add(int epoll, struct adma_endpoint *ep, uint32_t data_events)
{
	int rc = poll_control(epoll, EPOLL_CTL_ADD, adma_polled_sock(ep), EPOLLIN, poll_tag(ep, POLL_SOCK));

	if (!rc)
		rc = poll_control(epoll, EPOLL_CTL_ADD, adma_polled_pidfd(ep), EPOLLIN, poll_tag(ep, POLL_PIDFD));
	if (!rc && data_events)
		rc = poll_control(epoll, EPOLL_CTL_ADD, ep->ops->data_fd(ep), data_events, poll_tag(ep, POLL_DATA));
	return rc;
}

/* Closing a descriptor does not remove it from the epoll while a child has a copy of it. */
static void poll_remove(int epoll, struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;

	(void)poll_control(epoll, EPOLL_CTL_DEL, config->sock, 0, ep);
	(void)poll_control(epoll, EPOLL_CTL_DEL, config->pidfd, 0, ep);
	(void)poll_control(epoll, EPOLL_CTL_DEL, ep->ops->data_fd(ep), 0, ep);
}

/* ---- the epoll of a shared worker ---- */

/* The kernel helper's descriptor is not the data descriptor of such an endpoint: a mechanism's is, when it is needed. */
int adma_poll_add(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	int rc = poll_add(progress->waiters.epoll, ep, 0);

	if (rc)
		return rc;
	return poll_control(progress->waiters.epoll, EPOLL_CTL_ADD, ep->ops->data_fd(ep), 0, poll_tag(ep, POLL_DATA));
}

void adma_poll_remove(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	poll_remove(progress->waiters.epoll, ep);
}

static uint32_t poll_data_events(const struct adma_endpoint *ep)
{
	return adma_epoll_events(ep->ops->events(ep, false));
}

static void poll_update_data(int epoll, struct adma_endpoint *ep)
{
	uint32_t events = ep->ops->silent ? 0 : poll_data_events(ep);

	if (events == ep->control.data_events)
		return;
	ep->control.data_events = events;
	(void)poll_control(epoll, EPOLL_CTL_MOD, ep->ops->data_fd(ep), events, poll_tag(ep, POLL_DATA));
}

void adma_poll_update_data(struct adma_progress *progress)
{
	adma_worker_for_each_active(ep, &progress->worker)
		poll_update_data(progress->waiters.epoll, ep);
}

/* ---- the descriptors for others ---- */

/* What of the kernel helper's descriptor concerns messages, and what completions. */
#define MESSAGE_EVENTS EPOLLPRI
#define COMPLETION_EVENTS EPOLLIN

static int poll_open(struct adma_poll_descriptor *poll)
{
	poll->readable = poll->polls_peer = false;
	poll->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (poll->epoll < 0)
		return -errno;
	poll->own = adma_own_note(poll->epoll);
	return 0;
}

/* Somebody may have closed the one that there was: its number is not used any more. */
static bool poll_is_open(struct adma_poll_descriptor *poll)
{
	if (poll->epoll >= 0 && !adma_own_is(&poll->own, poll->epoll))
		poll->epoll = -1;
	return poll->epoll >= 0;
}

int adma_poll_messages(struct adma_progress *progress)
{
	struct adma_poll_descriptor *poll = &progress->poll;
	struct adma_endpoint *ep;
	int rc;

	if (poll_is_open(poll))
		return poll->epoll;
	rc = poll_open(poll);
	if (rc)
		return rc;
	if (adma_is_shared(progress)) {
		rc = poll_control(poll->epoll, EPOLL_CTL_ADD, progress->waiters.epoll, EPOLLIN, progress);
	} else {
		ep = adma_only_endpoint(progress);
		rc = poll_add(poll->epoll, ep, ep->ops->silent ? MESSAGE_EVENTS : 0);
	}
	if (!rc)
		return poll->epoll;
	adma_own_close(&poll->epoll, &poll->own);
	return rc;
}

int adma_poll_completions(struct adma_progress *progress)
{
	struct adma_poll_descriptor *poll = &progress->completions;
	int rc;

	if (poll_is_open(poll))
		return poll->epoll;
	adma_only_endpoint(progress)->control.data_events = 0;
	rc = poll_open(poll);
	return rc ? rc : poll->epoll;
}

/* `unarmed`: whoever polls for edges has to come again, although nothing is new. */
static void poll_set_readable(struct adma_poll_descriptor *poll, struct adma_progress *progress, bool readable,
			      bool unarmed)
{
	if (poll->readable && (!readable || unarmed)) {
		(void)poll_control(poll->epoll, EPOLL_CTL_DEL, progress->waiters.eventfd, 0, progress);
		poll->readable = false;
	}
	if (readable && !poll->readable)
		poll->readable =
			!poll_control(poll->epoll, EPOLL_CTL_ADD, progress->waiters.eventfd, EPOLLOUT, progress);
}

/* The completed parts of an object that a call of ours has begun to receive are for the next such call. */
static bool poll_has_messages(struct adma_progress *progress)
{
	return progress->worker.unreceived || adma_worker_has_message(&progress->worker);
}

/* Does a read that somebody has a request for ask for its buffer? Any call for that request supplies it. */
static bool poll_is_asked(struct adma_progress *progress)
{
	const struct adma_req *first;

	if (adma_is_shared(progress)) /* messages with tags need no buffer to be matched */
		return false;
	first = adma_first_read(&adma_only_endpoint(progress)->receive.reads);
	return first && first->state == ADMA_NEED_STATE && first->flags & ADMA_REQ_TELL;
}

static bool poll_has_completions(struct adma_progress *progress)
{
	return progress->worker.unobserved || poll_is_asked(progress) || adma_worker_ready(&progress->worker);
}

/*
 * At the end of file, and after the death of the peer, its descriptors would tell of that for ever, whatever is
 * asked of them. So they leave the epoll.
 */
static bool poll_wants_peer(const struct adma_endpoint *ep)
{
	bool told = ep->control.eof || ep->control.dead || (ep->ops->silent && ep->control.over);

	return (ep->receive.pending || ep->send.pending) && !told;
}

static void poll_update_completions(struct adma_progress *progress, bool unarmed)
{
	struct adma_poll_descriptor *poll = &progress->completions;
	struct adma_endpoint *ep = adma_only_endpoint(progress);
	bool wants = poll_wants_peer(ep);
	uint32_t data = wants && !ep->ops->silent ? poll_data_events(ep) : 0;

	if (wants != poll->polls_peer) {
		if (wants)
			(void)poll_add(poll->epoll, ep, ep->ops->silent ? COMPLETION_EVENTS : 0);
		else
			poll_remove(poll->epoll, ep);
		poll->polls_peer = wants;
		ep->control.data_events = 0; /* poll_remove() has removed the data descriptor, too */
	}
	if (data != ep->control.data_events) { /* not by EPOLL_CTL_MOD: see above */
		if (ep->control.data_events)
			(void)poll_control(poll->epoll, EPOLL_CTL_DEL, ep->ops->data_fd(ep), 0, ep);
		if (data)
			(void)poll_control(poll->epoll, EPOLL_CTL_ADD, ep->ops->data_fd(ep), data,
					   poll_tag(ep, POLL_DATA));
		ep->control.data_events = data;
	}
	poll_set_readable(poll, progress, unarmed || poll_has_completions(progress), unarmed);
}

void adma_poll_descriptors_update(struct adma_progress *progress, bool unarmed)
{
	bool shared = adma_is_shared(progress);

	if (progress->completions.epoll >= 0)
		poll_update_completions(progress, unarmed);
	if (progress->poll.epoll >= 0)
		poll_set_readable(&progress->poll, progress,
				  unarmed || poll_has_messages(progress) || (shared && poll_has_completions(progress)),
				  unarmed);
}

/* ---- looking ---- */

#define HANG_UP_EVENTS (EPOLLHUP | EPOLLERR) /* an epoll tells these whether or not it is asked for them */

/*
 * Something has hung up, perhaps the data descriptor. It would tell of that for ever, so it is not polled any more:
 * at once if only the descriptor can tell when its transfers go on, since they count as ready then; otherwise once no
 * transfer needs it.
 */
static void poll_check_data(const struct adma_progress *progress, struct adma_endpoint *ep)
{
	struct pollfd data = {.fd = ep->ops->data_fd(ep)};

	if (data.fd < 0 || adma_poll(&data, 1, 0) <= 0)
		return;
	if (ep->ops->polled)
		ep->ops->polled(ep, data.revents);
	if (ep->control.data_ended || (ep->control.over && !adma_transfers_polled(ep)))
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, data.fd, 0, ep);
}

/*
 * The byte is from this peer, whatever the summary says: so look. At the end of file, and after the death of
 * the process, a descriptor would tell of that again and again. After a death the socket is read first: what the peer
 * passed comes before its end.
 */
static bool poll_check_endpoint(const struct adma_progress *progress, const struct epoll_event *event)
{
	enum poll_which which = (uintptr_t)event->data.ptr & POLL_WHICH_MASK;
	struct adma_endpoint *ep = (void *)((uintptr_t)event->data.ptr & ~(uintptr_t)POLL_WHICH_MASK);
	bool changed = false;

	if (which == POLL_SOCK)
		changed = adma_peer_look(ep, adma_poll_events(event->events), 0);
	else if (which == POLL_PIDFD)
		changed = adma_peer_check(ep);
	else if (event->events & HANG_UP_EVENTS)
		poll_check_data(progress, ep);
	if (ep->control.eof)
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, ep->connection.config.sock, 0, ep);
	if (ep->control.dead)
		(void)poll_control(progress->waiters.epoll, EPOLL_CTL_DEL, ep->connection.config.pidfd, 0, ep);
	changed |= adma_endpoint_advance(ep);
	/* If no transfer waits for the data descriptor any more, what the peer sends there is not read. */
	poll_update_data(progress->waiters.epoll, ep);
	return changed;
}

bool adma_poll_check(struct adma_progress *progress)
{
	struct epoll_event events[POLL_EVENTS];
	bool changed = false;
	int n;

	if (!adma_is_shared(progress))
		return adma_peer_check(adma_only_endpoint(progress));
	n = epoll_wait(progress->waiters.epoll, events, POLL_EVENTS, 0);
	progress->waiters.lost |= n < 0 && errno != EINTR;
	for (int i = 0; i < n; i++)
		changed |= poll_check_endpoint(progress, &events[i]);
	return changed;
}

void adma_poll_read(struct adma_progress *progress)
{
	(void)adma_poll_check(progress);
	adma_worker_for_each_active(ep, &progress->worker)
		if (ep->ops->polled)
			ep->ops->polled(ep, POLLIN);
}
