/* SPDX-License-Identifier: BSD-3-Clause */
/* channel.h - a channel: an endpoint, with a worker of its own. */
#ifndef ADMA_API_CHANNEL_H
#define ADMA_API_CHANNEL_H

#include "api/entry.h"

struct adma_chan {
	struct adma_progress progress;
	struct adma_endpoint ep;
};

/* ---- api/entry.h for the worker of a channel ---- */

static inline int adma_enter(struct adma_chan *chan)
{
	return adma_enter_worker(chan ? &chan->progress : NULL);
}

static inline int adma_try_enter(struct adma_chan *chan)
{
	return adma_try_enter_worker(chan ? &chan->progress : NULL);
}

static inline void adma_leave(struct adma_chan *chan)
{
	adma_leave_worker(&chan->progress);
}

static inline void adma_publish_and_leave(struct adma_chan *chan)
{
	adma_publish_and_leave_worker(&chan->progress);
}

#endif
