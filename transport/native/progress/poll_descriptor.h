/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_descriptor.h - descriptors to poll, of endpoints and for others: fileno(). Called with the lock held. */
#ifndef ADMA_PROGRESS_POLL_DESCRIPTOR_H
#define ADMA_PROGRESS_POLL_DESCRIPTOR_H

#include "progress/progress.h"

/* Is there a descriptor by which others poll the worker? */
static inline bool adma_poll_descriptor_is_open(const struct adma_progress *progress)
{
	return progress->poll.epoll >= 0 || progress->completions.epoll >= 0;
}

/*
 * The descriptors by which others poll the worker, which are opened at first: for messages and the end; and, of a
 * channel, for requests that are complete and were not looked at. A negated errno.
 */
int adma_poll_messages(struct adma_progress *progress);
int adma_poll_completions(struct adma_progress *progress);

/*
 * Make each of them readable if and only if there is something to look at. `unarmed`: an event count could not be armed,
 * so nobody would tell of what comes next; then both are readable, until the next call arms it.
 */
void adma_poll_descriptors_update(struct adma_progress *progress, bool unarmed);

/* Let the epoll of a shared worker poll the data descriptors for what transfers now wait for. */
void adma_poll_update_data(struct adma_progress *progress);

/* The descriptors of an endpoint join the epoll of its worker, or leave it. 0 or a negated errno. */
int adma_poll_add(const struct adma_progress *progress, struct adma_endpoint *ep);
void adma_poll_remove(const struct adma_progress *progress, struct adma_endpoint *ep);

/* Read what came over the sockets, and see whether a peer is gone. True when that changed anything. */
bool adma_poll_check(struct adma_progress *progress);

/* The same, and read the data descriptors that endpoints poll themselves. */
void adma_poll_read(struct adma_progress *progress);

#endif
