/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi_use.c - closing, copies, times, who may use a file descriptor, and pinning for long. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"
#include "uapi.h"

#define MS 1000000ll /* nanoseconds */

/* ---- closing ---- */

void test_close(void)
{
	const volatile struct adma_entry *entries;
	struct adma_peek out;
	uint64_t count;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	entries = entries_map(fds[0]);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = 100), 0);
	SAME(post_read(.fd = fds[0], .entry = 1, .key = 3, .buffer = sink, .length = 100), 0);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 100), 0);
	SAME(post_write(.fd = fds[1], .entry = 1, .key = 77, .buffer = source, .length = 100), 0);
	SAME(post_read(.fd = fds[1], .entry = 2, .key = 6, .buffer = sink, .length = 100), 0);
	close(fds[0]); /* although its entries are mapped */
	SAME(entry_status(&entries[0]), -ECANCELED);
	SAME(entry_status(&entries[1]), -ECANCELED);
	for (uint32_t i = 0; i < 3; i++)
		SAME(wait_for(fds[1], i, 1).status, -EPIPE);
	SAME(read(fds[1], &count, 8), 8);
	SAME(count, 3);
	SAME(peek(fds[1], &out), -EPIPE);
	SAME(post_write(.fd = fds[1], .generation = 2, .buffer = source, .length = 1), -EPIPE);
	SAME(post_read(.fd = fds[1], .generation = 2, .buffer = sink, .length = 1), -EPIPE);
	SAME(poll_now(fds[1]), POLLHUP);
	/* What an endpoint can do without its peer still works. */
	SAME(copy(fds[1], 0, 2, sink, source, 100, ADMA_BY_ANY), 0);
	SAME(wait_for(fds[1], 0, 2).status, 0);
}

void test_close_while_matched(void)
{
	const volatile struct adma_entry *entries;
	int fds[2];

	pair_open(fds, ADMA_BY_CPU);
	entries = entries_map(fds[0]);
	fill(source, sizeof(source), 9);
	memset(sink, 0, sizeof(sink));
	SAME(post_write(.fd = fds[0], .buffer = source, .length = sizeof(source)), 0);
	SAME(post_read(.fd = fds[1], .buffer = sink, .length = sizeof(sink)), 0);
	close(fds[0]);
	SAME(wait_for(fds[1], 0, 1).status, 0);
	SAME(entry_status(&entries[0]), 0);
	CHECK(filled(sink, sizeof(sink), 9));
}

/* ---- copies, times ---- */

void test_copy(void)
{
	const struct adma_copy good = { .size = sizeof(good),
					.cookie = ADMA_COOKIE(1, 50),
					.destination = (uintptr_t)sink,
					.source = (uintptr_t)source,
					.length = 100 };
	struct adma_copy bad;
	struct adma_check done;
	int fd = device_open();

#define BAD_COPY(field, value, error) \
	do { \
		bad = good; \
		bad.field = (value); \
		SAME(command(fd, ADMA_IOC_COPY, &bad), error); \
		SAME(check_error(fd, 50, 1), -ENOENT); \
	} while (0)
	BAD_COPY(flags, 2, -EINVAL);
	BAD_COPY(pad, 1, -EINVAL);
	BAD_COPY(policy, 3, -EINVAL);
	BAD_COPY(cookie, 50, -EINVAL);
	BAD_COPY(cookie, ADMA_COOKIE(1, 1024), -EINVAL);
	BAD_COPY(length, info(fd).length_max + 1, -EINVAL);
	BAD_COPY(destination, (uintptr_t)source + 99, -EINVAL);
	BAD_COPY(destination, (uintptr_t)source - 99, -EINVAL);
	BAD_COPY(destination, (uintptr_t)source, -EINVAL);
	BAD_COPY(destination, (uintptr_t)read_only(4096), -EFAULT);
	BAD_COPY(source, (uintptr_t)hole(4096), -EFAULT);
	BAD_COPY(source, 0, -EFAULT);
	SAME(copy(fd, 0, 1, source + 100, source, 100, ADMA_BY_ANY), 0); /* adjacent ranges */
	SAME(wait_for(fd, 0, 1).status, 0);
	SAME(copy(fd, 1, 1, source, source, 0, ADMA_BY_ANY), 0);
	done = check(fd, 1, 1);
	SAME(done.status, 0);
	SAME(done.length, 0);
	fill(source, sizeof(source), 1);
	for (uint32_t policy = ADMA_BY_ANY; policy <= ADMA_BY_CPU; policy++) {
		memset(sink, 0, sizeof(sink));
		SAME(copy(fd, 2, policy + 1, sink, source, sizeof(source), policy), 0);
		done = wait_for(fd, 2, policy + 1);
		SAME(done.status, 0);
		SAME(done.matched, 1);
		SAME(done.length, sizeof(source));
		CHECK(filled(sink, sizeof(sink), 1));
	}
	SAME(counters(fd, 0).posts, 4);
	SAME(counters(fd, 0).done, 4);
	SAME(counters(fd, 0).matches, 4);
}

