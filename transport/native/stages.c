/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c - how long each stage of a request took. */
#include "stages.h"

/* From the last stage that was seen to this one, which is the last one then; 0 when it was not seen. */
static int64_t lap(int64_t *last, int64_t stage)
{
	int64_t took = 0;

	if (stage > *last) {
		took = stage - *last;
		*last = stage;
	}
	return took;
}

void adma_split(const struct adma_req *req, struct adma_req_split *split)
{
	const struct adma_req_times *times = &req->times;
	int64_t last = times->posted;

	split->post_ns = lap(&last, times->published);
	split->match_ns = lap(&last, times->matched);
	split->start_ns = lap(&last, times->started);
	split->copy_ns = lap(&last, times->ended);
	split->complete_ns = lap(&last, times->seen);
}

void adma_stages_seen(struct adma_req *req, struct adma_stats *stats)
{
	struct adma_req_split split;

	if (!adma_is_timed(req) || req->times.seen || req->error)
		return;
	adma_stamp(req, &req->times.seen);
	adma_split(req, &split);
	stats->timed++;
	stats->post_ns += split.post_ns;
	stats->match_ns += split.match_ns;
	stats->start_ns += split.start_ns;
	stats->copy_ns += split.copy_ns;
	stats->complete_ns += split.complete_ns;
}
