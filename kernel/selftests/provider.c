/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * provider.c - DMA engines as they should not be: each test binds adma_soft with the
 * faults it is about, and checks data, results and counters. Nobody else may
 * have the device open. With --stuck, those tests alone after which pages stay pinned.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "soft.h"
#include "tap.h"

#define MS      1000000ll /* nanoseconds */
#define LARGE   (1 << 20)
#define MARGIN  8192
#define PATIENT 10000u    /* ms: no time-out is expected */
#define HASTY   200u      /* one is */

static char source[4 * LARGE + MARGIN] __attribute__((aligned(4096)));
static char sink[4 * LARGE + MARGIN] __attribute__((aligned(4096)));

/* ---- what a test begins with ---- */

static int connect_to(int ends[2], unsigned channels)
{
	struct adma_info i;

	pair_open(ends, ADMA_BY_ANY);
	i = info(ends[0]);
	if ((i.features & ADMA_FEATURE_DMA) && i.channels == channels && !i.retired)
		return 0;
	close(ends[0]);
	close(ends[1]);
	return -EAGAIN;
}

/* The channels of a former device go with the last reference to them, which may take a moment. */
static void begin(int ends[2], unsigned timeout_ms, const struct soft *soft)
{
	parameter_set("timeout_ms", timeout_ms);
	soft_bind(soft);
	while (connect_to(ends, soft->channels ? soft->channels : 4))
		sched_yield();
}

#define BEGIN(ends, timeout_ms, ...) begin(ends, timeout_ms, &(struct soft){ __VA_ARGS__ })

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * MS }, NULL);
}

/* ---- messages, from ends[0] to ends[1] ---- */

static void post_both(const int ends[2], uint32_t generation, size_t length)
{
	fill(source, length, generation);
	memset(sink, 0, length);
	SAME(post_write(.fd = ends[0], .generation = generation, .buffer = source, .length = length), 0);
	SAME(post_read(.fd = ends[1], .generation = generation, .buffer = sink, .length = length), 0);
}

static void end_well(const int ends[2], uint32_t generation, size_t length)
{
	SAME(wait_end(ends[0], 0, generation).status, 0);
	SAME(wait_end(ends[1], 0, generation).status, 0);
	CHECK(filled(sink, length, generation));
}

static void exchange(const int ends[2], uint32_t generation, size_t length)
{
	post_both(ends, generation, length);
	end_well(ends, generation, length);
}

/* What the end that matched counted, all bytes accounted for. */
static struct adma_counters count(const int ends[2], uint64_t bytes)
{
	struct adma_counters counts = counters(ends[1], 0);

	SAME(counts.bytes_dma + counts.bytes_cpu, bytes);
	return counts;
}

/* Sums and states of the channels. */
struct sums {
	uint64_t bytes, pieces, errors, timeouts;
	unsigned works, retired, lost;
};

static struct sums sum_channels(int fd)
{
	struct adma_channel channel = { .size = sizeof(channel) };
	struct sums sums = { 0 };

	for (; !command(fd, ADMA_IOC_CHANNEL, &channel); channel.index++) {
		CHECK(!strcmp(channel.driver, "adma_soft"));
		sums.bytes += channel.bytes;
		sums.pieces += channel.pieces;
		sums.errors += channel.errors;
		sums.timeouts += channel.timeouts;
		sums.works += channel.state == ADMA_CHANNEL_WORKS;
		sums.retired += channel.state == ADMA_CHANNEL_RETIRED;
		sums.lost += channel.state == ADMA_CHANNEL_LOST;
	}
	return sums;
}

static bool works(int fd)
{
	return info(fd).features & ADMA_FEATURE_DMA;
}

/* ---- slow ---- */

static void test_slow(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .channels = 2, .delay_us = 2000);
	post_both(ends, 1, LARGE);
	SAME(wait_error(ends[1], 0, 1, 1 * MS), -ETIMEDOUT);
	SAME(check(ends[1], 0, 1).matched, 1);
	SAME(cancel(ends[1], 0, 1), -EBUSY);
	end_well(ends, 1, LARGE);
	SAME(count(ends, LARGE).bytes_dma, LARGE);
	SAME(sum_channels(ends[0]).bytes, LARGE);
	SAME(sum_channels(ends[0]).works, 2);
}