void test_times(void)
{
	struct adma_counters sums;
	struct adma_check done;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .flags = ADMA_POST_TIMES, .buffer = sink, .length = sizeof(sink)), 0);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = sizeof(source)), 0);
	done = wait_for(fds[0], 0, 1);
	CHECK(done.times[ADMA_TIME_POST] > 0);
	CHECK(done.times[ADMA_TIME_COPY] > 0);
	sums = counters(fds[0], 0);
	for (int i = 0; i < ADMA_TIMES; i++) {
		SAME(sums.times[i], done.times[i]);
		CHECK(done.times[i] < 10ull * 1000 * MS);
	}
	done = wait_for(fds[1], 0, 1);
	for (int i = 0; i < ADMA_TIMES; i++)
		SAME(done.times[i], 0); /* they were not asked for */
	CHECK(counters(fds[1], 0).times[ADMA_TIME_COPY] > 0);
	/* They are not left over for the next request of the entry. */
	SAME(post_read(.fd = fds[0], .generation = 2), 0);
	SAME(cancel(fds[0], 0, 2), 0);
	SAME(check(fds[0], 0, 2).times[ADMA_TIME_COPY], 0);
}

/* ---- who may use a file descriptor ---- */

static void read_own(void *argument)
{
	int fd = *(int *)argument;

	memset(sink, 0, 5000);
	SAME(post_read(.fd = fd, .buffer = sink, .length = 5000), 0);
	SAME(wait_for(fd, 0, 1).status, 0);
	CHECK(filled(sink, 5000, 42));
}

/* A child posts its own memory, not its parent's. */
void test_fork(void)
{
	int fds[2], child;

	pair_open(fds, ADMA_BY_ANY);
	fill(source, 5000, 42);
	memset(sink, 1, 5000);
	child = spawn(read_own, &fds[1]);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = 5000), 0);
	join(child);
	SAME(sink[0], 1);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	SAME(check(fds[1], 0, 1).status, 0); /* entries belong to the file descriptor */
}

static void read_received(void *argument)
{
	int fd;

	if (!getuid())
		CHECK(!setuid(65534)); /* this other user is charged */
	fd = receive_fd(*(int *)argument);
	read_own(&fd);
}

void test_passed_to_another_user(void)
{
	int fds[2], sockets[2], child;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = spawn(read_received, &sockets[1]);
	pair_open(fds, ADMA_BY_ANY);
	send_fd(sockets[0], fds[1]);
	close(fds[1]);
	fill(source, 5000, 42);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = 5000), 0);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	join(child);
	SAME(post_write(.fd = fds[0], .generation = 2, .buffer = source, .length = 5000), -EPIPE);
}

void test_two_processes(void)
{
	int fds[2], child;

	pair_open(fds, ADMA_BY_ANY);
	fill(source, 5000, 42);
	child = spawn(read_own, &fds[1]);
	close(fds[1]);
	SAME(post_write(.fd = fds[0], .buffer = source, .length = 5000), 0);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	join(child);
}

/* ---- pinning for long ---- */

void test_memlock_zero(void)
{
	const struct rlimit none = { 0, 0 };
	int fds[2], dma[2], fd;

	fd = device_open();
	if (!(info(fd).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	if (!getuid())
		CHECK(!setuid(65534));
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };

	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	memcpy(dma, pair.fd, sizeof(dma));
	pair.policy = ADMA_BY_ANY;
	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	memcpy(fds, pair.fd, sizeof(fds));
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &none));
	SAME(post_write(.fd = dma[0], .buffer = source, .length = 100000), -ENOMEM);
	SAME(post_read(.fd = dma[0], .buffer = sink, .length = 100000), -ENOMEM);
	exchange(fds, 1, 100000); /* by the CPU */
	SAME(counters(fds[1], 0).bytes_dma, 0);
}

void test_file_memory(void)
{
	char path[] = "/tmp/adma-selftest-XXXXXX";
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };
	int file = mkstemp(path), fd = device_open();
	char *map;

	CHECK(file >= 0);
	unlink(path);
	if (!(info(fd).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	CHECK(!ftruncate(file, 8192));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(map != MAP_FAILED);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	/* It depends on the file system and the kernel which files can be pinned for long. */
	int result = post_read(.fd = pair.fd[0], .buffer = map, .length = 8192);

	CHECK(result == 0 || result == -EOPNOTSUPP);
	pair.policy = ADMA_BY_CPU;
	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	SAME(post_read(.fd = pair.fd[0], .buffer = map, .length = 8192), 0);
	fill(source, 8192, 4);
	SAME(post_write(.fd = pair.fd[1], .buffer = source, .length = 8192), 0);
	SAME(wait_for(pair.fd[0], 0, 1).status, 0);
	CHECK(filled(map, 8192, 4));
}

void test_unmapped_before_match(void)
{
	int fds[2];
	char *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .buffer = map, .length = 65536), 0);
	CHECK(!munmap(map, 65536));
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 65536), 0);
	SAME(wait_for(fds[0], 0, 1).status, -EFAULT);
	SAME(wait_for(fds[1], 0, 1).status, -EFAULT);
}
