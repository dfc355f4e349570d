/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unload.c - the module is unloaded while the mappings of what it has pinned change. The caller
 * checks that the kernel's log stays silent. ADMA_MODULE is adma.ko, which is not loaded yet.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device.h"
#include "lazy.h"
#include "tap.h"

#define ROUNDS 12
#define PAGES  256

static char *pages;
static pthread_barrier_t start;

static void load(void)
{
	const char *path = getenv("ADMA_MODULE");
	int file;

	if (!path)
		tap_skip("ADMA_MODULE is not set");
	file = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(file >= 0);
	CHECK(!syscall(SYS_finit_module, file, "", 0));
	close(file);
}

/* Pins each page by a post of its own, and leaves it in the cache. */
static void pin_pages(void)
{
	int fd = device_open(), fds[2];

	if (!(info(fd).features & ADMA_FEATURE_DMA))
		tap_skip("no DMA channel");
	pair_of(fd, fds, ADMA_BY_DMA);
	for (uint32_t i = 0; i < PAGES; i++) {
		SAME(post_read(.fd = fds[0], .generation = i + 1, .buffer = pages + i * PAGE, .length = PAGE), 0);
		SAME(cancel(fds[0], 0, i + 1), 0);
	}
	CHECK(pins_cached() >= PAGES * PAGE);
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

static void *change_mappings(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&start);
	for (uint32_t i = 0; i < PAGES; i++)
		CHECK(!madvise(pages + i * PAGE, PAGE, MADV_DONTNEED));
	return NULL;
}

static void test_unload(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t other;

		load();
		pages = filled_pages(PAGES * PAGE, 1);
		pin_pages();
		CHECK(!pthread_barrier_init(&start, NULL, 2));
		CHECK(!pthread_create(&other, NULL, change_mappings, NULL));
		pthread_barrier_wait(&start);
		CHECK(!syscall(SYS_delete_module, "adma", O_NONBLOCK));
		pthread_join(other, NULL);
		munmap(pages, PAGES * PAGE);
	}
}

static const struct test tests[] = {
	{ "unload while mappings change", test_unload, 120 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
