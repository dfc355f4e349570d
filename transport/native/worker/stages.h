/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.h - when a request reached each of its stages: see struct adma_req_times. */
#ifndef ADMA_WORKER_STAGES_H
#define ADMA_WORKER_STAGES_H

#include <stdbool.h>

#include "adma.h"
#include "base/clock.h"

/* Can a caller ask for the times? Not for those of a blocking call, which is spared reading the clock. */
static inline bool adma_is_timed(const struct adma_req *req)
{
	return !(req->flags & ADMA_REQ_BLOCKING);
}

/* Note the time at which the request reaches a stage for the first time. */
static inline void adma_stamp(const struct adma_req *req, int64_t *stage)
{
	if (adma_is_timed(req) && !*stage)
		*stage = adma_now();
}

/* The caller has seen that the request is complete. Adds its times to the sums, once. Called with the lock held. */
void adma_stages_seen(struct adma_req *req, struct adma_stats *stats);

#endif
