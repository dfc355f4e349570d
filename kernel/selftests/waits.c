/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * waits.c - memory whose page faults are served late or never, which userfaultfd makes of any:
 * whom that keeps waiting, for how long, and whom not. Needs root (or vm.unprivileged_userfaultfd).
 */
#include <errno.h>
#include <fcntl.h>
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
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "knob.h"
#include "tap.h"

#define MS 1000000ll
#define PAGE 4096ul
#define PIECE 20000ul /* more than is copied in the late poster's call */
#define STEP (5 * PAGE) /* from one to the next */
#define LARGE (12ul << 20) /* several windows */
#define PROMPT 10.0 /* seconds, on an emulated machine; meant is one */

static uint32_t many = 600; /* more than a work queue runs at a time */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *map(size_t length)
{
	char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

/* ---- memory that is there when we say so ---- */

struct lazy {
	int fd;
	char *at;
	size_t length;
};

static struct lazy lazy_make(size_t length)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct lazy lazy = { .length = (length + PAGE - 1) / PAGE * PAGE };

	lazy.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (lazy.fd < 0)
		tap_skip("no userfaultfd");
	CHECK(!ioctl(lazy.fd, UFFDIO_API, &api));
	lazy.at = map(lazy.length);
	range.range.start = (uintptr_t)lazy.at;
	range.range.len = lazy.length;
	CHECK(!ioctl(lazy.fd, UFFDIO_REGISTER, &range));
	return lazy;
}

static void serve(const struct lazy *lazy, size_t at, const void *from, size_t length)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)lazy->at + at, .src = (uintptr_t)from, .len = length };

	CHECK(!ioctl(lazy->fd, UFFDIO_COPY, &copy));
}

static char *filled_pages(size_t length, unsigned seed)
{
	char *at = map((length + PAGE - 1) / PAGE * PAGE);

	fill(at, length, seed);
	return at;
}

/* Serves what is asked for, as it is asked for, until all of it is there. */
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

/* ---- others ---- */

static void pair_of(int fd, int ends[2], uint32_t policy)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = policy };

	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	memcpy(ends, pair.fd, sizeof(pair.fd));
}

static void exchange(const int ends[2], uint32_t generation, size_t length)
{
	char *from = filled_pages(length, generation), *to = map(length);

	SAME(post_write(.fd = ends[0], .generation = generation, .buffer = from, .length = length), 0);
	SAME(post_read(.fd = ends[1], .generation = generation, .buffer = to, .length = length), 0);
	SAME(wait_end(ends[0], 0, generation).status, 0);
	SAME(wait_end(ends[1], 0, generation).status, 0);
	CHECK(filled(to, length, generation));
	munmap(from, length);
	munmap(to, length);
}

/* What somebody else does meanwhile: by the CPU, by DMA, in one window and in many. */
static void be_another(void *argument)
{
	int fd = device_open(), ends[2];

	if (*(const int *)argument)
		CHECK(!setuid(65534));
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		pair_of(fd, ends, policy);
		exchange(ends, 1, 100);
		exchange(ends, 2, PIECE);
		exchange(ends, 3, LARGE);
	}
}

/* ---- nobody else waits ---- */

static void post_many(const int ends[2], const struct lazy *lazy, char *to)
{
	for (uint32_t i = 0; i < many; i++) {
		SAME(post_write(.fd = ends[0], .entry = i, .buffer = lazy->at + i * STEP, .length = PIECE), 0);
		SAME(post_read(.fd = ends[1], .entry = i, .buffer = to + i * STEP, .length = PIECE), 0);
	}
}

