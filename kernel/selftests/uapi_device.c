/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi_device.c - structures and their sizes, info, DMA channels, counters, and pairs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"
#include "uapi.h"

/* ---- structures and their sizes ---- */

/* Checks what a command refuses. Every command but POST and COPY would accept @structure itself. */
static void sizes(int fd, unsigned long number, const void *structure, uint32_t size)
{
	char large[8192] = { 0 };

	memcpy(large, structure, size);
	*(uint32_t *)large = size - 1;
	SAME(command(fd, number, large), -EINVAL);
	*(uint32_t *)large = 0;
	SAME(command(fd, number, large), -EINVAL);
	*(uint32_t *)large = size + 8;
	large[size + 7] = 1;
	SAME(command(fd, number, large), -E2BIG);
	*(uint32_t *)large = sizeof(large);
	SAME(command(fd, number, large), -E2BIG);
	((uint32_t *)large)[0] = size;
	((uint32_t *)large)[1] = 0x80000000u;
	SAME(command(fd, number, large), -EINVAL);
	SAME(command(fd, number, NULL), -EFAULT);
	SAME(command(fd, number, (void *)-4096l), -EFAULT);
}

void test_structures(void)
{
	struct adma_info info = { .size = sizeof(info) };
	struct adma_channel channel = { .size = sizeof(channel) };
	struct adma_counters counters = { .size = sizeof(counters) };
	struct adma_pair pair = { .size = sizeof(pair) };
	struct adma_post post = { .size = sizeof(post), .op = ADMA_READ, .cookie = ADMA_COOKIE(1, 0) };
	struct adma_copy copy = { .size = sizeof(copy), .cookie = ADMA_COOKIE(1, 0) };
	struct adma_peek peek = { .size = sizeof(peek) };
	struct adma_check check = { .size = sizeof(check), .cookie = ADMA_COOKIE(1, 0) };
	struct adma_cancel cancel = { .size = sizeof(cancel), .cookie = ADMA_COOKIE(1, 0) };
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	sizes(fds[0], ADMA_IOC_INFO, &info, sizeof(info));
	sizes(fds[0], ADMA_IOC_CHANNEL, &channel, sizeof(channel));
	sizes(fds[0], ADMA_IOC_COUNTERS, &counters, sizeof(counters));
	sizes(fds[0], ADMA_IOC_PAIR, &pair, sizeof(pair));
	sizes(fds[0], ADMA_IOC_POST, &post, sizeof(post));
	sizes(fds[0], ADMA_IOC_COPY, &copy, sizeof(copy));
	sizes(fds[0], ADMA_IOC_PEEK, &peek, sizeof(peek));
	sizes(fds[0], ADMA_IOC_CHECK, &check, sizeof(check));
	sizes(fds[0], ADMA_IOC_WAIT, &check, sizeof(check));
	sizes(fds[0], ADMA_IOC_CANCEL, &cancel, sizeof(cancel));
}

void test_larger_structure(void)
{
	struct {
		struct adma_info info;
		char more[64];
	} large = { .info.size = sizeof(large) };
	int fd = device_open();

	SAME(command(fd, ADMA_IOC_INFO, &large), 0);
	SAME(large.info.size, sizeof(large));
	SAME(large.info.abi, ADMA_ABI_VERSION);
	/* The number of the command contains the size, too, and differs with a later header. */
	SAME(command(fd, _IOC(_IOC_READ | _IOC_WRITE, ADMA_IOC_MAGIC, 0, sizeof(large)), &large), 0);
}

