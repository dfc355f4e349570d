/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_descriptor.h - descriptors to poll, of endpoints and of fileno(). Called with the lock held. */
#ifndef ADMA_PROGRESS_POLL_DESCRIPTOR_H
#define ADMA_PROGRESS_POLL_DESCRIPTOR_H

#include "progress/progress.h"

static inline bool adma_poll_descriptor_is_open(const struct adma_progress *progress)
{
	return progress->poll.epoll >= 0;
}

/* Open the descriptor by which others poll the worker: fileno(). 0 or a negated errno. */
int adma_poll_descriptor_open(struct adma_progress *progress);

/* Make it readable if and only if there is something to look at. */
void adma_poll_descriptor_update(struct adma_progress *progress);

/* Let the epoll poll the data descriptors for what transfers now wait for. */
void adma_poll_update_data(struct adma_progress *progress);

/* The descriptors of an endpoint join the epoll of its worker, or leave it. 0 or a negated errno. */
int adma_poll_add(const struct adma_progress *progress, struct adma_endpoint *ep);
void adma_poll_remove(const struct adma_progress *progress, struct adma_endpoint *ep);

/* Read what came over the sockets, and see whether a peer is gone. True when that changed anything. */
bool adma_poll_check(struct adma_progress *progress);

/* The same, and read the data descriptors that endpoints poll themselves. */
void adma_poll_read(struct adma_progress *progress);

#endif
