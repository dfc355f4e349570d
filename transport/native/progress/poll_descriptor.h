/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_descriptor.h - fileno(): a descriptor by which others poll the channel. Called with the lock held. */
#ifndef ADMA_PROGRESS_POLL_DESCRIPTOR_H
#define ADMA_PROGRESS_POLL_DESCRIPTOR_H

#include "progress/channel.h"

static inline bool adma_poll_descriptor_is_open(const struct adma_chan *chan)
{
	return chan->poll.epoll >= 0;
}

/* 0 or a negated errno. */
int adma_poll_descriptor_open(struct adma_chan *chan);

/* Make it readable if and only if there is something to look at. */
void adma_poll_descriptor_update(struct adma_chan *chan);

#endif