static void test_all_channels_carry(void)
{
	struct adma_channel channel = { .size = sizeof(channel) };
	int ends[2];

	BEGIN(ends, PATIENT, .channels = 8);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(ends, i, LARGE);
	for (; channel.index < 8; channel.index++) {
		SAME(command(ends[0], ADMA_IOC_CHANNEL, &channel), 0);
		CHECK(channel.bytes > 0 && channel.pieces > 0);
	}
	SAME(count(ends, 4 * LARGE).bytes_dma, 4 * LARGE);
}

static void test_small_passes_large(void)
{
	int large[2], small[2];

	BEGIN(large, PATIENT, .channels = 1, .delay_us = 2000);
	pair_open(small, ADMA_BY_ANY);
	post_both(large, 1, 4 * LARGE);
	SAME(post_write(.fd = small[0], .buffer = source, .length = 8192), 0);
	SAME(post_read(.fd = small[1], .buffer = sink + 4 * LARGE, .length = 8192), 0);
	SAME(wait_end(small[1], 0, 1).status, 0);
	SAME(check(large[1], 0, 1).status, ADMA_PENDING);
	CHECK(counters(small[1], 0).bytes_dma > 0);
	end_well(large, 1, 4 * LARGE);
}

/* ---- failing ---- */

static void test_some_fail(void)
{
	struct adma_counters counts;
	int ends[2];

	BEGIN(ends, PATIENT, .fail_every = 3);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(ends, i, LARGE);
	counts = count(ends, 4 * LARGE);
	CHECK(counts.bytes_dma > 0 && counts.bytes_rescued > 0);
	SAME(counts.timeouts, 0);
	CHECK(sum_channels(ends[0]).errors > 0);
	SAME(sum_channels(ends[0]).works, 4);
	SAME(sum_channels(ends[0]).bytes, counts.bytes_dma);
}

static void test_all_fail(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .fail_every = 1);
	exchange(ends, 1, LARGE);
	SAME(count(ends, LARGE).bytes_dma, 0);
	SAME(count(ends, LARGE).bytes_rescued, LARGE);
	SAME(sum_channels(ends[0]).works, 4);
}

/* ---- hanging ---- */

static void test_some_hang(void)
{
	struct adma_counters counts;
	int ends[2];

	BEGIN(ends, HASTY, .hang_every = 7);
	exchange(ends, 1, LARGE);
	counts = count(ends, LARGE);
	CHECK(counts.bytes_dma > 0 && counts.bytes_rescued > 0 && counts.timeouts > 0);
	SAME(sum_channels(ends[0]).retired, counts.timeouts);
	SAME(info(ends[0]).retired, counts.timeouts);
	soft_set("hang_every", 0);
	exchange(ends, 2, LARGE);
}

static void test_all_hang(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };
	int ends[2];

	BEGIN(ends, HASTY, .hang_every = 1);
	exchange(ends, 1, LARGE);
	SAME(count(ends, LARGE).bytes_dma, 0);
	SAME(sum_channels(ends[0]).retired, 4);
	CHECK(!works(ends[0]));
	SAME(command(ends[0], ADMA_IOC_PAIR, &pair), -ENODEV);
	exchange(ends, 2, LARGE);
	SAME(counters(ends[1], 0).timeouts, 4);
}

/* One that hangs, and others that pass it by. */
static void test_one_left_behind(void)
{
	int ends[2], others[2];
	uint32_t more = 0;

	BEGIN(ends, 20, .channels = 1, .reorder = 1, .hang_every = 8);
	pair_open(others, ADMA_BY_ANY);
	post_both(ends, 1, LARGE);
	while (sum_channels(ends[0]).pieces < 8)
		sched_yield();
	soft_set("hang_every", 1000000); /* no other one */
	while (check(ends[1], 0, 1).status == ADMA_PENDING) {
		SAME(copy(others[0], 1, ++more, sink + 2 * LARGE, source + 2 * LARGE, 8192, ADMA_BY_ANY), 0);
		SAME(wait_end(others[0], 1, more).status, 0);
	}
	end_well(ends, 1, LARGE);
	SAME(count(ends, LARGE).timeouts, 1);
}

/* ---- out of order, crooked, few ---- */

static void test_reordered(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .reorder = 1, .delay_us = 100);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(ends, i, LARGE);
	SAME(count(ends, 4 * LARGE).bytes_dma, 4 * LARGE);
}