static void others_go_on(uint32_t policy)
{
	struct lazy lazy = lazy_make(many * STEP);
	char *from = filled_pages(lazy.length, policy), *to = map(lazy.length);
	const int no = 0, yes = 1;
	int ends[2];

	pair_open(ends, policy);
	post_many(ends, &lazy, to);
	join(spawn(be_another, (void *)&no)); /* a process of the same user */
	if (!getuid())
		join(spawn(be_another, (void *)&yes));
	for (uint32_t i = 0; i < many; i++) {
		SAME(check(ends[0], i, 1).status, ADMA_PENDING);
		SAME(check(ends[1], i, 1).matched, 1);
	}
	/* The last one first: it stands behind all the others, and is not kept waiting by them. */
	serve(&lazy, (many - 1) * STEP, from + (many - 1) * STEP, STEP);
	SAME(wait_end(ends[1], many - 1, 1).status, 0);
	serve(&lazy, 0, from, (many - 1) * STEP);
	for (uint32_t i = 0; i < many; i++) {
		SAME(wait_end(ends[0], i, 1).status, 0);
		SAME(wait_end(ends[1], i, 1).status, 0);
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

/* ---- whoever closes ends it ---- */

static void close_one(uint32_t policy, size_t length, int lazy_end, int which)
{
	struct lazy lazy = lazy_make(length);
	const volatile struct adma_entry *entries;
	char *other = map(lazy.length);
	double begun;
	int ends[2];

	pair_open(ends, policy);
	entries = entries_map(ends[which]);
	SAME(post_write(.fd = ends[0], .buffer = lazy_end ? other : lazy.at, .length = length), 0);
	SAME(post_read(.fd = ends[1], .buffer = lazy_end ? lazy.at : other, .length = length), 0);
	SAME(wait_error(ends[1 - which], 0, 1, 50 * MS), -ETIMEDOUT);
	SAME(check(ends[which], 0, 1).matched, 1);
	SAME(cancel(ends[0], 0, 1), -EBUSY);
	begun = now();
	close(ends[which]);
	SAME(wait_end(ends[1 - which], 0, 1).status, -EPIPE);
	SAME(entry_status(&entries[0]), -ECANCELED);
	CHECK(now() - begun < PROMPT);
	close(ends[1 - which]);
	close(lazy.fd);
}

static void test_close(void)
{
	static const size_t lengths[] = { 100, PIECE };

	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++)
		for (int i = 0; i < 8; i++)
			close_one(policy, lengths[i & 1], i >> 1 & 1, i >> 2);
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

/* What was sent before the close arrives, in many windows of memory that was never touched. */
static void test_close_does_not_hurry(void)
{
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		char *from = filled_pages(LARGE, 5), *to = map(LARGE);
		int ends[2];

		pair_open(ends, policy);
		SAME(post_write(.fd = ends[0], .buffer = from, .length = LARGE), 0);
		SAME(post_read(.fd = ends[1], .buffer = to, .length = LARGE), 0);
		close(ends[0]);
		SAME(wait_end(ends[1], 0, 1).status, 0);
		CHECK(filled(to, LARGE, 5));
	}
}

static void post_lazily_and_wait(void *argument)
{
	struct lazy lazy = lazy_make(PIECE);
	const int *ends = argument;

	close(ends[0]);
	SAME(post_write(.fd = ends[1], .buffer = lazy.at, .length = PIECE), 0);
	wait_error(ends[1], 0, 1, -1);
}

static void test_killed(void)
{
	char *to = map(PIECE);
	int ends[2], child;

	pair_open(ends, ADMA_BY_CPU);
	SAME(post_read(.fd = ends[0], .buffer = to, .length = PIECE), 0);
	child = spawn(post_lazily_and_wait, ends);
	close(ends[1]);
	while (!check(ends[0], 0, 1).matched)
		usleep(1000);
	usleep(20000);
	SAME(check(ends[0], 0, 1).status, ADMA_PENDING);
	kill(child, SIGKILL);
	join_killed(child);
	/* With the process went who was to serve its faults: then there was memory, of zeroes. */
	int status = wait_end(ends[0], 0, 1).status;

	CHECK(status == 0 || status == -EPIPE || status == -ESRCH || status == -EFAULT);
}

/* ---- it goes on when it can ---- */

static void on_demand(uint32_t policy, size_t length, int lazy_end)
{
	struct lazy lazy = lazy_make(length);
	char *other = filled_pages(lazy.length, 3);
	pthread_t server;
	int ends[2];

	CHECK(!pthread_create(&server, NULL, serve_on_demand, &lazy));
	pair_open(ends, policy);
	SAME(post_write(.fd = ends[0], .buffer = lazy_end ? other : lazy.at, .length = length), 0);
	SAME(post_read(.fd = ends[1], .buffer = lazy_end ? lazy.at : other, .length = length), 0);
	SAME(wait_end(ends[0], 0, 1).status, 0);
	SAME(wait_end(ends[1], 0, 1).status, 0);
	pthread_join(server, NULL); /* each page was asked for */
	CHECK(filled(other, length, 3));
	CHECK(filled(lazy.at, length, 3));
	close(ends[0]);
	close(ends[1]);
	munmap(other, lazy.length);
	munmap(lazy.at, lazy.length);
	close(lazy.fd);
}

static void test_on_demand(void)
{
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++)
		for (int end = 0; end < 2; end++) {
			on_demand(policy, 100, end);
			on_demand(policy, PIECE, end);
			on_demand(policy, 600000, end); /* several windows of the CPU's */
		}
}