void test_unknown_commands(void)
{
	int fd = device_open();
	char nothing[256] = { 0 };

	SAME(command(fd, _IOWR(ADMA_IOC_MAGIC, 0x7f, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, _IOWR('x', 0x00, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, _IOR(ADMA_IOC_MAGIC, 0x00, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, 0, nothing), -ENOTTY);
}

/* ---- info, DMA channels, counters ---- */

void test_info(void)
{
	int fd = device_open();
	struct adma_info i = info(fd);

	SAME(i.abi, ADMA_ABI_VERSION);
	CHECK(i.features & ADMA_FEATURE_CPU);
	CHECK(i.features & ADMA_FEATURE_COPY);
	CHECK(i.features & ADMA_FEATURE_TIMES);
	SAME(!!(i.features & ADMA_FEATURE_DMA), i.channels > i.retired);
	CHECK(i.entries > 0 && i.iov_max > 0 && i.length_max > 0 && i.window > 0);
	CHECK(i.requests_max > 0 && i.connections_max > 0);
	SAME(command(fd, ADMA_IOC_INFO, read_only(4096)), -EINVAL); /* its size is 0 */
}

void test_result_unwritable(void)
{
	struct adma_info *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct adma_pair *pair = (void *)page;
	int fd = device_open(), fds[2], next;
	uint32_t most = info(fd).connections_max;

	CHECK(page != MAP_FAILED);
	page->size = sizeof(*page);
	CHECK(!mprotect(page, 4096, PROT_READ));
	SAME(command(fd, ADMA_IOC_INFO, page), -EFAULT);

	CHECK(!mprotect(page, 4096, PROT_READ | PROT_WRITE));
	*pair = (struct adma_pair){ .size = sizeof(*pair) };
	CHECK(!mprotect(page, 4096, PROT_READ));
	next = dup(fd);
	close(next);
	for (uint32_t i = 0; i <= most; i++) /* no pair may stay */
		SAME(command(fd, ADMA_IOC_PAIR, page), -EFAULT);
	SAME(dup(fd), next);
	pair_open(fds, ADMA_BY_ANY);
}

void test_channels(void)
{
	int fd = device_open();
	struct adma_info i = info(fd);
	struct adma_channel channel = { .size = sizeof(channel) };

	for (channel.index = 0; channel.index < i.channels; channel.index++) {
		SAME(command(fd, ADMA_IOC_CHANNEL, &channel), 0);
		CHECK(channel.state <= ADMA_CHANNEL_LOST);
		CHECK(channel.align > 0 && channel.name[0] && channel.driver[0]);
		CHECK(memchr(channel.name, 0, sizeof(channel.name)));
	}
	SAME(command(fd, ADMA_IOC_CHANNEL, &channel), -ENOENT);
	channel.index = UINT32_MAX;
	SAME(command(fd, ADMA_IOC_CHANNEL, &channel), -ENOENT);
	channel = (struct adma_channel){ .size = sizeof(channel), .pad = 1 };
	SAME(command(fd, ADMA_IOC_CHANNEL, &channel), -EINVAL);
}

void test_counters(void)
{
	struct adma_counters own, all;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	all = counters(fds[0], ADMA_COUNTERS_MODULE);
	exchange(fds, 1, 10000);
	own = counters(fds[0], 0);
	SAME(own.posts, 1);
	SAME(own.done, 1);
	SAME(own.matches, 0);
	SAME(own.failed, 0);
	own = counters(fds[1], 0);
	SAME(own.posts, 1);
	SAME(own.matches, 1);
	SAME(own.bytes_cpu + own.bytes_dma, 10000);
	SAME(post_read(.fd = fds[0], .entry = 7, .buffer = sink, .length = 1), 0);
	SAME(cancel(fds[0], 7, 1), 0);
	SAME(counters(fds[0], 0).failed, 1);
	own = counters(fds[0], ADMA_COUNTERS_MODULE);
	CHECK(own.posts >= all.posts + 3 && own.matches > all.matches && own.done >= all.done + 2);
}

void test_counters_of_others(void)
{
	struct adma_counters all = { .size = sizeof(all), .flags = ADMA_COUNTERS_MODULE };
	int fd = device_open();

	if (getuid())
		tap_skip("not root");
	CHECK(!setuid(65534));
	SAME(command(fd, ADMA_IOC_COUNTERS, &all), -EPERM);
	all.flags = 0;
	SAME(command(fd, ADMA_IOC_COUNTERS, &all), 0);
}

/* ---- pairs ---- */

void test_pair(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_CPU };
	int fd = device_open();

	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	for (int i = 0; i < 2; i++) {
		SAME(fcntl(pair.fd[i], F_GETFD), FD_CLOEXEC);
		SAME(fcntl(pair.fd[i], F_GETFL) & O_ACCMODE, O_RDWR);
		SAME(lseek(pair.fd[i], 0, SEEK_SET), -1);
		SAME(errno, ESPIPE);
	}
	exchange(pair.fd, 1, 5000);
	pair.policy = 3;
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EINVAL);
	pair.policy = 0;
	pair.pad = 1;
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EINVAL);
}

void test_pair_by_dma(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };
	int fd = device_open();
	bool works = info(fd).features & ADMA_FEATURE_DMA;

	SAME(command(fd, ADMA_IOC_PAIR, &pair), works ? 0 : -ENODEV);
	SAME(copy(fd, 0, 1, sink, source, 64, ADMA_BY_DMA), works ? 0 : -ENODEV);
	if (works)
		exchange(pair.fd, 1, sizeof(source));
}

void test_pair_descriptors_run_out(void)
{
	struct adma_pair pair = { .size = sizeof(pair) };
	int fd = device_open(), next = dup(fd);
	struct rlimit limit = { .rlim_cur = (rlim_t)next + 1, .rlim_max = (rlim_t)next + 1 };

	close(next);
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit)); /* there is room for one */
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EMFILE);
	SAME(dup(fd), next);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EMFILE); /* there is room for none */
}

void test_pair_quota(void)
{
	struct adma_pair pair = { .size = sizeof(pair) };
	unsigned long before;
	int fd, fds[2];

	pair_open(fds, ADMA_BY_ANY);
	fd = fds[0];
	before = parameter_set("connections_max", 1);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EDQUOT);
	parameter_set("connections_max", 2);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EDQUOT);
	close(pair.fd[0]);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), -EDQUOT); /* one endpoint is still open */
	close(pair.fd[1]);
	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	parameter_set("connections_max", before);
}