static bool untouched(const char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != 0x5a)
			return false;
	return true;
}

static void test_aligned_copies(void)
{
	static const size_t offsets[] = { 0, 1, 32, 64, 4095 };
	static const size_t lengths[] = { 4096, 5001, 65536 + 3 };
	const char *const end = sink + sizeof(sink);
	uint32_t generation = 0;
	struct adma_counters counts;
	uint64_t bytes = 0;
	int ends[2];

	BEGIN(ends, PATIENT, .copy_align = 64);
	for (size_t i = 0; i < 5 * 5 * 3; i++) {
		char *to = sink + 4096 + offsets[i % 5], *from = source + offsets[i / 5 % 5];
		size_t length = lengths[i / 25];

		memset(sink, 0x5a, sizeof(sink));
		fill(from, length, (unsigned)i);
		generation++;
		SAME(post_write(.fd = ends[0], .generation = generation, .buffer = from, .length = length), 0);
		SAME(post_read(.fd = ends[1], .generation = generation, .buffer = to, .length = length), 0);
		SAME(wait_end(ends[1], 0, generation).status, 0);
		SAME(wait_end(ends[0], 0, generation).status, 0);
		CHECK(filled(to, length, (unsigned)i));
		CHECK(untouched(sink, to) && untouched(to + length, end));
		bytes += length;
	}
	counts = count(ends, bytes);
	CHECK(counts.bytes_dma > 0 && counts.bytes_edge > 0);
	SAME(counts.bytes_rescued, 0);
	SAME(info(ends[0]).channels, 4);
}

static void test_one_descriptor(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .channels = 1, .descs = 1, .delay_us = 100);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(ends, i, LARGE);
	CHECK(count(ends, 4 * LARGE).bytes_dma > 0);
}

/* ---- drivers that go ---- */

static void test_unbound_idle(void)
{
	int ends[2], fresh[2];

	BEGIN(ends, PATIENT, 0);
	exchange(ends, 1, LARGE);
	soft_unbind();
	SAME(sum_channels(ends[0]).lost, 4);
	CHECK(!works(ends[0]));
	exchange(ends, 2, LARGE);
	SAME(count(ends, 2 * LARGE).bytes_dma, LARGE);
	close(ends[0]);
	close(ends[1]);
	BEGIN(fresh, PATIENT, .channels = 3);
	exchange(fresh, 1, LARGE);
	SAME(sum_channels(fresh[0]).works, 3);
}

static void test_unbound_in_flight(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .channels = 2, .delay_us = 20000);
	post_both(ends, 1, LARGE);
	pause_ms(50);
	soft_unbind();
	end_well(ends, 1, LARGE);
	CHECK(count(ends, LARGE).bytes_rescued > 0);
	SAME(sum_channels(ends[0]).lost, 2);
}

static void test_unbound_while_it_hangs(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .hang_every = 1);
	post_both(ends, 1, LARGE);
	pause_ms(20);
	soft_unbind();
	end_well(ends, 1, LARGE);
	SAME(count(ends, LARGE).timeouts, 0);
	SAME(sum_channels(ends[0]).lost, 4);
}

/* ---- memory and processes that go, in flight ---- */

static void test_unmapped_in_flight(void)
{
	char *map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ends[2];

	CHECK(map != MAP_FAILED);
	BEGIN(ends, PATIENT, .channels = 1, .delay_us = 2000);
	SAME(post_read(.fd = ends[1], .buffer = map, .length = LARGE), 0);
	SAME(post_write(.fd = ends[0], .buffer = source, .length = LARGE), 0);
	pause_ms(20);
	CHECK(!munmap(map, LARGE));
	SAME(wait_end(ends[1], 0, 1).status, -EFAULT);
	SAME(wait_end(ends[0], 0, 1).status, -EFAULT);
	exchange(ends, 2, LARGE);
}

static void read_and_die(void *argument)
{
	SAME(post_read(.fd = *(int *)argument, .buffer = sink, .length = LARGE), 0);
	raise(SIGKILL);
}

static void test_killed_in_flight(void)
{
	int ends[2], child, status;

	BEGIN(ends, PATIENT, .channels = 1, .delay_us = 2000);
	SAME(post_write(.fd = ends[0], .buffer = source, .length = LARGE), 0);
	child = spawn(read_and_die, &ends[1]);
	join_killed(child);
	status = wait_end(ends[0], 0, 1).status;
	CHECK(status == -EFAULT || status == -ESRCH);
	exchange(ends, 2, LARGE);
}

