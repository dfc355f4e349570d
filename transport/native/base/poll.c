/* SPDX-License-Identifier: BSD-3-Clause */
/* poll.c - ppoll(2), and pselect(2) in its place; see poll.h. */
#include "base/poll.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>

#define BITS (CHAR_BIT * sizeof(unsigned long))
#define DESCRIPTORS_MAX 16384 /* the type fd_set ends at 1024, the system call does not */

/* What an fd_set is, only longer. */
struct poll_bits {
	unsigned long words[DESCRIPTORS_MAX / BITS];
};

struct poll_sets {
	struct poll_bits read, write, except;
	int count;
};

static void bits_set(struct poll_bits *bits, int fd)
{
	bits->words[(size_t)fd / BITS] |= 1ul << ((size_t)fd % BITS);
}

static bool bits_have(const struct poll_bits *bits, int fd)
{
	return bits->words[(size_t)fd / BITS] >> ((size_t)fd % BITS) & 1;
}

static bool poll_is_selectable(const struct pollfd *polled)
{
	return polled->fd >= 0 && polled->fd < DESCRIPTORS_MAX;
}

static void sets_fill(struct poll_sets *sets, const struct pollfd *fds, nfds_t n)
{
	memset(sets, 0, sizeof(*sets));
	for (nfds_t i = 0; i < n; i++) {
		if (!poll_is_selectable(&fds[i]))
			continue;
		if (fds[i].events & POLLIN)
			bits_set(&sets->read, fds[i].fd);
		if (fds[i].events & POLLOUT)
			bits_set(&sets->write, fds[i].fd);
		if (fds[i].events & POLLPRI)
			bits_set(&sets->except, fds[i].fd);
		if (fds[i].fd >= sets->count)
			sets->count = fds[i].fd + 1;
	}
}

/* How many descriptors have events. */
static int sets_tell(const struct poll_sets *sets, struct pollfd *fds, nfds_t n)
{
	int ready = 0;

	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (!poll_is_selectable(&fds[i]))
			continue;
		fds[i].revents |= bits_have(&sets->read, fds[i].fd) ? POLLIN : 0;
		fds[i].revents |= bits_have(&sets->write, fds[i].fd) ? POLLOUT : 0;
		fds[i].revents |= bits_have(&sets->except, fds[i].fd) ? POLLPRI : 0;
		ready += fds[i].revents != 0;
	}
	return ready;
}

static int poll_select(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct poll_sets sets;
	int rc;

	sets_fill(&sets, fds, n);
	rc = pselect(sets.count, (fd_set *)&sets.read, (fd_set *)&sets.write, (fd_set *)&sets.except, timeout, mask);
	return rc < 0 ? rc : sets_tell(&sets, fds, n);
}

int adma_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	int rc = ppoll(fds, n, timeout, mask);

	return rc < 0 && errno == EINVAL ? poll_select(fds, n, timeout, mask) : rc;
}

int adma_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000l};

	return adma_ppoll(fds, n, timeout_ms < 0 ? NULL : &timeout, NULL);
}

uint32_t adma_epoll_events(short events)
{
	return (events & POLLIN ? EPOLLIN : 0u) | (events & POLLOUT ? EPOLLOUT : 0u) |
	       (events & POLLPRI ? EPOLLPRI : 0u);
}

short adma_poll_events(uint32_t events)
{
	int told = (events & EPOLLIN ? POLLIN : 0) | (events & EPOLLOUT ? POLLOUT : 0) |
		   (events & EPOLLPRI ? POLLPRI : 0) | (events & EPOLLHUP ? POLLHUP : 0) |
		   (events & EPOLLERR ? POLLERR : 0);

	return (short)told;
}
