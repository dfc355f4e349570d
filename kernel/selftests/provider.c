/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * provider.c - DMA engines that misbehave; see provider.h. With --stuck only those tests run whose
 * engine does not stop, and with --manners those that are about the manners of drivers.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "provider.h"
#include "tap.h"

/* ---- slow ---- */

static void test_slow(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .channels = 2, .delay_us = 2000);
	post_both(fds, 1, LARGE);
	SAME(wait_error(fds[1], 0, 1, 1 * MS), -ETIMEDOUT);
	SAME(check(fds[1], 0, 1).matched, 1);
	SAME(cancel(fds[1], 0, 1), -EBUSY);
	finish_both(fds, 1, LARGE);
	SAME(count(fds, LARGE).bytes_dma, LARGE);
	SAME(sum_channels(fds[0]).bytes, LARGE);
	SAME(sum_channels(fds[0]).works, 2);
}

static void test_all_channels_carry(void)
{
	struct adma_channel channel = { .size = sizeof(channel) };
	int fds[2];

	BEGIN(fds, PATIENT, .channels = 8);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(fds, i, LARGE);
	for (; channel.index < 8; channel.index++) {
		SAME(command(fds[0], ADMA_IOC_CHANNEL, &channel), 0);
		CHECK(channel.bytes > 0 && channel.pieces > 0);
	}
	SAME(count(fds, 4 * LARGE).bytes_dma, 4 * LARGE);
}

static void test_small_passes_large(void)
{
	int large[2], small[2];

	BEGIN(large, PATIENT, .channels = 1, .delay_us = 2000);
	pair_open(small, ADMA_BY_ANY);
	post_both(large, 1, 4 * LARGE);
	SAME(post_write(.fd = small[0], .buffer = source, .length = 8192), 0);
	SAME(post_read(.fd = small[1], .buffer = sink + 4 * LARGE, .length = 8192), 0);
	SAME(wait_for(small[1], 0, 1).status, 0);
	SAME(check(large[1], 0, 1).status, ADMA_PENDING);
	CHECK(counters(small[1], 0).bytes_dma > 0);
	finish_both(large, 1, 4 * LARGE);
}

/* ---- failing ---- */

static void test_some_fail(void)
{
	struct adma_counters counts;
	int fds[2];

	BEGIN(fds, PATIENT, .fail_every = 3);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(fds, i, LARGE);
	counts = count(fds, 4 * LARGE);
	CHECK(counts.bytes_dma > 0 && counts.bytes_rescued > 0);
	SAME(counts.timeouts, 0);
	CHECK(sum_channels(fds[0]).errors > 0);
	SAME(sum_channels(fds[0]).works, 4);
	SAME(sum_channels(fds[0]).bytes, counts.bytes_dma);
}

static void test_all_fail(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .fail_every = 1);
	exchange(fds, 1, LARGE);
	SAME(count(fds, LARGE).bytes_dma, 0);
	SAME(count(fds, LARGE).bytes_rescued, LARGE);
	SAME(sum_channels(fds[0]).works, 4);
}

/* ---- hanging ---- */

static void test_some_hang(void)
{
	struct adma_counters counts;
	int fds[2];

	BEGIN(fds, HASTY, .hang_every = 7);
	exchange(fds, 1, LARGE);
	counts = count(fds, LARGE);
	CHECK(counts.bytes_dma > 0 && counts.bytes_rescued > 0 && counts.timeouts > 0);
	SAME(sum_channels(fds[0]).retired, counts.timeouts);
	SAME(info(fds[0]).retired, counts.timeouts);
	soft_set("hang_every", 0);
	exchange(fds, 2, LARGE);
}

static void test_all_hang(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };
	int fds[2];

	BEGIN(fds, HASTY, .hang_every = 1);
	exchange(fds, 1, LARGE);
	SAME(count(fds, LARGE).bytes_dma, 0);
	SAME(sum_channels(fds[0]).retired, 4);
	CHECK(!works(fds[0]));
	SAME(command(fds[0], ADMA_IOC_PAIR, &pair), -ENODEV);
	exchange(fds, 2, LARGE);
	SAME(counters(fds[1], 0).timeouts, 4);
}

