/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * provider_manners.c - DMA engines whose drivers do what some drivers in the kernel do: they do not
 * tell of errors, do not stop, block, or give their DMA channels to devices below.
 */
#include "provider.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"

/* ---- errors that nobody tells of ---- */

static void test_silent_driver_is_refused(void)
{
	struct adma_refused refused = { .size = sizeof(refused) };
	int fds[2];

	BEGIN_WITHOUT(fds, .driver = "adma_soft_silent", .fail_every = 3);
	exchange(fds, 1, LARGE);
	CHECK(!works(fds[0]));
	SAME(info(fds[0]).channels, 0);
	SAME(count(fds, LARGE).bytes_cpu, LARGE);
	SAME(command(fds[0], ADMA_IOC_REFUSED, &refused), 0);
	SAME(refused.reason, ADMA_REFUSED_SILENT);
	CHECK(!strcmp(refused.driver, "adma_soft_silent"));
	CHECK(!strcmp(refused.name, "adma_soft"));
	refused.index = 1;
	SAME(command(fds[0], ADMA_IOC_REFUSED, &refused), -ENOENT);
	refused.flags = 1;
	SAME(command(fds[0], ADMA_IOC_REFUSED, &refused), -EINVAL);
}

static void test_secret_alignment_is_found(void)
{
	static const unsigned aligns[] = { 2, 4, 64 };
	struct adma_channel channel = { .size = sizeof(channel) };
	int fds[2];

	for (size_t i = 0; i < 3; i++) {
		BEGIN_WITHOUT(fds, .secret_align = aligns[i]);
		memset(sink, 0, LARGE + 8);
		fill(source + 3, LARGE, 1);
		SAME(post_write(.fd = fds[0], .buffer = source + 3, .length = LARGE), 0);
		SAME(post_read(.fd = fds[1], .buffer = sink + 5, .length = LARGE), 0);
		SAME(wait_for(fds[1], 0, 1).status, 0);
		SAME(wait_for(fds[0], 0, 1).status, 0);
		CHECK(filled(sink + 5, LARGE, 1));
		SAME(sum_channels(fds[0]).faulty, 4);
		SAME(command(fds[0], ADMA_IOC_CHANNEL, &channel), 0);
		SAME(channel.state, ADMA_CHANNEL_FAULTY);
		CHECK(!works(fds[0]));
		close(fds[0]);
		close(fds[1]);
	}
}

/* An alignment that the driver states is kept to. */
static void test_stated_alignment_passes(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .copy_align = 64, .secret_align = 64);
	exchange(fds, 1, LARGE);
	SAME(sum_channels(fds[0]).works, 4);
	SAME(count(fds, LARGE).bytes_dma, LARGE);
}

/* ---- engines that go on ---- */

static char *map_new(void *address)
{
	void *map = mmap(address, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

static void post_to(const int fds[2], char *map)
{
	fill(source, LARGE, 1);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = LARGE), 0);
	SAME(post_read(.fd = fds[1], .buffer = map, .length = LARGE), 0);
}

static void finish_stuck(const int fds[2])
{
	SAME(wait_for(fds[0], 0, 1).status, -EIO);
	SAME(wait_for(fds[1], 0, 1).status, -EIO);
	CHECK(counters(fds[1], 0).pages_stuck + counters(fds[0], 0).pages_stuck >= LARGE / 4096);
}

/* When the engine writes at last, it writes to pages that are still pinned, and nobody's. */
static void write_late(char *map)
{
	CHECK(!munmap(map, LARGE));
	map = map_new(map);
	fill(map, LARGE, 2);
	memset(source, 0, LARGE);
	soft_set("hang_every", 0);
	pause_ms(100);
	CHECK(filled(map, LARGE, 2));
}

/* All pages are unpinned. That takes a moment; the test has its limit. */
static void wait_for_unpinned(void)
{
	struct adma_counters all;
	int fd;

	do {
		fd = device_open();
		all = counters(fd, ADMA_COUNTERS_MODULE);
		close(fd);
		sched_yield();
	} while (all.pages_pinned != all.pages_unpinned);
	while (module_uses())
		close(device_open());
}

static void test_lying_terminate(void)
{
	char *map = map_new(NULL);
	int fds[2];

	BEGIN(fds, HASTY, .driver = "adma_soft_endless", .hang_every = 1, .terminate_lies = 1);
	post_to(fds, map);
	finish_stuck(fds);
	CHECK(sum_channels(fds[0]).retired > 0);
	write_late(map);
	exchange(fds, 2, LARGE);
}

static void test_lying_terminate_at_unbind(void)
{
	char *map = map_new(NULL);
	int fds[2];

	BEGIN(fds, PATIENT, .driver = "adma_soft_endless", .hang_every = 1, .terminate_lies = 1);
	post_to(fds, map);
	pause_ms(20);
	soft_unbind();
	finish_stuck(fds);
	SAME(sum_channels(fds[0]).lost, 4);
	write_late(map);
	exchange(fds, 2, LARGE);
}

