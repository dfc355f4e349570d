/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * races.c - races, each of them tried often: posts against closes, cancels against matches,
 * kills, forks, unmapped memory, allocations that fail. Every documented outcome is accepted. The
 * caller of this program checks that the kernel's log stays silent and that everything is given
 * back. No two transfers write to the same memory at a time, because the DMA debugging of a debug
 * kernel would report that.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "races.h"
#include "tap.h"

char source[LARGE], sink[LARGE], second_sink[LARGE], third_sink[LARGE];
int rounds = 300;

bool among(int result, const int *allowed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (result == allowed[i])
			return true;
	return false;
}

void leave_at_once(void *unused)
{
	(void)unused;
}

static pthread_t thread(void *(*run)(void *), void *argument)
{
	pthread_t id;

	CHECK(!pthread_create(&id, NULL, run, argument));
	return id;
}

/* ---- two threads ---- */

struct contest {
	pthread_barrier_t start;
	int fds[2];
	int result;
};

static void *post_same_entry(void *argument)
{
	struct contest *contest = argument;

	pthread_barrier_wait(&contest->start);
	contest->result = post_read(.fd = contest->fds[0], .buffer = sink, .length = 100);
	return NULL;
}

static void test_two_posts_one_entry(void)
{
	struct contest contest;
	pthread_t other;
	int own;

	pthread_barrier_init(&contest.start, NULL, 2);
	for (int i = 0; i < rounds; i++) {
		pair_open(contest.fds, ADMA_BY_ANY);
		other = thread(post_same_entry, &contest);
		pthread_barrier_wait(&contest.start);
		own = post_read(.fd = contest.fds[0], .generation = 2, .buffer = sink, .length = 100);
		pthread_join(other, NULL);
		SAME(!own + !contest.result, 1);
		AMONG(own ? own : contest.result, -EBUSY);
		SAME(counters(contest.fds[0], 0).posts, 1);
		close(contest.fds[0]);
		close(contest.fds[1]);
	}
}

static void *cancel_read(void *argument)
{
	struct contest *contest = argument;

	pthread_barrier_wait(&contest->start);
	contest->result = cancel(contest->fds[0], 0, 1);
	return NULL;
}

static void test_cancel_against_match(void)
{
	struct contest contest;
	pthread_t other;

	pthread_barrier_init(&contest.start, NULL, 2);
	for (int i = 0; i < rounds; i++) {
		pair_open(contest.fds, ADMA_BY_ANY);
		SAME(post_read(.fd = contest.fds[0], .buffer = sink, .length = 100), 0);
		other = thread(cancel_read, &contest);
		pthread_barrier_wait(&contest.start);
		SAME(post_write(.fd = contest.fds[1], .buffer = source, .length = 100), 0);
		pthread_join(other, NULL);
		if (!contest.result) {
			SAME(check(contest.fds[0], 0, 1).status, -ECANCELED);
			SAME(check(contest.fds[1], 0, 1).status, ADMA_PENDING);
		} else {
			AMONG(contest.result, -EBUSY, -EALREADY);
			SAME(wait_for(contest.fds[0], 0, 1).status, 0);
			SAME(wait_for(contest.fds[1], 0, 1).status, 0);
		}
		close(contest.fds[0]);
		close(contest.fds[1]);
	}
}

static void test_two_cancels(void)
{
	struct contest contest;
	pthread_t other;
	int own;

	pthread_barrier_init(&contest.start, NULL, 2);
	for (int i = 0; i < rounds; i++) {
		pair_open(contest.fds, ADMA_BY_ANY);
		SAME(post_read(.fd = contest.fds[0], .buffer = sink, .length = 100), 0);
		other = thread(cancel_read, &contest);
		pthread_barrier_wait(&contest.start);
		own = cancel(contest.fds[0], 0, 1);
		pthread_join(other, NULL);
		SAME(!own + !contest.result, 1);
		AMONG(own ? own : contest.result, -EALREADY);
		SAME(wait_for(contest.fds[0], 0, 1).status, -ECANCELED);
		close(contest.fds[0]);
		close(contest.fds[1]);
	}
}

/* ---- closes ---- */

static void *post_until_closed(void *argument)
{
	struct contest *contest = argument;
	int result;

	pthread_barrier_wait(&contest->start);
	for (uint32_t i = 0; i < 1024; i++) {
		result = post_read(.fd = contest->fds[0], .entry = i, .buffer = sink + i % 128 * 8192, .length = 5000);
		if (result) {
			AMONG(result, -EPIPE, -EBADF);
			return NULL;
		}
	}
	return NULL;
}

