/* SPDX-License-Identifier: BSD-3-Clause */
/* waiters.c - local wake-ups, and the descriptors on which threads sleep; see waiters.h. */
#include "progress/waiters.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIRST_SPIN_NS 50000

int adma_waiters_init(struct adma_waiters *waiters)
{
	waiters->spin_ns = FIRST_SPIN_NS;
	waiters->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return waiters->eventfd < 0 ? -errno : 0;
}

void adma_waiters_wake(struct adma_chan *chan)
{
	struct adma_waiters *waiters = &chan->waiters;
	uint64_t one = 1;

	if (!waiters->sleepers)
		return;
	waiters->wake_epoch++;
	if (!waiters->wakes_left)
		(void)!write(waiters->eventfd, &one, sizeof(one));
	waiters->wakes_left = waiters->sleepers;
}

void adma_waiters_wake_marked(struct adma_chan *chan)
{
	if (!(chan->ep.control.marks & ADMA_MARK_WAITERS))
		return;
	chan->ep.control.marks &= ~(uint32_t)ADMA_MARK_WAITERS;
	adma_waiters_wake(chan);
}

bool adma_waiters_miss_events(const struct adma_chan *chan)
{
	if (!chan->waiters.sleepers || chan->ep.ops->silent)
		return false;
	return chan->ep.ops->events(&chan->ep, false) & ~chan->waiters.slept_events;
}

static void sleeper_fill_fds(struct adma_chan *chan, struct pollfd *fds, bool listener)
{
	const struct adma_control *control = &chan->ep.control;
	const struct adma_config *config = &chan->ep.connection.config;
	struct adma_waiters *waiters = &chan->waiters;
	short events = chan->ep.ops->events(&chan->ep, listener);

	fds[0] = (struct pollfd){.fd = waiters->eventfd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = control->eof ? -1 : config->sock, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = control->dead ? -1 : config->pidfd, .events = POLLIN};
	fds[3] = (struct pollfd){.fd = events ? chan->ep.ops->data_fd(&chan->ep) : -1, .events = events};
	waiters->slept_events = waiters->sleepers ? waiters->slept_events & events : events;
}

void adma_sleeper_join(struct adma_chan *chan, struct adma_sleeper *sleeper, struct pollfd *fds, bool blind)
{
	struct adma_waiters *waiters = &chan->waiters;

	if (!blind)
		sleeper_fill_fds(chan, fds, sleeper->listener);
	waiters->sleepers++;
	waiters->listeners += sleeper->listener;
	chan->ep.control.users++;
	sleeper->epoch = waiters->wake_epoch;
	sleeper->in = true;
	chan->ep.stats.sleeps++;
}

/* The last of the sleepers that see a local wake-up empties the eventfd. */
static void sleeper_take_wake(struct adma_waiters *waiters, const struct adma_sleeper *sleeper)
{
	uint64_t count;

	if (sleeper->epoch == waiters->wake_epoch)
		return;
	if (waiters->wakes_left && --waiters->wakes_left == 0)
		(void)!read(waiters->eventfd, &count, sizeof(count));
}

void adma_sleeper_leave(struct adma_chan *chan, struct adma_sleeper *sleeper)
{
	chan->waiters.sleepers--;
	chan->waiters.listeners -= sleeper->listener;
	chan->ep.control.users--;
	sleeper->in = false;
	sleeper_take_wake(&chan->waiters, sleeper);
}
