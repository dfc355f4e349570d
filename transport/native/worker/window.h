/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * window.h - messages that are under way at the same time, and what they take together.
 *
 * While one transfer is carried, others wait for their turn, or share the cores with it. So the time of a single one
 * tells nothing of a mechanism, but the time of many in a row does. A *run* is a number of inbound transfers of one
 * size class that the reader matches one after the other, and carries by one way:
 *
 *   - It begins with a transfer that is beside others, or that is expected to be, because the ones before it were. There
 *     is one run at a time. A transfer that does not suit it, or that it has no room for, teaches nothing.
 *   - Its time begins when nothing older is under way, and ends with the last of its transfers.
 *   - It is a sample unless it had few transfers or was disturbed: by an outbound transfer, or by many inbound ones that
 *     do not suit it. Sleeps and wake-ups are no disturbance here: they are a part of what so many transfers take.
 *   - Ends that waited are expected to wait for the next run, too. A run of which something else was expected is no sample.
 *
 * Whether the ends wait cannot be asked at the match: the first messages of a window are matched while both ends still
 * post the others.
 *
 * A window knows neither clock nor lock, and no transfer but what it is told of.
 */
#ifndef ADMA_WORKER_WINDOW_H
#define ADMA_WORKER_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "learn/tables.h"

enum {
	ADMA_RUN_LEAST = 4, /* fewer transfers are no sample */
	ADMA_RUN_MOST = 64, /* so many are taken up */
};

/* By what way the transfers of a run go, and as what they count. */
struct adma_run_choice {
	struct adma_table_key key;
	uint32_t way;
	bool both_wait; /* both ends are expected to wait; `key` says the same */
	uint64_t bytes; /* of its first transfer */
};

/* What an endpoint has counted, and what it is doing. */
struct adma_run_look {
	int64_t now;
	uint64_t begun; /* transfers of both directions that were begun */
	bool waits, both_wait;
};

struct adma_run {
	struct adma_run_choice choice;
	uint64_t begun;        /* before its first transfer */
	int64_t since;         /* when its time began; 0: it has not */
	uint32_t joined, left; /* its transfers; those that are not complete. None is left: there is no run */
	uint32_t others;       /* inbound transfers that were matched meanwhile */
	uint32_t strange;      /* of these, those that do not suit it */
	uint32_t timed;        /* its transfers that were completed in its time */
	uint64_t bytes;        /* of these */
	uint32_t waited;       /* its transfers that were completed while both ends waited */
	bool failed;
};

enum adma_run_ends { ADMA_RUN_ENDS_UNKNOWN, ADMA_RUN_ENDS_WAIT, ADMA_RUN_ENDS_COMPUTE };

struct adma_window {
	struct adma_run run;
	uint32_t beside;         /* inbound transfers since none was under way */
	enum adma_run_ends ends; /* what they did during the last run */
};

/* Is an inbound transfer that is matched now one of many? `alone`: no other one is under way. */
static inline bool adma_window_expects(const struct adma_window *w, bool alone)
{
	return !alone || w->beside >= ADMA_RUN_LEAST;
}

/* Will both ends wait for it? `now`: they do. */
static inline bool adma_window_will_wait(const struct adma_window *w, bool now)
{
	return w->ends == ADMA_RUN_ENDS_UNKNOWN ? now : w->ends == ADMA_RUN_ENDS_WAIT;
}

/* Can a run begin? */
static inline bool adma_window_is_free(const struct adma_window *w)
{
	return !w->run.left;
}

/* Has a run begun whose time has not? */
static inline bool adma_window_is_early(const struct adma_window *w)
{
	return w->run.left && !w->run.since;
}

/* Does the run take up a transfer of this kind and size, if it is carried by the way of the run? */
bool adma_window_takes(const struct adma_window *w, struct adma_table_key key, uint64_t bytes);

/* An inbound transfer was matched. `begun`: what the endpoint had begun before. */
void adma_window_note(struct adma_window *w, bool alone);
void adma_window_join(struct adma_window *w, const struct adma_run_choice *choice, uint64_t begun);
void adma_window_pass(struct adma_window *w, struct adma_table_key key, uint64_t bytes);

/* The time of the run begins. */
static inline void adma_window_begin(struct adma_window *w, int64_t now)
{
	w->run.since = now;
}

/*
 * A transfer of the run is complete. True: it was the last one, and the run is a sample: so many nanoseconds for
 * `choice.bytes` bytes.
 */
bool adma_window_leave(struct adma_window *w, uint64_t bytes, bool failed, const struct adma_run_look *look,
		       uint64_t *nanoseconds);

#endif
