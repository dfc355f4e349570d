/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waits.c - memory whose page faults are served late or never, made by userfaultfd: who has to
 * wait for them, for how long, and who must not. Needs root (or vm.unprivileged_userfaultfd).
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "device.h"
#include "knob.h"
#include "lazy.h"
#include "tap.h"

#define MS     1000000ll
#define PIECE  20000ul /* more than is copied in the later poster's call */
#define STEP   (5 * PAGE) /* from one piece to the next */
#define PROMPT 10.0 /* seconds on an emulated machine; the module promises one */

static uint32_t many = 600; /* more works than a work queue runs at a time */

/* Serves page faults as they come, until all pages are present. */
static void *serve_on_demand(void *argument)
{
	struct lazy *lazy = argument;
	char *from = filled_pages(lazy->length, 3);
	struct pollfd item = { .fd = lazy->fd, .events = POLLIN };
	size_t served = 0;

	while (served < lazy->length) {
		struct uffd_msg message;
		size_t at;

		SAME(poll(&item, 1, -1), 1);
		if (read(lazy->fd, &message, sizeof(message)) != sizeof(message))
			continue;
		SAME(message.event, UFFD_EVENT_PAGEFAULT);
		at = (message.arg.pagefault.address & ~(PAGE - 1)) - (uintptr_t)lazy->at;
		serve(lazy, at, from + at, PAGE);
		served += PAGE;
	}
	return NULL;
}

/* ---- messages of other processes ---- */

/* Exchanges messages by the CPU and by DMA, of one window and of many. */
static void other_process(void *argument)
{
	int fd = device_open(), fds[2];

	if (*(const int *)argument)
		CHECK(!setuid(65534));
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		pair_of(fd, fds, policy);
		exchange(fds, 1, 100);
		exchange(fds, 2, PIECE);
		exchange(fds, 3, LARGE);
	}
}

/* ---- other processes do not wait ---- */

static void post_many(const int fds[2], const struct lazy *lazy, char *to)
{
	for (uint32_t i = 0; i < many; i++) {
		SAME(post_write(.fd = fds[0], .entry = i, .buffer = lazy->at + i * STEP, .length = PIECE), 0);
		SAME(post_read(.fd = fds[1], .entry = i, .buffer = to + i * STEP, .length = PIECE), 0);
	}
}

static void others_go_on(uint32_t policy)
{
	struct lazy lazy = lazy_make(many * STEP);
	char *from = filled_pages(lazy.length, policy), *to = map(lazy.length);
	const int no = 0, yes = 1;
	int fds[2];

	pair_open(fds, policy);
	post_many(fds, &lazy, to);
	join(spawn(other_process, (void *)&no)); /* a process of the same user */
	if (!getuid())
		join(spawn(other_process, (void *)&yes));
	for (uint32_t i = 0; i < many; i++) {
		SAME(check(fds[0], i, 1).status, ADMA_PENDING);
		SAME(check(fds[1], i, 1).matched, 1);
	}
	/* The last one is served first: it is queued behind all others, and must not wait for them. */
	serve(&lazy, (many - 1) * STEP, from + (many - 1) * STEP, STEP);
	SAME(wait_for(fds[1], many - 1, 1).status, 0);
	serve(&lazy, 0, from, (many - 1) * STEP);
	for (uint32_t i = 0; i < many; i++) {
		SAME(wait_for(fds[0], i, 1).status, 0);
		SAME(wait_for(fds[1], i, 1).status, 0);
		CHECK(!memcmp(to + i * STEP, from + i * STEP, PIECE));
	}
}

static void test_others_go_on_cpu(void)
{
	others_go_on(ADMA_BY_CPU);
}

static void test_others_go_on_dma(void)
{
	others_go_on(ADMA_BY_ANY);
}

/* ---- closing an endpoint completes its transfers ---- */

struct closing {
	uint32_t policy;
	size_t length;
	int lazy_side, which;
};

static void close_one(void *argument)
{
	const struct closing *closing = argument;
	const int which = closing->which;
	struct lazy lazy = lazy_make(closing->length);
	const volatile struct adma_entry *entries;
	char *other = map(lazy.length);
	char *from = closing->lazy_side ? other : lazy.at, *to = closing->lazy_side ? lazy.at : other;
	double begun;
	int fds[2];

	pair_open(fds, closing->policy);
	entries = entries_map(fds[which]);
	SAME(post_write(.fd = fds[0], .buffer = from, .length = closing->length), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = closing->length), 0);
	SAME(wait_error(fds[1 - which], 0, 1, 50 * MS), -ETIMEDOUT);
	SAME(check(fds[which], 0, 1).matched, 1);
	SAME(cancel(fds[0], 0, 1), -EBUSY);
	begun = now();
	close(fds[which]);
	SAME(wait_for(fds[1 - which], 0, 1).status, -EPIPE);
	SAME(entry_status(&entries[0]), -ECANCELED);
	CHECK(now() - begun < PROMPT);
	close(fds[1 - which]);
	close(lazy.fd);
}

