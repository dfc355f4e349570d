/* SPDX-License-Identifier: BSD-3-Clause */
/* window.c - see window.h. */
#include "worker/window.h"

/* One in so many may be of another kind: buffers that are a few bytes apart by chance, for example. */
#define WINDOW_STRANGE 8

static bool window_suits(const struct adma_run *run, struct adma_table_key key, uint64_t bytes)
{
	const struct adma_run_choice *choice = &run->choice;

	return choice->key.uid == key.uid && choice->key.kind == key.kind &&
	       adma_estimates_class(choice->bytes) == adma_estimates_class(bytes);
}

bool adma_window_takes(const struct adma_window *w, struct adma_table_key key, uint64_t bytes)
{
	return w->run.left && w->run.joined < ADMA_RUN_MOST && window_suits(&w->run, key, bytes);
}

void adma_window_note(struct adma_window *w, bool alone)
{
	w->beside = alone ? 1 : w->beside + 1;
}

void adma_window_join(struct adma_window *w, const struct adma_run_choice *choice, uint64_t begun)
{
	if (!w->run.left)
		w->run = (struct adma_run){.choice = *choice, .begun = begun};
	w->run.joined++;
	w->run.left++;
}

void adma_window_pass(struct adma_window *w, struct adma_table_key key, uint64_t bytes)
{
	if (!w->run.left)
		return;
	w->run.others++;
	w->run.strange += !window_suits(&w->run, key, bytes);
}

static bool window_is_sample(const struct adma_run *run, bool both_waited, const struct adma_run_look *look)
{
	uint64_t inbound = (uint64_t)run->joined + run->others;

	if (run->failed || run->timed < ADMA_RUN_LEAST || look->now <= run->since)
		return false;
	if (look->begun - run->begun != inbound || run->strange > run->joined / WINDOW_STRANGE)
		return false;
	return look->waits && both_waited == run->choice.both_wait;
}

bool adma_window_leave(struct adma_window *w, uint64_t bytes, bool failed, const struct adma_run_look *look,
		       uint64_t *nanoseconds)
{
	struct adma_run *run = &w->run;
	bool both_waited;

	run->failed |= failed;
	run->waited += look->both_wait;
	if (run->since) {
		run->timed++;
		run->bytes += bytes;
	}
	if (--run->left)
		return false;
	both_waited = run->waited > run->joined / 2;
	w->ends = both_waited ? ADMA_RUN_ENDS_WAIT : ADMA_RUN_ENDS_COMPUTE;
	if (!window_is_sample(run, both_waited, look))
		return false;
	*nanoseconds = (uint64_t)((double)(look->now - run->since) * (double)run->choice.bytes / (double)run->bytes);
	return true;
}