/* ---- an engine that does not stop ---- */

static void *map_at(void *address)
{
	void *map = mmap(address, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

/* What the engine writes, when at last it does, is nobody's memory. */
static void test_stuck(void)
{
	char *map = map_at(NULL);
	int ends[2];

	BEGIN(ends, HASTY, .hang_every = 1, .terminate_fails = 1);
	fill(source, LARGE, 1);
	SAME(post_write(.fd = ends[0], .buffer = source, .length = LARGE), 0);
	SAME(post_read(.fd = ends[1], .buffer = map, .length = LARGE), 0);
	SAME(wait_end(ends[0], 0, 1).status, -EIO);
	SAME(wait_end(ends[1], 0, 1).status, -EIO);
	CHECK(counters(ends[1], 0).pages_stuck + counters(ends[0], 0).pages_stuck >= LARGE / 4096);
	CHECK(sum_channels(ends[0]).retired > 0);
	CHECK(!munmap(map, LARGE));
	map = map_at(map);
	fill(map, LARGE, 2);
	memset(source, 0, LARGE);
	soft_set("hang_every", 0);
	pause_ms(100);
	CHECK(filled(map, LARGE, 2));
	exchange(ends, 2, LARGE);
}

static void leave_stuck(void *argument)
{
	int *ends = argument;

	post_both(ends, 1, LARGE);
	SAME(wait_end(ends[1], 0, 1).status, -EIO);
}

static int module_uses(void)
{
	FILE *file = fopen("/sys/module/adma/refcnt", "r");
	int uses;

	CHECK(file && fscanf(file, "%d", &uses) == 1);
	fclose(file);
	return uses;
}

/* Its callback may come: the module has to stay, whoever is gone. Once it stops, it can go. */
static void test_stuck_keeps_the_module(void)
{
	int ends[2];

	BEGIN(ends, HASTY, .hang_every = 1, .terminate_fails = 1);
	join(spawn(leave_stuck, ends));
	close(ends[0]);
	close(ends[1]);
	pause_ms(500);
	CHECK(module_uses() > 0);
	soft_set("terminate_fails", 0);
	close(device_open()); /* its last close tries again */
	SAME(module_uses(), 0);
}

/* Even the driver goes. */
static void test_stuck_and_unbound(void)
{
	int ends[2];

	BEGIN(ends, PATIENT, .hang_every = 1, .terminate_fails = 1);
	post_both(ends, 1, LARGE);
	pause_ms(20);
	soft_unbind();
	SAME(wait_end(ends[0], 0, 1).status, -EIO);
	SAME(wait_end(ends[1], 0, 1).status, -EIO);
	SAME(sum_channels(ends[0]).lost, 4);
	soft_set("hang_every", 0); /* and the engine wakes up */
	pause_ms(100);
	exchange(ends, 2, LARGE);
}

static const struct test tests[] = {
	{ "slow", test_slow, 0 },
	{ "all channels carry", test_all_channels_carry, 0 },
	{ "small passes large", test_small_passes_large, 60 },
	{ "some fail", test_some_fail, 0 },
	{ "all fail", test_all_fail, 0 },
	{ "some hang", test_some_hang, 0 },
	{ "all hang", test_all_hang, 0 },
	{ "one left behind", test_one_left_behind, 60 },
	{ "reordered", test_reordered, 0 },
	{ "aligned copies", test_aligned_copies, 120 },
	{ "one descriptor", test_one_descriptor, 60 },
	{ "unbound idle", test_unbound_idle, 0 },
	{ "unbound in flight", test_unbound_in_flight, 0 },
	{ "unbound while it hangs", test_unbound_while_it_hangs, 0 },
	{ "unmapped in flight", test_unmapped_in_flight, 0 },
	{ "killed in flight", test_killed_in_flight, 0 },
};

static const struct test stuck_tests[] = {
	{ "stuck", test_stuck, 0 },
	{ "stuck keeps the module", test_stuck_keeps_the_module, 0 },
	{ "stuck and unbound", test_stuck_and_unbound, 0 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--stuck"))
		return tap_main(1, argv, stuck_tests, sizeof(stuck_tests) / sizeof(stuck_tests[0]));
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
