/* SPDX-License-Identifier: BSD-3-Clause */
/* races_memory.c - memory that goes away, and allocations that fail. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "faults.h"
#include "races.h"
#include "tap.h"

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

void test_memory_goes_away(void)
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
	return post_read(.fd = victim[0], .generation = victim_generation, .flags = ADMA_POST_TIMES, .buffer = sink,
			 .length = 100000);
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
	{ "open", nothing_before, try_open, nothing_before }, { "pair", nothing_before, try_pair, nothing_before },
	{ "post", nothing_before, try_post, withdraw_read },  { "match", before_match, try_match, finish_both },
	{ "copy", nothing_before, try_copy, finish_copy },    { "mmap", nothing_before, try_map, nothing_before },
	{ "read", before_read, try_read, nothing_before },    { "info", nothing_before, try_info, nothing_before },
};

void test_failing_allocations(void)
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