/* It takes longer than the time-out and the drain, but comes to its end. */
static void test_late_callback_frees(void)
{
	int fds[2];

	BEGIN(fds, HASTY, .driver = "adma_soft_endless", .channels = 1, .delay_us = 800000);
	post_both(fds, 1, 8192);
	SAME(wait_for(fds[0], 0, 1).status, -EIO);
	SAME(wait_for(fds[1], 0, 1).status, -EIO);
	CHECK(sum_channels(fds[0]).retired == 1);
	soft_set("delay_us", 0);
	close(fds[0]);
	close(fds[1]);
	wait_for_unpinned();
}

/* Nothing can stop it, but it is waited for. */
static void test_endless_driver_drains_at_unbind(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .driver = "adma_soft_endless", .channels = 2, .delay_us = 20000);
	post_both(fds, 1, LARGE);
	pause_ms(50);
	soft_unbind();
	finish_both(fds, 1, LARGE);
	SAME(count(fds, LARGE).bytes_rescued, 0);
	SAME(sum_channels(fds[0]).lost, 2);
}

/* ---- preparing that blocks ---- */

static void test_blocked_copies_time_out(void)
{
	int fds[2];

	BEGIN(fds, HASTY, .driver = "adma_soft_blocking", .channels = 1, .descs = 4, .hang_every = 1);
	exchange(fds, 1, LARGE);
	SAME(sum_channels(fds[0]).retired, 1);
	SAME(count(fds, LARGE).bytes_dma, 0);
}

static void test_blocked_and_unbound(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .driver = "adma_soft_blocking", .channels = 1, .descs = 4, .hang_every = 1);
	post_both(fds, 1, LARGE);
	pause_ms(50);
	SAME(info(fds[0]).channels, 1);
	soft_unbind();
	finish_both(fds, 1, LARGE);
	SAME(sum_channels(fds[0]).lost, 1);
	SAME(count(fds, LARGE).timeouts, 0);
}

static void test_blocking_driver_carries(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .driver = "adma_soft_blocking", .descs = 4, .delay_us = 100);
	for (uint32_t i = 1; i <= 4; i++)
		exchange(fds, i, LARGE);
	SAME(count(fds, 4 * LARGE).bytes_dma, 4 * LARGE);
	SAME(sum_channels(fds[0]).bytes, 4 * LARGE);
}

static void test_failing_submission_calls_back(void)
{
	static const char *const drivers[] = { "adma_soft", "adma_soft_blocking" };
	int fds[2];

	for (size_t i = 0; i < 2; i++) {
		BEGIN(fds, PATIENT, .driver = drivers[i], .submit_fails = 3);
		exchange(fds, 1, LARGE);
		CHECK(count(fds, LARGE).bytes_dma > 0 && count(fds, LARGE).bytes_rescued > 0);
		CHECK(sum_channels(fds[0]).errors > 0);
		close(fds[0]);
		close(fds[1]);
	}
}

/* ---- DMA channels of devices below ---- */

static void test_queue_unbound_idle(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .queues = 1);
	exchange(fds, 1, LARGE);
	SAME(count(fds, LARGE).bytes_dma, LARGE);
	soft_unbind_queue(1);
	SAME(sum_channels(fds[0]).lost, 4);
	exchange(fds, 2, LARGE);
	SAME(count(fds, 2 * LARGE).bytes_dma, LARGE);
}

static void test_queue_unbound_in_flight(void)
{
	int fds[2];

	BEGIN(fds, PATIENT, .queues = 1, .hang_every = 1);
	post_both(fds, 1, LARGE);
	pause_ms(20);
	soft_unbind_queue(0);
	finish_both(fds, 1, LARGE);
	SAME(sum_channels(fds[0]).lost, 4);
	SAME(count(fds, LARGE).bytes_dma, 0);
}

const struct test manners_tests[] = {
	{ "silent driver is refused", test_silent_driver_is_refused, 0 },
	{ "secret alignment is found", test_secret_alignment_is_found, 60 },
	{ "stated alignment passes", test_stated_alignment_passes, 0 },
	{ "terminate that lies", test_lying_terminate, 0 },
	{ "terminate that lies, and unbound", test_lying_terminate_at_unbind, 0 },
	{ "late callback frees", test_late_callback_frees, 0 },
	{ "endless driver drains", test_endless_driver_drains_at_unbind, 0 },
	{ "blocking driver carries", test_blocking_driver_carries, 60 },
	{ "blocked copies time out", test_blocked_copies_time_out, 0 },
	{ "blocked and unbound", test_blocked_and_unbound, 0 },
	{ "failing submission calls back", test_failing_submission_calls_back, 0 },
	{ "queue unbound idle", test_queue_unbound_idle, 0 },
	{ "queue unbound in flight", test_queue_unbound_in_flight, 0 },
};

const size_t manners_count = sizeof(manners_tests) / sizeof(manners_tests[0]);