/* Each waits for a second, so those of a policy wait at the same time. */
static void test_close(void)
{
	static const size_t lengths[] = { 100, PIECE };
	int children[8];

	close(lazy_make(PIECE).fd); /* is skipped where that is not to be had */
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		for (int i = 0; i < 8; i++)
			children[i] = spawn(close_one, &(struct closing){ policy, lengths[i & 1], i >> 1 & 1, i >> 2 });
		for (int i = 0; i < 8; i++)
			join(children[i]);
	}
}

static void test_close_copy(void)
{
	struct lazy lazy = lazy_make(PIECE);
	const volatile struct adma_entry *entries;
	char *to = map(lazy.length);
	double begun = now();
	int fd = device_open();

	entries = entries_map(fd);
	SAME(copy(fd, 0, 1, to, lazy.at, PIECE, ADMA_BY_ANY), 0);
	close(fd);
	while (entry_status(&entries[0]) == ADMA_PENDING)
		usleep(1000);
	SAME(entry_status(&entries[0]), -ECANCELED);
	CHECK(now() - begun < PROMPT);
}

/*
 * What was sent before the close arrives, although it takes many windows of untouched memory. They are small, so that
 * the memory of one comes within the second that it may take, also on a slow machine.
 */
static void test_close_waits_for_copy(void)
{
	const unsigned long window = getuid() ? 0 : parameter_set("window", 256ul << 10);

	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		char *from = filled_pages(LARGE, 5), *to = map(LARGE);
		int fds[2];

		pair_open(fds, policy);
		SAME(post_write(.fd = fds[0], .buffer = from, .length = LARGE), 0);
		SAME(post_read(.fd = fds[1], .buffer = to, .length = LARGE), 0);
		close(fds[0]);
		SAME(wait_for(fds[1], 0, 1).status, 0);
		CHECK(filled(to, LARGE, 5));
	}
	if (window)
		parameter_set("window", window);
}

static void post_lazily_and_wait(void *argument)
{
	struct lazy lazy = lazy_make(PIECE);
	const int *fds = argument;

	close(fds[0]);
	SAME(post_write(.fd = fds[1], .buffer = lazy.at, .length = PIECE), 0);
	wait_error(fds[1], 0, 1, -1);
}

static void test_killed(void)
{
	char *to = map(PIECE);
	int fds[2], child;

	pair_open(fds, ADMA_BY_CPU);
	SAME(post_read(.fd = fds[0], .buffer = to, .length = PIECE), 0);
	child = spawn(post_lazily_and_wait, fds);
	close(fds[1]);
	while (!check(fds[0], 0, 1).matched)
		usleep(1000);
	usleep(20000);
	SAME(check(fds[0], 0, 1).status, ADMA_PENDING);
	kill(child, SIGKILL);
	join_killed(child);
	/* The userfaultfd went with the process. If the fault came after that, it found a page of zeroes. */
	int status = wait_for(fds[0], 0, 1).status;

	CHECK(status == 0 || status == -EPIPE || status == -ESRCH || status == -EFAULT);
}

/* ---- a transfer goes on when its memory is present ---- */

static void on_demand(uint32_t policy, size_t length, int lazy_side)
{
	struct lazy lazy = lazy_make(length);
	char *other = filled_pages(lazy.length, 3);
	pthread_t server;
	int fds[2];

	CHECK(!pthread_create(&server, NULL, serve_on_demand, &lazy));
	pair_open(fds, policy);
	SAME(post_write(.fd = fds[0], .buffer = lazy_side ? other : lazy.at, .length = length), 0);
	SAME(post_read(.fd = fds[1], .buffer = lazy_side ? lazy.at : other, .length = length), 0);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	pthread_join(server, NULL); /* there was a page fault for each page */
	CHECK(filled(other, length, 3));
	CHECK(filled(lazy.at, length, 3));
	close(fds[0]);
	close(fds[1]);
	munmap(other, lazy.length);
	munmap(lazy.at, lazy.length);
	close(lazy.fd);
}

