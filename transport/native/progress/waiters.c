/* SPDX-License-Identifier: BSD-3-Clause */
/* waiters.c - local wake-ups, and the descriptors on which threads sleep; see waiters.h. */
#include "progress/waiters.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "progress/spin.h"

int adma_waiters_init(struct adma_waiters *waiters)
{
	adma_spin_begin(&waiters->backoff);
	waiters->epoll = -1;
	waiters->eventfd = adma_event_make();
	if (waiters->eventfd < 0)
		return waiters->eventfd;
	waiters->own_eventfd = adma_own_note(waiters->eventfd);
	waiters->eventfd_used_at = waiters->owned_at = adma_now();
	return 0;
}

static bool waiters_eventfd_is_ours(struct adma_waiters *waiters)
{
	if (!waiters->lost)
		waiters->lost = !adma_own_use(&waiters->own_eventfd, waiters->eventfd, &waiters->eventfd_used_at);
	return !waiters->lost;
}

void adma_waiters_wake(struct adma_progress *progress)
{
	struct adma_waiters *waiters = &progress->waiters;
	uint64_t one = 1;

	if (!waiters->sleepers)
		return;
	waiters->wake_epoch++;
	/* If that fails, the sleepers wake by themselves, at the end of a second. */
	if (!waiters->wakes_left && waiters_eventfd_is_ours(waiters) &&
	    write(waiters->eventfd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		waiters->lost = true;
	waiters->wakes_left = waiters->sleepers;
}

void adma_waiters_wake_marked(struct adma_progress *progress)
{
	if (!(progress->worker.marks & ADMA_MARK_WAITERS))
		return;
	progress->worker.marks &= ~(uint32_t)ADMA_MARK_WAITERS;
	adma_waiters_wake(progress);
}

bool adma_waiters_miss_events(const struct adma_progress *progress)
{
	const struct adma_endpoint *ep;

	/* The epoll of a shared worker is kept up to date while threads sleep on it. */
	if (!progress->waiters.sleepers || adma_is_shared(progress))
		return false;
	ep = adma_only_endpoint(progress);
	return !ep->ops->silent && ep->ops->events(ep, false) & ~progress->waiters.slept_events;
}

static void sleeper_fill_fds(struct adma_progress *progress, struct pollfd *fds, bool listener)
{
	const struct adma_endpoint *ep = adma_only_endpoint(progress);
	struct adma_waiters *waiters = &progress->waiters;
	short events = ep->ops->events(ep, listener);

	fds[1] = (struct pollfd){.fd = adma_polled_sock(ep), .events = POLLIN};
	fds[2] = (struct pollfd){.fd = adma_polled_pidfd(ep), .events = POLLIN};
	fds[3] = (struct pollfd){.fd = events ? ep->ops->data_fd(ep) : -1, .events = events};
	waiters->slept_events = waiters->sleepers ? waiters->slept_events & events : events;
}

void adma_sleeper_join(struct adma_progress *progress, struct adma_sleeper *sleeper, struct pollfd *fds, bool blind)
{
	struct adma_waiters *waiters = &progress->waiters;

	fds[0] = (struct pollfd){.fd = waiters->lost ? -1 : waiters->eventfd, .events = POLLIN};
	if (adma_is_shared(progress))
		fds[1] = (struct pollfd){.fd = waiters->epoll, .events = POLLIN};
	else if (!blind)
		sleeper_fill_fds(progress, fds, sleeper->listener);
	waiters->sleepers++;
	waiters->listeners += sleeper->listener;
	progress->worker.users += !adma_is_shared(progress);
	sleeper->epoch = waiters->wake_epoch;
	sleeper->in = true;
	waiters->sleeps++;
}

/* The last of the sleepers that see a local wake-up empties the eventfd. */
static void sleeper_take_wake(struct adma_waiters *waiters, const struct adma_sleeper *sleeper)
{
	uint64_t count;

	if (sleeper->epoch == waiters->wake_epoch)
		return;
	if (waiters->wakes_left && --waiters->wakes_left == 0 && waiters_eventfd_is_ours(waiters) &&
	    read(waiters->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		waiters->lost = true;
}

void adma_sleeper_leave(struct adma_progress *progress, struct adma_sleeper *sleeper)
{
	progress->waiters.sleepers--;
	progress->waiters.listeners -= sleeper->listener;
	progress->worker.users -= !adma_is_shared(progress);
	sleeper->in = false;
	sleeper_take_wake(&progress->waiters, sleeper);
}
