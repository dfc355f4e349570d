/* SPDX-License-Identifier: BSD-3-Clause */
/* stages.c - how long each stage of a request took. */
#include "worker/stages.h"

/* The time from the last known stage to this one, which becomes the last; 0 when this one is unknown. */
static int64_t stage_lap(int64_t *last, int64_t stage)
{
	int64_t took = 0;

	if (stage > *last) {
		took = stage - *last;
		*last = stage;
	}
	return took;
}

/* The split as this endpoint saw it. */
static struct adma_req_split stages_seen_here(const struct adma_req_times *times)
{
	struct adma_req_split split = {0};
	int64_t last = times->posted;

	split.post_ns = stage_lap(&last, times->published);
	split.match_ns = stage_lap(&last, times->matched);
	split.start_ns = stage_lap(&last, times->started);
	split.copy_ns = stage_lap(&last, times->ended);
	split.complete_ns = stage_lap(&last, times->seen);
	return split;
}

/* Take `ns` of what is left, or all that is left if that is less. */
static int64_t stage_take(int64_t *left, int64_t ns)
{
	int64_t took = ns < *left ? ns : *left;

	*left -= took;
	return took;
}

/* Use the kernel's times. The sum stays the same: the time that the kernel does not account for was waiting. */
static void stages_refine(struct adma_req_split *split, const struct adma_req_kernel *kernel)
{
	int64_t left = split->post_ns + split->match_ns + split->start_ns + split->copy_ns;

	split->complete_ns += stage_take(&left, kernel->complete_ns);
	split->copy_ns = stage_take(&left, kernel->copy_ns);
	split->start_ns = stage_take(&left, kernel->start_ns);
	split->pin_ns = stage_take(&left, kernel->pin_ns);
	split->post_ns = stage_take(&left, kernel->post_ns);
	split->match_ns = left;
}

void adma_split(const struct adma_req *req, struct adma_req_split *split)
{
	*split = stages_seen_here(&req->times);
	if (req->times.kernel.told)
		stages_refine(split, &req->times.kernel);
}

void adma_stages_seen(struct adma_req *req, struct adma_stats *stats)
{
	struct adma_req_split split;

	if (!adma_is_timed(req) || req->times.seen || req->error)
		return;
	adma_stamp(req, &req->times.seen);
	split = stages_seen_here(&req->times);
	stats->timed++;
	stats->post_ns += split.post_ns;
	stats->match_ns += split.match_ns;
	stats->start_ns += split.start_ns;
	stats->copy_ns += split.copy_ns;
	stats->complete_ns += split.complete_ns;
}
