/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi_request.c - check, wait, cancel, peek, read, poll, and the mapped entries. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "device.h"
#include "tap.h"
#include "uapi.h"

#define MS 1000000ll /* nanoseconds */

/* ---- check, wait, cancel ---- */

void test_check(void)
{
	struct adma_check arguments = { .size = sizeof(arguments), .cookie = ADMA_COOKIE(1, 0) };
	struct adma_check now;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(check_error(fds[0], 0, 1), -ENOENT);
	SAME(wait_error(fds[0], 0, 1, 0), -ENOENT);
	SAME(cancel(fds[0], 0, 1), -ENOENT);
	SAME(check_error(fds[0], 1024, 1), -EINVAL);
	SAME(wait_error(fds[0], UINT32_MAX, 1, 0), -EINVAL);
	SAME(cancel(fds[0], 1024, 1), -EINVAL);
	arguments.cookie = 0;
	SAME(command(fds[0], ADMA_IOC_CHECK, &arguments), -ENOENT);
	arguments.timeout_ns = 1;
	SAME(command(fds[0], ADMA_IOC_CHECK, &arguments), -EINVAL);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 100), 0);
	now = check(fds[0], 0, 1);
	SAME(now.status, ADMA_PENDING);
	SAME(now.matched, 0);
	SAME(now.length, 0);
	SAME(check_error(fds[0], 0, 2), -ENOENT);
}

static void nothing(int number)
{
	(void)number;
}

/* Signals come until the timer is deleted, so that one comes while the test waits. */
static timer_t signals_begin(void)
{
	const struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	const struct itimerspec often = { .it_value.tv_nsec = 20 * MS, .it_interval.tv_nsec = 20 * MS };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;

	CHECK(!sigaction(SIGUSR1, &action, NULL));
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK(!timer_settime(timer, 0, &often, NULL));
	return timer;
}

void test_wait(void)
{
	timer_t timer;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 100), 0);
	SAME(wait_error(fds[0], 0, 1, 0), -ETIMEDOUT);
	SAME(wait_error(fds[0], 0, 1, 1), -ETIMEDOUT);
	SAME(wait_error(fds[0], 0, 1, 20 * MS), -ETIMEDOUT);
	timer = signals_begin();
	SAME(wait_error(fds[0], 0, 1, -1), -EINTR);
	SAME(wait_error(fds[0], 0, 1, INT64_MAX), -EINTR);
	CHECK(!timer_delete(timer));
	SAME(check(fds[0], 0, 1).status, ADMA_PENDING);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 100), 0);
	SAME(wait_error(fds[0], 0, 1, -1), 0);
	SAME(wait_error(fds[0], 0, 1, 0), 0); /* again, after it is completed */
	SAME(wait_error(fds[0], 0, 1, INT64_MAX), 0);
}

static void wait_in_child(void *argument)
{
	SAME(wait_for(*(int *)argument, 0, 1).status, 0);
}

void test_many_wait_on_one(void)
{
	int fds[2], children[8];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 100), 0);
	for (int i = 0; i < 8; i++)
		children[i] = spawn(wait_in_child, &fds[0]);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 100), 0);
	for (int i = 0; i < 8; i++)
		join(children[i]);
}

void test_cancel(void)
{
	struct adma_peek out;
	struct adma_check done;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 3; i++)
		SAME(post_write(.fd = fds[0], .entry = i, .kind = i, .buffer = source, .length = 100), 0);
	SAME(cancel(fds[0], 1, 1), 0);
	SAME(cancel(fds[0], 1, 1), -EALREADY);
	done = check(fds[0], 1, 1);
	SAME(done.status, -ECANCELED);
	SAME(done.length, 0);
	SAME(cancel(fds[0], 0, 1), 0);
	SAME(peek(fds[1], &out), 0);
	SAME(out.kind, 2);
	SAME(cancel(fds[1], 2, 1), -ENOENT); /* the peer's requests cannot be cancelled */
	SAME(post_read(.fd = fds[1], .kind = 2, .buffer = sink, .length = 100), 0);
	SAME(wait_for(fds[0], 2, 1).status, 0);
	SAME(cancel(fds[0], 2, 1), -EALREADY);
	SAME(cancel(fds[1], 0, 1), -EALREADY);
}

void test_cancel_after_match(void)
{
	int fds[2];
	size_t length = 64 << 20;
	char *from = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *to = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	CHECK(from != MAP_FAILED && to != MAP_FAILED);
	pair_open(fds, ADMA_BY_CPU);
	SAME(post_write(.fd = fds[0], .buffer = from, .length = length), 0);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = length), 0);
	result = cancel(fds[0], 0, 1); /* 64 MB are seldom copied so soon */
	CHECK(result == -EBUSY || result == -EALREADY);
	if (result == -EBUSY && check(fds[1], 0, 1).status == ADMA_PENDING)
		SAME(check(fds[1], 0, 1).matched, 1);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	SAME(wait_for(fds[1], 0, 1).length, length);
}

