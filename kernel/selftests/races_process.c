/* SPDX-License-Identifier: BSD-3-Clause */
/* races_process.c - processes that fork, or are killed at any time. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "device.h"
#include "races.h"
#include "tap.h"

/* ---- processes ---- */

void test_fork_while_pending(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = LARGE), 0);
	join(spawn(leave_at_once, NULL)); /* the child's copies are closed, which are not the last ones */
	SAME(check(fds[0], 0, 1).status, ADMA_PENDING);
	fill(source, LARGE, 8);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = LARGE), 0);
	join(spawn(leave_at_once, NULL));
	SAME(wait_for(fds[0], 0, 1).status, 0);
	CHECK(filled(sink, LARGE, 8));
}

/* Does everything that can be done with a pair, in steps, and kills itself before step @until. */
static void live_until(int fd, int until)
{
	const volatile struct adma_entry *entries = NULL;
	struct adma_peek out;
	int pair[2];

	for (int step = 0;; step++) {
		if (step == until)
			kill(getpid(), SIGKILL);
		switch (step) {
		case 0: post_read(.fd = fd, .buffer = sink, .length = LARGE); break;
		case 1: post_write(.fd = fd, .entry = 1, .buffer = source, .length = LARGE); break;
		case 2: entries = entries_map(fd); break;
		case 3: post_read(.fd = fd, .entry = 2, .key = 7, .buffer = sink, .length = 100); break;
		case 4: post_write(.fd = fd, .entry = 3, .key = 7, .buffer = source, .length = 100); break;
		case 5: pair_open(pair, ADMA_BY_ANY); break;
		case 6: post_read(.fd = pair[0], .buffer = second_sink, .length = LARGE); break;
		case 7: post_write(.fd = pair[1], .buffer = source, .length = LARGE); break;
		case 8: copy(fd, 9, 1, third_sink, source, LARGE, ADMA_BY_ANY); break;
		case 9: peek(fd, &out); break;
		case 10: wait_for(fd, 0, 1); break;
		case 11: (void)entry_status(entries); break;
		case 12: wait_for(fd, 1, 1); break;
		default: return;
		}
	}
}

struct mortal {
	int *fds;
	int until;
};

static void be_mortal(void *argument)
{
	struct mortal *mortal = argument;

	close(mortal->fds[0]);
	live_until(mortal->fds[1], mortal->until);
	kill(getpid(), SIGKILL);
}

static void survive(int fd)
{
	AMONG(post_read(.fd = fd, .buffer = sink, .length = LARGE), 0, -EPIPE);
	AMONG(post_write(.fd = fd, .entry = 1, .buffer = source, .length = LARGE), 0, -EPIPE);
	AMONG(post_write(.fd = fd, .entry = 2, .key = 7, .buffer = source, .length = 100), 0, -EPIPE);
	AMONG(post_read(.fd = fd, .entry = 3, .key = 7, .buffer = sink, .length = 100), 0, -EPIPE);
}

/* All that the survivor posted is completed somehow. Entries without a request are ENOENT. */
static void all_completed(int fd)
{
	for (uint32_t i = 0; i < 4; i++) {
		int error = wait_error(fd, i, 1, -1);

		if (error) {
			SAME(error, -ENOENT);
			continue;
		}
		AMONG(check(fd, i, 1).status, 0, -EPIPE, -EFAULT, -ESRCH);
	}
}

void test_killed_at_every_step(void)
{
	int fds[2], child;

	for (int round = 0; round < 3 * 14; round++) {
		/* In the last third nobody completes what steps after the tenth would wait for. */
		struct mortal mortal = { fds, round < 28 ? round % 14 : round % 11 };

		pair_open(fds, ADMA_BY_ANY);
		if (round < 14)
			survive(fds[0]); /* before the other process starts */
		child = spawn(be_mortal, &mortal);
		close(fds[1]);
		if (round >= 14 && round < 28)
			survive(fds[0]); /* while it runs */
		else if (round >= 28)
			while (!hung_up(fds[0]))
				sched_yield();
		if (round >= 28)
			survive(fds[0]); /* after it died */
		all_completed(fds[0]);
		join_killed(child);
		close(fds[0]);
	}
}

void test_killed_at_any_time(void)
{
	int fds[2], child;

	srand(7);
	for (int round = 0; round < rounds / 3; round++) {
		struct mortal mortal = { fds, -1 };

		pair_open(fds, ADMA_BY_ANY);
		child = spawn(be_mortal, &mortal);
		close(fds[1]);
		survive(fds[0]);
		for (int n = rand() % 2000; n > 0; n--)
			check_error(fds[0], 0, 1);
		kill(child, SIGKILL);
		all_completed(fds[0]);
		join_killed(child);
		close(fds[0]);
	}
}

/* Nothing is left charged: limits of one allow one pair and one request. */
void test_nothing_left_charged(void)
{
	unsigned long requests, connections;
	int fd, fds[2];

	fd = device_open();
	requests = parameter_set("requests_max", 1);
	connections = parameter_set("connections_max", 1);
	/* The last references of former tests go when their processes and works are done. */
	for (;;) {
		struct adma_pair pair = { .size = sizeof(pair) };
		int error = command(fd, ADMA_IOC_PAIR, &pair);

		if (!error) {
			memcpy(fds, pair.fd, sizeof(fds));
			break;
		}
		SAME(error, -EDQUOT);
		sched_yield();
	}
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 1), 0);
	SAME(post_read(.fd = fds[0], .entry = 1, .buffer = sink, .length = 1), -EDQUOT);
	parameter_set("requests_max", requests);
	parameter_set("connections_max", connections);
}
