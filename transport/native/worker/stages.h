/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h - when a request came to each of its stages: see struct adma_req_times. */
#ifndef ADMA_WORKER_STAGES_H
#define ADMA_WORKER_STAGES_H

#include <stdbool.h>

#include "adma.h"
#include "base/clock.h"

/* Is anybody going to ask? A blocking call is spared the clock. */
static inline bool adma_is_timed(const struct adma_req *req)
{
	return !(req->flags & ADMA_REQ_BLOCKING);
}

/* It comes to a stage, for the first time. */
static inline void adma_stamp(const struct adma_req *req, int64_t *stage)
{
	if (adma_is_timed(req) && !*stage)
		*stage = adma_now();
}

/* With the channel's lock, once: its caller has seen that it ended. Adds it to the sums. */
void adma_stages_seen(struct adma_req *req, struct adma_stats *stats);

#endif