void test_peek(void)
{
	struct adma_peek out;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(peek(fds[1], &out), -EAGAIN);
	SAME(post_write(.fd = fds[0], .key = 5, .buffer = source, .length = 10), 0);
	SAME(peek(fds[1], &out), -EAGAIN); /* keyed writes are not in the FIFO */
	SAME(post_read(.fd = fds[1], .entry = 9, .buffer = sink, .length = 10), 0);
	SAME(peek(fds[0], &out), -EAGAIN); /* peek does not show reads */
	SAME(cancel(fds[1], 9, 1), 0);
	SAME(post_write(.fd = fds[0], .entry = 1, .kind = 4, .buffer = source, .length = 10, .note = { 3, 2 }), 0);
	SAME(post_write(.fd = fds[0], .entry = 2, .kind = 5, .buffer = source, .length = 20), 0);
	SAME(peek(fds[1], &out), 0);
	SAME(out.kind, 4);
	SAME(out.length, 10);
	SAME(out.note[0], 3);
	SAME(out.note[1], 2);
	out.pad = 1;
	SAME(command(fds[1], ADMA_IOC_PEEK, &out), -EINVAL);
	close(fds[0]);
	SAME(peek(fds[1], &out), -EPIPE);
}

/* ---- read, poll ---- */

void test_read(void)
{
	uint64_t count = 0;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(read(fds[0], &count, 8), -1);
	SAME(errno, EAGAIN);
	SAME(read(fds[0], &count, 7), -1);
	SAME(errno, EINVAL);
	for (uint32_t i = 0; i < 5; i++)
		SAME(post_read(.fd = fds[0], .entry = i), 0);
	for (uint32_t i = 0; i < 5; i++)
		SAME(post_write(.fd = fds[1], .entry = i), 0);
	SAME(read(fds[0], read_only(4096), 8), -1);
	SAME(errno, EFAULT);
	SAME(read(fds[0], &count, 8), 8);
	SAME(count, 5);
	SAME(read(fds[0], &count, 8), -1);
	SAME(read(fds[1], &count, 8), 8);
	SAME(count, 5);
	SAME(write(fds[0], &count, 8), -1);
	SAME(errno, EINVAL);
}

void test_poll(void)
{
	uint64_t count;
	int fd = device_open(), fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(poll_now(fd), 0);
	SAME(poll_now(fds[0]), 0);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 10), 0);
	SAME(poll_now(fds[0]), POLLPRI);
	SAME(poll_now(fds[1]), 0);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 10), 0);
	SAME(wait_for(fds[0], 0, 1).status, 0);
	SAME(poll_now(fds[0]), POLLIN);
	SAME(poll_now(fds[1]), POLLIN);
	SAME(read(fds[0], &count, 8), 8);
	SAME(poll_now(fds[0]), 0);
	close(fds[1]);
	SAME(poll_now(fds[0]), POLLHUP);
	SAME(copy(fd, 0, 1, sink, source, 10, ADMA_BY_ANY), 0);
	SAME(wait_for(fd, 0, 1).status, 0);
	SAME(poll_now(fd), POLLIN);
}

static void write_to(void *argument)
{
	SAME(post_write(.fd = *(int *)argument, .entry = 5, .buffer = source, .length = 10), 0);
	SAME(wait_for(*(int *)argument, 5, 1).status, 0);
}

static void await_hangup(void *argument)
{
	const int *fds = argument;
	struct pollfd item = { .fd = fds[0] };

	close(fds[1]);
	SAME(poll(&item, 1, -1), 1);
	SAME(item.revents, POLLHUP);
	SAME(wait_for(fds[0], 1, 1).status, -EPIPE);
}

void test_poll_wakes(void)
{
	struct pollfd item;
	int fds[2], child;

	pair_open(fds, ADMA_BY_ANY);
	item = (struct pollfd){ .fd = fds[0], .events = POLLIN | POLLPRI };
	child = spawn(write_to, &fds[1]);
	SAME(poll(&item, 1, -1), 1);
	SAME(item.revents, POLLPRI);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 10), 0);
	item.events = POLLIN;
	SAME(poll(&item, 1, -1), 1);
	join(child);
	SAME(post_read(.fd = fds[0], .entry = 1, .buffer = sink, .length = 10), 0);
	child = spawn(await_hangup, fds);
	close(fds[1]);
	join(child);
}

/* ---- entries ---- */

void test_mmap(void)
{
	const volatile struct adma_entry *entries;
	size_t size;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	size = entries_size(fds[0]);
#define REFUSED(protection, flags, length, offset, error) \
	do { \
		CHECK(mmap(NULL, length, protection, flags, fds[0], offset) == MAP_FAILED); \
		SAME(errno, error); \
	} while (0)
	REFUSED(PROT_READ | PROT_WRITE, MAP_SHARED, size, 0, EPERM);
	REFUSED(PROT_READ, MAP_PRIVATE, size, 0, EINVAL);
	REFUSED(PROT_READ, MAP_SHARED, size, (off_t)size, EINVAL);
	REFUSED(PROT_READ, MAP_SHARED, size + size, 0, EINVAL);
	entries = entries_map(fds[0]);
	SAME(mprotect((void *)entries, size, PROT_READ | PROT_WRITE), -1);
	SAME(errno, EACCES);
	CHECK(mremap((void *)entries, size, 2 * size, MREMAP_MAYMOVE) == MAP_FAILED);
	SAME(entries[17].state, 0);
	SAME(post_read(.fd = fds[0], .entry = 17, .generation = 0xfffffffe, .buffer = sink, .length = 100), 0);
	SAME(entries[17].state, ADMA_COOKIE(0xfffffffe, ADMA_PENDING));
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 60, .note = { 11, 12 }), 0);
	SAME(wait_for(fds[0], 17, 0xfffffffe).status, 0);
	SAME(entries[17].state, ADMA_COOKIE(0xfffffffe, 0));
	SAME(entries[17].length, 60);
	SAME(entries[17].note[0], 11);
	SAME(entries[17].note[1], 12);
}