static void test_on_demand(void)
{
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++)
		for (int side = 0; side < 2; side++) {
			on_demand(policy, 100, side);
			on_demand(policy, PIECE, side);
			on_demand(policy, 600000, side); /* several short-term windows */
		}
}

/* Both sides lack memory, and what was fetched for one stays pinned while the other waits. */
static void test_both_sides(void)
{
	unsigned long limit = parameter_set("pin_limit", 0);

	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		struct lazy from = lazy_make(PIECE), to = lazy_make(PIECE);
		char *pages = filled_pages(STEP, 7), *nothing = map(STEP);
		int fds[2];

		pair_open(fds, policy);
		SAME(post_write(.fd = fds[0], .buffer = from.at, .length = PIECE), 0);
		SAME(post_read(.fd = fds[1], .buffer = to.at, .length = PIECE), 0);
		usleep(20000);
		serve(&to, 0, nothing, STEP);
		SAME(wait_error(fds[0], 0, 1, 50 * MS), -ETIMEDOUT);
		serve(&from, 0, pages, STEP);
		SAME(wait_for(fds[0], 0, 1).status, 0);
		CHECK(filled(to.at, PIECE, 7));
	}
	parameter_set("pin_limit", limit);
}

/* Untouched pages of a file, with and without room for long-term pins. */
static void file_comes(uint32_t policy, int flags)
{
	char path[] = "/tmp/adma-selftest-XXXXXX";
	char *pages = filled_pages(LARGE, 9), *to = map(LARGE), *at;
	int file = mkstemp(path), fds[2];

	CHECK(file >= 0);
	unlink(path);
	SAME(write(file, pages, LARGE), (long)LARGE);
	at = mmap(NULL, LARGE, PROT_READ, flags, file, 0);
	CHECK(at != MAP_FAILED);
	pair_open(fds, policy);
	SAME(post_write(.fd = fds[0], .buffer = at, .length = LARGE), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = LARGE), 0);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	CHECK(!memcmp(to, pages, LARGE));
	close(file);
}

/* By DMA or not at all. */
static void test_file_by_dma(void)
{
	int fd = device_open();

	if (!(info(fd).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	file_comes(ADMA_BY_DMA, MAP_SHARED);
	file_comes(ADMA_BY_DMA, MAP_PRIVATE);
}

static void test_file(void)
{
	const struct rlimit none = { 0, 0 };

	for (int i = 0; i < 4; i++)
		file_comes(i & 1 ? ADMA_BY_CPU : ADMA_BY_ANY, i & 2 ? MAP_SHARED : MAP_PRIVATE);
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &none));
	file_comes(ADMA_BY_ANY, MAP_SHARED);
}

/* ---- a machine that goes to sleep does not wait ---- */

/* Only the freezing of all processes is tried; the machine wakes up 5 s later. */
static void test_sleep(void)
{
	struct lazy lazy = lazy_make(PIECE);
	char *pages = filled_pages(STEP, 11), *to = map(lazy.length);
	int fds[2];

	if (!knob("/sys/power/pm_test", "freezer"))
		tap_skip("this kernel cannot test sleep");
	pair_open(fds, ADMA_BY_CPU);
	SAME(post_write(.fd = fds[0], .buffer = lazy.at, .length = PIECE), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = PIECE), 0);
	SAME(wait_error(fds[0], 0, 1, 50 * MS), -ETIMEDOUT);
	CHECK(knob("/sys/power/state", "freeze"));
	CHECK(knob("/sys/power/pm_test", "none"));
	SAME(check(fds[0], 0, 1).status, ADMA_PENDING);
	serve(&lazy, 0, pages, STEP);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	CHECK(filled(to, PIECE, 11));
}

static const struct test tests[] = {
	{ "others go on: cpu", test_others_go_on_cpu, 60 },
	{ "others go on: dma", test_others_go_on_dma, 60 },
	{ "close", test_close, 120 },
	{ "close: copy", test_close_copy, 0 },
	{ "close waits for copy", test_close_waits_for_copy, 60 },
	{ "killed", test_killed, 0 },
	{ "on demand", test_on_demand, 120 },
	{ "both sides", test_both_sides, 60 },
	{ "file", test_file, 60 },
	{ "file by dma", test_file_by_dma, 60 },
	{ "sleep", test_sleep, 60 },
};

int main(int argc, char **argv)
{
	if (getenv("ADMA_MANY"))
		many = (uint32_t)atoi(getenv("ADMA_MANY"));
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
