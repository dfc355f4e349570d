/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pins.c - memory that stays pinned because it may be wanted again: whom it is charged to, and when
 * it is given back. Needs root and a DMA channel.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "device.h"
#include "knob.h"
#include "lazy.h"
#include "tap.h"

#define MEMLOCK (1ul << 20)
#define HALF    (MEMLOCK / 2 - 2 * PAGE)

static int device;

/* Each test sets the time for which pins may be idle. */
static void prepare(unsigned long idle_ms)
{
	if (getuid())
		tap_skip("not root");
	device = device_open();
	if (!(info(device).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	parameter_set("pin_idle_ms", idle_ms);
}

/* Exchanges a message, so that both its buffers are pinned and stay so. */
static void pin_both(size_t length)
{
	char *from = filled_pages(length, 1), *to = map(length);
	int fds[2];

	pair_of(device, fds, ADMA_BY_DMA);
	SAME(post_write(.fd = fds[0], .buffer = from, .length = length), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = length), 0);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	CHECK(filled(to, length, 1));
}

static unsigned long pinned_kilobytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long kilobytes = 0;
	char line[256];

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmPin: %lu", &kilobytes) == 1)
			break;
	fclose(file);
	return kilobytes;
}

/* ---- io_uring charges the same user ---- */

static int ring_make(void)
{
	struct io_uring_params parameters = { 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &parameters);

	if (ring < 0 && (errno == ENOSYS || errno == EPERM))
		tap_skip("no io_uring");
	CHECK(ring >= 0);
	return ring;
}

/* 0 or a negated errno. */
static int ring_pin(int ring, char *at, size_t length)
{
	const struct iovec iov = { .iov_base = at, .iov_len = length };

	return syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1) < 0 ? -errno : 0;
}

static void limit_memlock(void)
{
	const struct rlimit limit = { MEMLOCK, MEMLOCK };

	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	CHECK(!syscall(SYS_capset, &header, none));
}

/* ---- tests ---- */

static void test_told_of_the_process(void)
{
	prepare(60000);
	SAME(pinned_kilobytes(), 0);
	pin_both(MEMLOCK);
	CHECK(pinned_kilobytes() >= 2 * MEMLOCK / 1024);
}

/* Nothing is charged to root's user for what root pins. */
static void test_privileged(void)
{
	int ring;

	prepare(60000);
	pin_both(4 * MEMLOCK);
	limit_memlock();
	drop_capabilities();
	ring = ring_make();
	SAME(ring_pin(ring, filled_pages(HALF, 2), HALF), 0);
}

/* What is not used for a while is given back, so that others of the same user can pin. */
static void test_idle(void)
{
	int ring, error;
	char *at;

	prepare(1000);
	limit_memlock();
	CHECK(!setuid(20000));
	ring = ring_make();
	at = filled_pages(HALF, 2);
	pin_both(HALF);
	error = ring_pin(ring, at, HALF);
	while (error == -ENOMEM) {
		usleep(10000);
		error = ring_pin(ring, at, HALF);
	}
	SAME(error, 0);
	while (pinned_kilobytes() > HALF / 1024) /* the other buffer, too */
		usleep(10000);
}

/* What a request that waits has pinned is in use. */
static void test_in_use(void)
{
	char *to;
	int fds[2];

	prepare(200);
	to = map(HALF);
	pair_of(device, fds, ADMA_BY_DMA);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = HALF), 0);
	SAME(wait_error(fds[1], 0, 1, 1000000000), -ETIMEDOUT);
	SAME(pinned_kilobytes(), HALF / 1024);
	SAME(cancel(fds[1], 0, 1), 0);
	while (pinned_kilobytes())
		usleep(1000);
}

static void test_scarce(void)
{
	prepare(0);
	pin_both(MEMLOCK);
	CHECK(pins_cached() >= 2 * MEMLOCK);
	CHECK(knob("/proc/sys/vm/drop_caches", "2"));
	while (pins_cached())
		usleep(1000);
	SAME(pinned_kilobytes(), 0);
}

static const struct test tests[] = {
	{ "told of the process", test_told_of_the_process, 0 },
	{ "with CAP_IPC_LOCK", test_privileged, 0 },
	{ "idle", test_idle, 0 },
	{ "in use", test_in_use, 0 },
	{ "memory is scarce", test_scarce, 0 },
};

int main(int argc, char **argv)
{
	const bool may_set = !access("/sys/module/adma/parameters/pin_idle_ms", W_OK);
	const unsigned long idle_ms = may_set ? parameter_set("pin_idle_ms", 0) : 0;
	int status = tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));

	if (may_set)
		parameter_set("pin_idle_ms", idle_ms);
	return status;
}
