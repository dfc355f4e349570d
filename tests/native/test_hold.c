/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_hold.c - what a worker does after a post that does not wait: for a moment its event count is not armed for the
 * progress thread, so that the peer sends no byte for what happens meanwhile. Both ends are in one process, and time
 * is made up.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/channel.h"
#include "pair.h"
#include "progress/ownership.h"
#include "require.h"
#include "shm/eventcount.h"
#include "shm/layout.h"

#define BYTES (64u << 10)
#define LOOKS 100000000 /* until a test gives up: a minute or more */

static _Atomic int64_t now = 1000000000;

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t time = atomic_load(&now);

	(void)id;
	*ts = (struct timespec){.tv_sec = time / 1000000000, .tv_nsec = time % 1000000000};
	return 0;
}

static struct adma_chan *ends[ENDS];
static struct adma_segment *segments[ENDS];
static uint8_t from[BYTES], to[BYTES];

static bool is_armed(void)
{
	return atomic_load(&segments[0]->event_count) & ADMA_EC_ARMED;
}

static int64_t hold(void)
{
	struct adma_progress *progress = &ends[0]->progress;
	int64_t ns;

	pthread_mutex_lock(&progress->worker.lock);
	ns = progress->ownership.hold_ns;
	pthread_mutex_unlock(&progress->worker.lock);
	return ns;
}

/* The progress thread's visits take a while. */
static void await_hold(int64_t ns)
{
	for (int i = 0; hold() != ns; i++) {
		REQUIRE(i < LOOKS);
		sched_yield();
	}
}

static struct adma_req request(bool is_read, uint8_t flags)
{
	return (struct adma_req){.address = is_read ? to : from,
				 .length = BYTES,
				 .total = BYTES,
				 .kind = ADMA_BYTES,
				 .is_read = is_read,
				 .flags = flags,
				 .state = ADMA_IDLE_STATE};
}

static void post(struct adma_req *write)
{
	*write = request(false, 0);
	REQUIRE(!adma_post_one(ends[0], write));
}

/* The other end reads a message. How many bytes has it sent to wake this one? */
static uint64_t carry(void)
{
	struct adma_req read = request(true, ADMA_REQ_BLOCKING);
	struct adma_stats before, after;

	adma_get_stats(ends[1], &before);
	REQUIRE(adma_run(ends[1], &read, to, BYTES) == BYTES);
	adma_get_stats(ends[1], &after);
	return after.wakes_sent - before.wakes_sent;
}

/* This end comes to wait for it. */
static void finish(struct adma_req *write)
{
	REQUIRE(adma_drive_one(ends[0], write, 0, 0) == ADMA_READY && !write->error);
	adma_observe(ends[0], write);
}

/* A caller that posts and waits: the visit of the progress thread is in vain, and comes later the next time. */
static void posts_and_waits(int64_t ns)
{
	struct adma_req write;

	post(&write);
	REQUIRE(!is_armed() && hold() == ns);
	REQUIRE(carry() == 0);
	finish(&write);
	atomic_fetch_add(&now, ns);
	await_hold(2 * ns < ADMA_GRACE_MAX_NS ? 2 * ns : ADMA_GRACE_MAX_NS);
}

/* A caller that posts again before the time is over: it is the last post that counts. */
static void posts_more(int64_t ns)
{
	struct adma_req one, other;

	post(&one);
	atomic_fetch_add(&now, ns - 1);
	post(&other);
	REQUIRE(!is_armed());
	atomic_fetch_add(&now, 1);
	await_hold(2 * ns);
	REQUIRE(!is_armed());
	REQUIRE(carry() + carry() == 0);
	finish(&one);
	finish(&other);
	atomic_fetch_add(&now, 2 * ns);
	await_hold(4 * ns);
}

/* A caller that posts and computes: the progress thread sees to its message from the end of that time on. */
static void posts_and_computes(int64_t ns)
{
	struct adma_req write;

	post(&write);
	REQUIRE(!is_armed() && hold() == ns);
	atomic_fetch_add(&now, ns);
	for (int i = 0; !is_armed(); i++) {
		REQUIRE(i < LOOKS);
		sched_yield();
	}
	REQUIRE(hold() == ADMA_HOLD_NS);
	REQUIRE(carry() > 0);
	for (int i = 0; write.state != ADMA_DONE_STATE; i++) {
		REQUIRE(i < LOOKS);
		sched_yield();
	}
	adma_observe(ends[0], &write);
}

int main(void)
{
	struct adma_nonce *nonce = adma_nonce_new();
	int64_t ns = ADMA_HOLD_NS;

	REQUIRE(nonce);
	for (int i = 0; i < ENDS; i++)
		segments[i] = make_segment();
	make_ends(ends, segments, nonce, ADMA_MECH_CMA);
	posts_and_computes(ns);
	posts_and_waits(ns);
	posts_more(2 * ns);
	posts_and_computes(8 * ns);
	for (; ns < ADMA_GRACE_MAX_NS; ns *= 2)
		posts_and_waits(ns);
	posts_and_waits(ADMA_GRACE_MAX_NS);
	for (int i = 0; i < ENDS; i++)
		adma_chan_free(ends[i]);
	for (int i = 0; i < ENDS; i++)
		free_segment(segments[i]);
	adma_nonce_free(nonce);
	printf("hold: posts\n");
	return 0;
}
