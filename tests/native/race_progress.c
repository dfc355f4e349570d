/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * race_progress.c - messages that nobody waits for: posted at both ends of a channel, and copied by the
 * progress thread and by copy worker threads that assist it, while others look, wait for a moment,
 * configure and stop the engine, copy with it, and at last close. In some rounds a chunk takes so long that
 * another thread takes over, and in some of these the channel is given up meanwhile.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "pair.h"
#include "adma_fault.h"
#include "base/held_up.h"
#include "shm/layout.h"
#include "adma_copy.h"
#include "race.h"

#define LENGTH (3u << 20)
#define MESSAGES 12
#define SLICE_NS 2000000
#define SLOW_MOST 6     /* one of the first chunks is slow */
#define DELAY_US 300000 /* of one chunk: longer than ADMA_HELD_UP_NS */

struct end {
	struct adma_chan *chan;
	uint8_t *buffer;
	unsigned long long seed;
	bool writes;
};

/* How the rounds end, in turn: all that was posted is done; or one end closes before that, or is given up. */
enum how { ORDERLY, CUT_OFF, HELD_UP, GIVEN_UP, HOWS };

static enum how how;
static int slow; /* this chunk of the round */
static int64_t hang;
static atomic_bool through;
static uint64_t by_progress_thread, by_assistants, broken, given_up;

static void rest(int64_t ns)
{
	nanosleep(&(struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}, NULL);
}

static bool done(const struct adma_req *req)
{
	return __atomic_load_n(&req->state, __ATOMIC_ACQUIRE) == ADMA_DONE_STATE;
}

static uint8_t byte_of(uint32_t number, uint32_t i)
{
	return (uint8_t)(number * 7 + i + i / 4093);
}

static void fill(uint8_t *buffer, uint32_t number)
{
	for (uint32_t i = 0; i < LENGTH; i++)
		buffer[i] = byte_of(number, i);
}

static void check(const uint8_t *buffer, uint32_t number)
{
	for (uint32_t i = 0; i < LENGTH; i++)
		REQUIRE(buffer[i] == byte_of(number, i));
}

/* ---- who posts, and computes ---- */

/* Mostly computes: what is posted is done all the same. */
static void compute_until_done(struct end *end, struct adma_req *req)
{
	while (!done(req)) {
		REQUIRE(adma_now() < hang);
		rest(200000);
		switch (below(&end->seed, 40)) {
		case 0:
			(void)adma_drive_one(end->chan, req, 10000, 20000);
			adma_give_up_one(end->chan);
			break;
		case 1:
			adma_refresh(end->chan, req);
			break;
		}
	}
}

static int move_one(struct end *end, uint32_t number)
{
	struct adma_req req = {.address = end->buffer, .length = LENGTH, .kind = ADMA_BYTES, .is_read = !end->writes};
	int rc;

	req.total = end->writes ? LENGTH : 0;
	if (end->writes)
		fill(end->buffer, number);
	rc = adma_post_one(end->chan, &req);
	if (rc)
		return rc;
	compute_until_done(end, &req);
	adma_observe(end->chan, &req);
	if (!req.error && !end->writes)
		check(end->buffer, number);
	return -req.error;
}

static void *compute(void *argument)
{
	struct end *end = argument;
	int rc = 0;

	for (uint32_t number = 0; number < MESSAGES && !rc; number++)
		rc = move_one(end, number);
	REQUIRE(!rc || how == CUT_OFF || how == GIVEN_UP);
	return NULL;
}

/* ---- who is in the way ---- */

static void copy_some(unsigned long long *seed)
{
	static uint8_t from[700 << 10], to[700 << 10];
	struct adma_copy copy = {0};
	struct adma_copy *all = &copy;

	if (adma_copy_post_bytes(&copy, to, from, 1 + below(seed, sizeof(to))) < 0)
		return;
	while (!adma_copy_wait(&all, 1, 1, SLICE_NS))
		REQUIRE(adma_now() < hang);
}

static void *meddle(void *argument)
{
	unsigned long long *seed = argument;
	struct adma_engine_config config = {.engine = ADMA_ENGINE_THREAD};

	while (!atomic_load_explicit(&through, memory_order_relaxed)) {
		REQUIRE(adma_now() < hang);
		rest(300000);
		switch (below(seed, 30)) {
		case 0:
			(void)adma_engine_stop();
			break;
		case 1:
			config.queues = 1 + (uint32_t)below(seed, 3);
			config.policy = (uint32_t)below(seed, 2);
			(void)adma_engine_configure(&config);
			break;
		case 2:
			if (how == ORDERLY || how == CUT_OFF) /* its parts pass the same fault point */
				copy_some(seed);
			break;
		}
	}
	return NULL;
}