/* Both sides lack something, and what one fetched stays while the other waits. */
static void test_both_ends(void)
{
	unsigned long limit = parameter_set("pin_limit", 0);

	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		struct lazy from = lazy_make(PIECE), to = lazy_make(PIECE);
		char *pages = filled_pages(STEP, 7), *nothing = map(STEP);
		int ends[2];

		pair_open(ends, policy);
		SAME(post_write(.fd = ends[0], .buffer = from.at, .length = PIECE), 0);
		SAME(post_read(.fd = ends[1], .buffer = to.at, .length = PIECE), 0);
		usleep(20000);
		serve(&to, 0, nothing, STEP);
		SAME(wait_error(ends[0], 0, 1, 50 * MS), -ETIMEDOUT);
		serve(&from, 0, pages, STEP);
		SAME(wait_end(ends[0], 0, 1).status, 0);
		CHECK(filled(to.at, PIECE, 7));
	}
	parameter_set("pin_limit", limit);
}

/* A file's pages that nobody touched, with and without room for lasting pins. */
static void file_comes(uint32_t policy, int flags)
{
	char path[] = "/tmp/adma-selftest-XXXXXX";
	char *pages = filled_pages(LARGE, 9), *to = map(LARGE), *at;
	int file = mkstemp(path), ends[2];

	CHECK(file >= 0);
	unlink(path);
	SAME(write(file, pages, LARGE), (long)LARGE);
	at = mmap(NULL, LARGE, PROT_READ, flags, file, 0);
	CHECK(at != MAP_FAILED);
	pair_open(ends, policy);
	SAME(post_write(.fd = ends[0], .buffer = at, .length = LARGE), 0);
	SAME(post_read(.fd = ends[1], .buffer = to, .length = LARGE), 0);
	SAME(wait_end(ends[1], 0, 1).status, 0);
	CHECK(!memcmp(to, pages, LARGE));
	close(file);
}

static void test_file(void)
{
	const struct rlimit none = { 0, 0 };

	for (int i = 0; i < 4; i++)
		file_comes(i & 1 ? ADMA_BY_CPU : ADMA_BY_ANY, i & 2 ? MAP_SHARED : MAP_PRIVATE);
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &none));
	file_comes(ADMA_BY_ANY, MAP_SHARED);
}

/* ---- nor does the machine wait ---- */

/* All of sleep that is tried is that everything comes to rest: it wakes 5 s later. */
static void test_sleep(void)
{
	struct lazy lazy = lazy_make(PIECE);
	char *pages = filled_pages(STEP, 11), *to = map(lazy.length);
	int ends[2];

	if (!knob("/sys/power/pm_test", "freezer"))
		tap_skip("a kernel that cannot try to sleep");
	pair_open(ends, ADMA_BY_CPU);
	SAME(post_write(.fd = ends[0], .buffer = lazy.at, .length = PIECE), 0);
	SAME(post_read(.fd = ends[1], .buffer = to, .length = PIECE), 0);
	SAME(wait_error(ends[0], 0, 1, 50 * MS), -ETIMEDOUT);
	CHECK(knob("/sys/power/state", "freeze"));
	CHECK(knob("/sys/power/pm_test", "none"));
	SAME(check(ends[0], 0, 1).status, ADMA_PENDING);
	serve(&lazy, 0, pages, STEP);
	SAME(wait_end(ends[1], 0, 1).status, 0);
	CHECK(filled(to, PIECE, 11));
}

static const struct test tests[] = {
	{ "others go on: cpu", test_others_go_on_cpu, 60 },
	{ "others go on: dma", test_others_go_on_dma, 60 },
	{ "close", test_close, 120 },
	{ "close: copy", test_close_copy, 0 },
	{ "close does not hurry", test_close_does_not_hurry, 60 },
	{ "killed", test_killed, 0 },
	{ "on demand", test_on_demand, 120 },
	{ "both ends", test_both_ends, 60 },
	{ "file", test_file, 60 },
	{ "sleep", test_sleep, 60 },
};

int main(int argc, char **argv)
{
	if (getenv("ADMA_MANY"))
		many = (uint32_t)atoi(getenv("ADMA_MANY"));
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