/* One descriptor hangs, and the same DMA channel completes others meanwhile. */
static void test_one_left_behind(void)
{
	int fds[2], others[2];
	uint32_t more = 0;

	BEGIN(fds, 20, .channels = 1, .reorder = 1, .hang_every = 8);
	pair_open(others, ADMA_BY_ANY);
	post_both(fds, 1, LARGE);
	while (sum_channels(fds[0]).pieces < 8)
		sched_yield();
	soft_set("hang_every", 1000000); /* no other one hangs */
	while (check(fds[1], 0, 1).status == ADMA_PENDING) {
		SAME(copy(others[0], 1, ++more, sink + 2 * LARGE, source + 2 * LARGE, 8192, ADMA_BY_ANY), 0);
		SAME(wait_for(others[0], 1, more).status, 0);
	}
	finish_both(fds, 1, LARGE);
	SAME(count(fds, LARGE).timeouts, 1);
}

/* ---- out of order, alignment, few descriptors ---- */

static void test_reordered(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .reorder = 1, .delay_us = 100);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(fds, i, LARGE);
	SAME(count(fds, 4 * LARGE).bytes_dma, 4 * LARGE);
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
	int fds[2];

	BEGIN(fds, PATIENT, .copy_align = 64);
	for (size_t i = 0; i < 5 * 5 * 3; i++) {
		char *to = sink + 4096 + offsets[i % 5], *from = source + offsets[i / 5 % 5];
		size_t length = lengths[i / 25];

		memset(sink, 0x5a, sizeof(sink));
		fill(from, length, (unsigned)i);
		generation++;
		SAME(post_write(.fd = fds[0], .generation = generation, .buffer = from, .length = length), 0);
		SAME(post_read(.fd = fds[1], .generation = generation, .buffer = to, .length = length), 0);
		SAME(wait_for(fds[1], 0, generation).status, 0);
		SAME(wait_for(fds[0], 0, generation).status, 0);
		CHECK(filled(to, length, (unsigned)i));
		CHECK(untouched(sink, to) && untouched(to + length, end));
		bytes += length;
	}
	counts = count(fds, bytes);
	CHECK(counts.bytes_dma > 0 && counts.bytes_edge > 0);
	SAME(counts.bytes_rescued, 0);
	SAME(info(fds[0]).channels, 4);
}

static void test_one_descriptor(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .channels = 1, .descs = 1, .delay_us = 100);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(fds, i, LARGE);
	CHECK(count(fds, 4 * LARGE).bytes_dma > 0);
}

/* ---- drivers that are unbound ---- */

static void test_unbound_idle(void)
{
	int fds[2], fresh[2];

	BEGIN(fds, PATIENT, 0);
	exchange(fds, 1, LARGE);
	soft_unbind();
	SAME(sum_channels(fds[0]).lost, 4);
	CHECK(!works(fds[0]));
	exchange(fds, 2, LARGE);
	SAME(count(fds, 2 * LARGE).bytes_dma, LARGE);
	close(fds[0]);
	close(fds[1]);
	BEGIN(fresh, PATIENT, .channels = 3);
	exchange(fresh, 1, LARGE);
	SAME(sum_channels(fresh[0]).works, 3);
}

static void test_unbound_in_flight(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .channels = 2, .delay_us = 20000);
	post_both(fds, 1, LARGE);
	pause_ms(50);
	soft_unbind();
	finish_both(fds, 1, LARGE);
	CHECK(count(fds, LARGE).bytes_dma > 0);
	SAME(count(fds, LARGE).bytes_rescued, 0); /* what is in flight is waited for */
	SAME(sum_channels(fds[0]).lost, 2);
}

static void test_unbound_while_it_hangs(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .hang_every = 1);
	post_both(fds, 1, LARGE);
	pause_ms(20);
	soft_unbind();
	finish_both(fds, 1, LARGE);
	SAME(count(fds, LARGE).timeouts, 0);
	SAME(sum_channels(fds[0]).lost, 4);
}

/* ---- memory and processes that go away during the copy ---- */