struct cut {
	struct adma_chan *chan;
	int64_t after_ns;
};

static void *cut_off(void *argument)
{
	struct cut *cut = argument;

	rest(cut->after_ns);
	while (how == GIVEN_UP && adma_fault_passes(ADMA_FAULT_CHUNK) < slow) {
		REQUIRE(adma_now() < hang);
		rest(200000);
	}
	if (how == GIVEN_UP && adma_chan_close(cut->chan, SLICE_NS))
		given_up += adma_chan_abandon(cut->chan) != 0;
	while (how == CUT_OFF && adma_chan_close(cut->chan, SLICE_NS))
		REQUIRE(adma_now() < hang);
	broken++;
	return NULL;
}

/* ---- rounds ---- */

static void go(struct end ends[ENDS], unsigned long long *seed)
{
	struct cut cut = {ends[below(seed, ENDS)].chan, (int64_t)below(seed, 15000000)};
	pthread_t threads[ENDS], meddler, cutter;

	atomic_store_explicit(&through, false, memory_order_relaxed);
	slow = 1 + (int)(below(seed, 2) * below(seed, SLOW_MOST));
	if (how == HELD_UP || how == GIVEN_UP)
		(void)adma_fault_arm(ADMA_FAULT_CHUNK, ADMA_FAULT_DELAY, DELAY_US, slow);
	for (int e = 0; e < ENDS; e++)
		start(&threads[e], compute, &ends[e]);
	start(&meddler, meddle, seed);
	if (how == CUT_OFF || how == GIVEN_UP)
		start(&cutter, cut_off, &cut);
	for (int e = 0; e < ENDS; e++)
		join(threads[e]);
	atomic_store_explicit(&through, true, memory_order_relaxed);
	join(meddler);
	if (how == CUT_OFF || how == GIVEN_UP)
		join(cutter);
	for (bool left = how != GIVEN_UP; left;) {
		left = false;
		for (int e = 0; e < ENDS; e++)
			left |= adma_chan_close(ends[e].chan, SLICE_NS) != 0;
		REQUIRE(adma_now() < hang);
	}
}

/* Both ends are given up. The thread that is held up frees what it uses when it goes on. */
static void give_up(struct adma_chan *chans[ENDS])
{
	for (int e = 0; e < ENDS; e++)
		adma_chan_free(chans[e]);
	rest(DELAY_US * 1000ll + ADMA_HELD_UP_NS);
}

static void count(struct adma_chan *chan)
{
	struct adma_stats stats;

	adma_get_stats(chan, &stats);
	by_progress_thread += stats.chunks_mover;
	by_assistants += stats.chunks_queues;
}

static void round_of(const struct adma_nonce *nonce, unsigned long long *seed)
{
	struct adma_chan *chans[ENDS];
	struct adma_segment *segments[ENDS] = {make_segment(), make_segment()};
	struct end ends[ENDS];

	hang = adma_now() + HANG_NS;
	make_ends(chans, segments, nonce, ADMA_MECH_CMA);
	for (int e = 0; e < ENDS; e++) {
		ends[e] = (struct end){.chan = chans[e], .buffer = malloc(LENGTH), .seed = draw(seed) | 1, .writes = e};
		REQUIRE(ends[e].buffer);
	}
	go(ends, seed);
	for (int e = 0; e < ENDS; e++)
		count(chans[e]);
	if (how == GIVEN_UP)
		give_up(chans);
	for (int e = 0; e < ENDS; e++) {
		if (how != GIVEN_UP)
			adma_chan_free(chans[e]);
		free_segment(segments[e]);
		free(ends[e].buffer);
	}
}

int main(int argc, char **argv)
{
	int64_t until = end_of_run(argc, argv);
	struct adma_nonce *nonce = adma_nonce_new();
	struct adma_progress_stats stats;
	unsigned long long seed = 20251126;
	unsigned int rounds = 0;

	REQUIRE(nonce);
	adma_engine_may_assist();
	for (; adma_now() < until || rounds < 8; rounds++) {
		how = (enum how)(rounds % HOWS);
		round_of(nonce, &seed);
	}
	adma_nonce_free(nonce);
	(void)adma_engine_stop();
	adma_get_progress_stats(&stats);
	REQUIRE(by_progress_thread && by_assistants && broken);
	printf("progress: %u rounds, %llu cut off, %llu given up, %llu takeovers, chunks %llu by the progress thread and %llu by assists\n",
	       rounds, (unsigned long long)broken, (unsigned long long)given_up, (unsigned long long)stats.takeovers,
	       (unsigned long long)by_progress_thread, (unsigned long long)by_assistants);
	return 0;
}
