/* SPDX-License-Identifier: BSD-3-Clause */
/* lazy.c - memory whose page faults the test serves itself; see lazy.h. */
#include "lazy.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

char *map(size_t length)
{
	char *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

char *filled_pages(size_t length, unsigned seed)
{
	char *at = map((length + PAGE - 1) / PAGE * PAGE);

	fill(at, length, seed);
	return at;
}

struct lazy lazy_make(size_t length)
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

void serve(const struct lazy *lazy, size_t at, const void *from, size_t length)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)lazy->at + at, .src = (uintptr_t)from, .len = length };

	CHECK(!ioctl(lazy->fd, UFFDIO_COPY, &copy));
}

void pair_of(int fd, int fds[2], uint32_t policy)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = policy };

	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	memcpy(fds, pair.fd, sizeof(pair.fd));
}

void exchange(const int fds[2], uint32_t generation, size_t length)
{
	char *from = filled_pages(length, generation), *to = map(length);

	SAME(post_write(.fd = fds[0], .generation = generation, .buffer = from, .length = length), 0);
	SAME(post_read(.fd = fds[1], .generation = generation, .buffer = to, .length = length), 0);
	SAME(wait_for(fds[0], 0, generation).status, 0);
	SAME(wait_for(fds[1], 0, generation).status, 0);
	CHECK(filled(to, length, generation));
	munmap(from, length);
	munmap(to, length);
}
