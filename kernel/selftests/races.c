/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * races.c - races, each of them tried often: posts against closes, cancels against matches,
 * kills, forks, unmapped memory, allocations that fail. Every documented outcome is accepted. The
 * caller of this program checks that the kernel's log stays silent and that everything is given
 * back. No two transfers write to the same memory at a time, because the DMA debugging of a debug
 * kernel would report that.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "tap.h"

#define LARGE (1 << 20)
#define MS 1000000ll

static char source[LARGE], sink[LARGE], second_sink[LARGE], third_sink[LARGE];
static int rounds = 300;

static bool among(int result, const int *allowed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (result == allowed[i])
			return true;
	return false;
}

#define AMONG(what, ...)                                                               \
	do {                                                                           \
		const int allowed[] = { __VA_ARGS__ };                                 \
		int among_what = (what);                                               \
		if (!among(among_what, allowed, sizeof(allowed) / sizeof(int)))            \
			tap_fail(__FILE__, __LINE__, "%s is %d", #what, among_what);      \
	} while (0)

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
		result = post_read(.fd = contest->fds[0], .entry = i, .buffer = sink + i % 128 * 8192,
				   .length = 5000);
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
				       .length = 64), 0);
			if (i < 512)
				SAME(post_write(.fd = fds[1], .entry = i, .key = i & 1 ? i : 0,
						.buffer = source, .length = round & 1 ? 64 : 0), 0);
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

static bool hung_up(int fd)
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

/* ---- processes ---- */

static void leave_at_once(void *unused)
{
	(void)unused;
}

static void test_fork_while_pending(void)
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

static void test_killed_at_every_step(void)
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

static void test_killed_at_any_time(void)
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
static void test_nothing_left_charged(void)
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

/* ---- memory that goes away ---- */

static void disturb(char *map, int how)
{
	switch (how) {
	case 0: CHECK(!munmap(map, LARGE)); break;
	case 1: CHECK(!munmap(map + LARGE / 2, 4096)); break;
	case 2: CHECK(!madvise(map, LARGE, MADV_DONTNEED)); break;
	case 3: CHECK(!mprotect(map, LARGE, PROT_READ)); break;
	case 4: CHECK(mremap(map, LARGE, LARGE / 2, 0) == map); break;
	case 5: join(spawn(leave_at_once, NULL)); break;
	case 6: CHECK(mmap(map, LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == map); break;
	default: break;
	}
}

static void test_memory_goes_away(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 64; i++) {
		char *map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHECK(map != MAP_FAILED);
		if (i & 8) {
			SAME(post_read(.fd = fds[0], .generation = i + 1, .buffer = map, .length = LARGE), 0);
			if (i & 16)
				disturb(map, i & 7);
			SAME(post_write(.fd = fds[1], .generation = i + 1, .buffer = source, .length = LARGE), 0);
		} else {
			SAME(post_write(.fd = fds[1], .generation = i + 1, .buffer = map, .length = LARGE), 0);
			if (i & 16)
				disturb(map, i & 7);
			SAME(post_read(.fd = fds[0], .generation = i + 1, .buffer = sink, .length = LARGE), 0);
		}
		if (!(i & 16))
			disturb(map, i & 7);
		AMONG(wait_for(fds[0], 0, i + 1).status, 0, -EFAULT);
		SAME(wait_for(fds[1], 0, i + 1).status, check(fds[0], 0, i + 1).status);
		munmap(map, LARGE);
	}
}

/* ---- every allocation and every copy from and to user space fails once ---- */

static int nth; /* open: /proc/thread-self/fail-nth */

static void fault_set(int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", n);

	/* A fault that is still set may hit this write. Then it is used up. */
	while (pwrite(nth, text, (size_t)length, 0) != length)
		SAME(errno, EFAULT);
}