static void test_close_during_posts(void)
{
	struct contest contest;
	pthread_t other;

	pthread_barrier_init(&contest.start, NULL, 2);
	for (int i = 0; i < rounds; i++) {
		pair_open(contest.fds, ADMA_BY_ANY);
		other = thread(post_until_closed, &contest);
		pthread_barrier_wait(&contest.start);
		for (uint32_t j = 0; j < (uint32_t)i % 8; j++)
			AMONG(post_write(.fd = contest.fds[1], .entry = j, .buffer = source, .length = 5000), 0);
		close(contest.fds[i & 1]);
		pthread_join(other, NULL);
		close(contest.fds[!(i & 1)]);
	}
}

/* Every entry is in use, for the FIFO, for keys, and for matched requests, when the close comes. */
static void test_close_full(void)
{
	int fds[2];

	for (int round = 0; round < 4; round++) {
		pair_open(fds, ADMA_BY_ANY);
		for (uint32_t i = 0; i < 1024; i++) {
			SAME(post_read(.fd = fds[0], .entry = i, .key = i & 1 ? i : 0, .buffer = sink + i * 64,
				       .length = 64),
			     0);
			if (i < 512)
				SAME(post_write(.fd = fds[1], .entry = i, .key = i & 1 ? i : 0, .buffer = source,
						.length = round & 1 ? 64 : 0),
				     0);
		}
		close(fds[round >> 1]);
		close(fds[!(round >> 1)]);
	}
	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 1024; i++)
		SAME(post_read(.fd = fds[0], .entry = i, .buffer = sink, .length = 1), 0);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 2), 0); /* refuses all of them */
	for (uint32_t i = 0; i < 1024; i++)
		SAME(wait_for(fds[0], i, 1).status, -EMSGSIZE);
}

static atomic_bool stop;

static void *remap_entries(void *argument)
{
	int fd = *(int *)argument;

	while (!stop) {
		const volatile struct adma_entry *entries = entries_map(fd);

		CHECK(entry_status(&entries[0]) <= ADMA_PENDING);
		CHECK(!munmap((void *)entries, entries_size(fd)));
	}
	return NULL;
}

static void test_entries_unmapped_meanwhile(void)
{
	pthread_t other;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	other = thread(remap_entries, &fds[0]);
	for (uint32_t i = 1; i <= (uint32_t)rounds; i++) {
		SAME(post_read(.fd = fds[0], .generation = i, .buffer = sink, .length = 5000), 0);
		SAME(post_write(.fd = fds[1], .generation = i, .buffer = source, .length = 5000), 0);
		SAME(wait_for(fds[0], 0, i).status, 0);
		SAME(wait_for(fds[1], 0, i).status, 0);
	}
	stop = true;
	pthread_join(other, NULL);
}

bool hung_up(int fd)
{
	struct pollfd item = { .fd = fd };

	CHECK(poll(&item, 1, 0) >= 0);
	return item.revents & POLLHUP;
}

/* An endpoint is in a socket that nobody can receive from any more. */
static void test_lost_in_a_socket(void)
{
	int fds[2], sockets[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pair_open(fds, ADMA_BY_ANY);
	send_fd(sockets[0], fds[1]);
	close(fds[1]);
	CHECK(!hung_up(fds[0]));
	close(sockets[0]);
	close(sockets[1]);
	while (!hung_up(fds[0]))
		sched_yield();

	/*
	 * A socket that was sent to itself is found only by the garbage collector, which runs when
	 * sockets are closed.
	 */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pair_open(fds, ADMA_BY_ANY);
	send_fd(sockets[0], fds[1]);
	send_fd(sockets[0], sockets[1]);
	close(fds[1]);
	close(sockets[0]);
	close(sockets[1]);
	while (!hung_up(fds[0])) {
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
		close(sockets[0]);
		close(sockets[1]);
	}
}

static const struct test tests[] = {
	{ "two posts, one entry", test_two_posts_one_entry, 120 },
	{ "cancel against match", test_cancel_against_match, 120 },
	{ "two cancels", test_two_cancels, 120 },
	{ "close during posts", test_close_during_posts, 240 },
	{ "close full", test_close_full, 120 },
	{ "entries unmapped meanwhile", test_entries_unmapped_meanwhile, 120 },
	{ "lost in a socket", test_lost_in_a_socket, 60 },
	{ "fork while pending", test_fork_while_pending, 60 },
	{ "killed at every step", test_killed_at_every_step, 240 },
	{ "killed at any time", test_killed_at_any_time, 240 },
	{ "memory goes away", test_memory_goes_away, 120 },
	{ "failing allocations", test_failing_allocations, 240 },
	{ "nothing left charged", test_nothing_left_charged, 60 },
};

int main(int argc, char **argv)
{
	if (getenv("ADMA_ROUNDS"))
		rounds = atoi(getenv("ADMA_ROUNDS"));
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
