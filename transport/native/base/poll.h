/* SPDX-License-Identifier: BSD-3-Clause */
/* poll.h - poll(2) also for a process that has lowered its limit of descriptors. */
#ifndef ADMA_BASE_POLL_H
#define ADMA_BASE_POLL_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

/*
 * As ppoll(2) and poll(2). These refuse more entries than RLIMIT_NOFILE has, which sandboxes set to 0 once everything is
 * open. Then pselect(2) waits, which knows no such limit; of what has happened to a descriptor it tells only what was
 * asked for.
 */
int adma_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int adma_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/* Events of poll(2), as epoll(7) calls them; and what epoll(7) tells, as poll(2) would. */
uint32_t adma_epoll_events(short events);
short adma_poll_events(uint32_t events);

#endif