static void test_unmapped_in_flight(void)
{
	char *map = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fds[2];

	CHECK(map != MAP_FAILED);
	BEGIN(fds, PATIENT, .channels = 1, .delay_us = 2000);
	SAME(post_read(.fd = fds[1], .buffer = map, .length = LARGE), 0);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = LARGE), 0);
	pause_ms(20);
	CHECK(!munmap(map, LARGE));
	SAME(wait_for(fds[1], 0, 1).status, -EFAULT);
	SAME(wait_for(fds[0], 0, 1).status, -EFAULT);
	exchange(fds, 2, LARGE);
}

static void read_and_die(void *argument)
{
	SAME(post_read(.fd = *(int *)argument, .buffer = sink, .length = LARGE), 0);
	raise(SIGKILL);
}

static void test_killed_in_flight(void)
{
	int fds[2], child, status;

	BEGIN(fds, PATIENT, .channels = 1, .delay_us = 2000);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = LARGE), 0);
	child = spawn(read_and_die, &fds[1]);
	join_killed(child);
	status = wait_for(fds[0], 0, 1).status;
	CHECK(status == -EFAULT || status == -ESRCH);
	exchange(fds, 2, LARGE);
}

/* ---- an engine that does not stop ---- */

static void *map_at(void *address)
{
	void *map = mmap(address, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

/* When the engine writes at last, it writes to pages that no process has mapped any more. */
static void test_stuck(void)
{
	char *map = map_at(NULL);
	int fds[2];

	BEGIN(fds, HASTY, .hang_every = 1, .terminate_fails = 1);
	fill(source, LARGE, 1);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = LARGE), 0);
	SAME(post_read(.fd = fds[1], .buffer = map, .length = LARGE), 0);
	SAME(wait_for(fds[0], 0, 1).status, -EIO);
	SAME(wait_for(fds[1], 0, 1).status, -EIO);
	CHECK(counters(fds[1], 0).pages_stuck + counters(fds[0], 0).pages_stuck >= LARGE / 4096);
	CHECK(sum_channels(fds[0]).retired > 0);
	CHECK(!munmap(map, LARGE));
	map = map_at(map);
	fill(map, LARGE, 2);
	memset(source, 0, LARGE);
	soft_set("hang_every", 0);
	pause_ms(100);
	CHECK(filled(map, LARGE, 2));
	exchange(fds, 2, LARGE);
}

static void leave_stuck(void *argument)
{
	int *fds = argument;

	post_both(fds, 1, LARGE);
	SAME(wait_for(fds[1], 0, 1).status, -EIO);
}

/*
 * The engine may still call back, so the module has to stay, even without users. Once the engine has
 * stopped, the module can be removed.
 */
static void test_stuck_keeps_the_module(void)
{
	int fds[2];

	BEGIN(fds, HASTY, .hang_every = 1, .terminate_fails = 1);
	join(spawn(leave_stuck, fds));
	close(fds[0]);
	close(fds[1]);
	pause_ms(500);
	CHECK(module_uses() > 0);
	soft_set("terminate_fails", 0);
	close(device_open()); /* the last close tries again to stop it */
	SAME(module_uses(), 0);
}

/* Even the driver is unbound. */
static void test_stuck_and_unbound(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .hang_every = 1, .terminate_fails = 1);
	post_both(fds, 1, LARGE);
	pause_ms(20);
	soft_unbind();
	SAME(wait_for(fds[0], 0, 1).status, -EIO);
	SAME(wait_for(fds[1], 0, 1).status, -EIO);
	SAME(sum_channels(fds[0]).lost, 4);
	soft_set("hang_every", 0); /* now the engine copies */
	pause_ms(100);
	exchange(fds, 2, LARGE);
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
	if (argc >= 2 && !strcmp(argv[1], "--stuck"))
		return tap_main(argc - 1, argv + 1, stuck_tests, sizeof(stuck_tests) / sizeof(stuck_tests[0]));
	if (argc >= 2 && !strcmp(argv[1], "--manners"))
		return tap_main(argc - 1, argv + 1, manners_tests, manners_count);
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