/* Was the fault injected? Then there may be more places for one. Also switches it off. */
static bool fault_was_injected(void)
{
	char text[16] = "";
	/* If it hits this read, then it was not injected before. */
	bool struck = pread(nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	fault_set(0);
	return struck;
}

static int victim[2]; /* a pair */
static size_t victim_map;
static uint32_t victim_generation;

static int try_open(void)
{
	int fd = open("/dev/adma", O_RDWR);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int try_pair(void)
{
	struct adma_pair pair = { .size = sizeof(pair) };
	int error = command(victim[0], ADMA_IOC_PAIR, &pair);

	if (!error) {
		close(pair.fd[0]);
		close(pair.fd[1]);
	}
	return error;
}

static int try_post(void)
{
	return post_read(.fd = victim[0], .generation = victim_generation, .flags = ADMA_POST_TIMES,
			 .buffer = sink, .length = 100000);
}

static int try_match(void)
{
	return post_write(.fd = victim[1], .generation = victim_generation, .buffer = source, .length = 100000);
}

static int try_copy(void)
{
	return copy(victim[0], 5, victim_generation, sink, source, 100000, ADMA_BY_ANY);
}

static int try_map(void)
{
	void *map = mmap(NULL, victim_map, PROT_READ, MAP_SHARED, victim[0], 0);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, victim_map);
	return 0;
}

static int try_read(void)
{
	uint64_t count;

	return read(victim[0], &count, sizeof(count)) < 0 ? -errno : 0;
}

static int try_info(void)
{
	struct adma_info out = { .size = sizeof(out) };

	return command(victim[0], ADMA_IOC_INFO, &out);
}

static void nothing_before(void)
{
}

static void finish_both(void)
{
	SAME(wait_for(victim[0], 0, victim_generation).status, 0);
	SAME(wait_for(victim[1], 0, victim_generation).status, 0);
}

static void finish_copy(void)
{
	SAME(wait_for(victim[0], 5, victim_generation).status, 0);
}

static void withdraw_read(void)
{
	SAME(cancel(victim[0], 0, victim_generation), 0);
}

static void before_match(void)
{
	SAME(try_post(), 0);
}

static void before_read(void)
{
	uint64_t count;

	while (read(victim[0], &count, sizeof(count)) == sizeof(count))
		;
	SAME(try_post(), 0);
	withdraw_read();
}

static const struct {
	const char *name;
	void (*before)(void);
	int (*run)(void);
	void (*after)(void); /* it succeeded */
} trials[] = {
	{ "open", nothing_before, try_open, nothing_before },
	{ "pair", nothing_before, try_pair, nothing_before },
	{ "post", nothing_before, try_post, withdraw_read },
	{ "match", before_match, try_match, finish_both },
	{ "copy", nothing_before, try_copy, finish_copy },
	{ "mmap", nothing_before, try_map, nothing_before },
	{ "read", before_read, try_read, nothing_before },
	{ "info", nothing_before, try_info, nothing_before },
};

static void test_failing_allocations(void)
{
	if (!faults_prepare())
		tap_skip("this kernel has no fault injection");
	nth = open("/proc/thread-self/fail-nth", O_RDWR);
	CHECK(nth >= 0);
	pair_open(victim, ADMA_BY_ANY);
	victim_map = entries_size(victim[0]);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		int injected = 0, failed = 0;

		for (int n = 1;; n++) {
			int result;
			bool hit;

			victim_generation++;
			trials[i].before();
			fault_set(n);
			result = trials[i].run();
			hit = fault_was_injected();
			AMONG(result, 0, -ENOMEM, -EFAULT, -ENFILE, -EMFILE, -EAGAIN);
			CHECK(hit || !result);
			if (!result) {
				trials[i].after();
			} else if (trials[i].before == before_match) {
				SAME(check(victim[0], 0, victim_generation).status, ADMA_PENDING);
				SAME(check_error(victim[1], 0, victim_generation), -ENOENT);
				withdraw_read();
			}
			injected += hit;
			failed += hit && result;
			CHECK(n < 500);
			if (!hit)
				break;
		}
		printf("# %s: %d faults were injected, %d of them made it fail\n", trials[i].name, injected, failed);
		CHECK(failed > 0);
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
