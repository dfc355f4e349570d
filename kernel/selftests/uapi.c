/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi.c - every command of /dev/adma, and every errno that the UAPI header documents. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "tap.h"

#define MS 1000000ll /* nanoseconds */

static char source[1 << 20], sink[1 << 20];

static int poll_now(int fd)
{
	struct pollfd item = { .fd = fd, .events = POLLIN | POLLPRI };

	CHECK(poll(&item, 1, 0) >= 0);
	return item.revents;
}

/* Memory that may only be read, and addresses where nothing is mapped. */
static void *read_only(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

static void *hole(size_t size)
{
	void *map = read_only(size);

	CHECK(!munmap(map, size));
	return map;
}

/* Sends one message from fds[0] to fds[1], with entry 0 of both, and checks it. */
static void exchange(const int fds[2], uint32_t generation, size_t length)
{
	fill(source, length, generation);
	memset(sink, 0, length);
	SAME(post_write(.fd = fds[0], .generation = generation, .buffer = source, .length = length), 0);
	SAME(post_read(.fd = fds[1], .generation = generation, .buffer = sink, .length = length), 0);
	SAME(wait_for(fds[0], 0, generation).status, 0);
	SAME(wait_for(fds[1], 0, generation).status, 0);
	CHECK(filled(sink, length, generation));
}

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

static void test_structures(void)
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

static void test_larger_structure(void)
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

static void test_unknown_commands(void)
{
	int fd = device_open();
	char nothing[256] = { 0 };

	SAME(command(fd, _IOWR(ADMA_IOC_MAGIC, 0x7f, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, _IOWR('x', 0x00, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, _IOR(ADMA_IOC_MAGIC, 0x00, struct adma_info), nothing), -ENOTTY);
	SAME(command(fd, 0, nothing), -ENOTTY);
}

/* ---- info, DMA channels, counters ---- */

static void test_info(void)
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

static void test_result_unwritable(void)
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

static void test_channels(void)
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

static void test_counters(void)
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

/* ---- pairs ---- */

static void test_pair(void)
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

static void test_pair_by_dma(void)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = ADMA_BY_DMA };
	int fd = device_open();
	bool works = info(fd).features & ADMA_FEATURE_DMA;

	SAME(command(fd, ADMA_IOC_PAIR, &pair), works ? 0 : -ENODEV);
	SAME(copy(fd, 0, 1, sink, source, 64, ADMA_BY_DMA), works ? 0 : -ENODEV);
	if (works)
		exchange(pair.fd, 1, sizeof(source));
}

static void test_pair_descriptors_run_out(void)
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

static void test_pair_quota(void)
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

/* ---- posts ---- */

static void test_post_alone(void)
{
	int fd = device_open();
	struct adma_peek out;

	SAME(post_read(.fd = fd, .buffer = sink, .length = 1), -ENOTCONN);
	SAME(post_write(.fd = fd, .buffer = sink, .length = 1), -ENOTCONN);
	SAME(peek(fd, &out), -ENOTCONN);
}

static void test_post_invalid(void)
{
	struct adma_iovec iov[65] = { { .base = (uintptr_t)source, .length = 64 } };
	const struct adma_post good = {
		.size = sizeof(good), .op = ADMA_WRITE, .cookie = ADMA_COOKIE(1, 3), .iov = (uintptr_t)iov, .iovcnt = 1,
	};
	struct adma_post post;
	const volatile struct adma_entry *entries;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	entries = entries_map(fds[0]);
#define BAD(field, value)                                          \
	do {                                                       \
		post = good;                                       \
		post.field = (value);                              \
		SAME(command(fds[0], ADMA_IOC_POST, &post), -EINVAL); \
		SAME(entries[3].state, 0);                         \
	} while (0)
	BAD(op, 0);
	BAD(op, 3);
	BAD(flags, 2);
	BAD(pad, 1);
	BAD(iovcnt, 65);
	BAD(iovcnt, UINT32_MAX);
	BAD(cookie, 3); /* generation 0 */
	BAD(cookie, ADMA_COOKIE(1, info(fds[0]).entries));
	BAD(cookie, ADMA_COOKIE(1, UINT32_MAX));
	iov[0].length = info(fds[0]).length_max + 1;
	post = good;
	/* It is too long, and not all of it is mapped. */
	CHECK(command(fds[0], ADMA_IOC_POST, &post) == -EINVAL ||
	      command(fds[0], ADMA_IOC_POST, &post) == -EFAULT);
	iov[0].length = 64;
	post = good;
	post.op = ADMA_READ;
	post.note[1] = 1;
	SAME(command(fds[0], ADMA_IOC_POST, &post), -EINVAL);
	SAME(command(fds[0], ADMA_IOC_POST, (void *)&good), 0);
	SAME(entries[3].state, ADMA_COOKIE(1, ADMA_PENDING));
	SAME(cancel(fds[0], 3, 1), 0);
	SAME(entry_status(&entries[3]), -ECANCELED);
	SAME(command(fds[0], ADMA_IOC_POST, (void *)&good), -EINVAL); /* the entry holds this generation */
}

static void test_post_bad_memory(void)
{
	char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct adma_iovec wrap[2] = { { .base = (uintptr_t)source, .length = 64 },
				      { .base = -64ull, .length = 128 } };
	struct adma_post post = { .size = sizeof(post), .op = ADMA_READ, .cookie = ADMA_COOKIE(1, 0),
				  .iov = (uintptr_t)wrap, .iovcnt = 2 };
	const volatile struct adma_entry *entries;
	int fds[2];

	CHECK(map != MAP_FAILED);
	pair_open(fds, ADMA_BY_ANY);
	entries = entries_map(fds[0]);
	CHECK(!munmap(map + 2 * 4096, 4096));
	SAME(post_write(.fd = fds[0], .buffer = map, .length = 2 * 4096 + 1), -EFAULT);
	SAME(post_read(.fd = fds[0], .buffer = NULL, .length = 64), -EFAULT);
	SAME(post_write(.fd = fds[0], .buffer = NULL, .length = 64), -EFAULT);
	SAME(post_read(.fd = fds[0], .buffer = hole(4096), .length = 64), -EFAULT);
	SAME(post_write(.fd = fds[0], .buffer = hole(4096), .length = 64), -EFAULT);
	SAME(post_read(.fd = fds[0], .buffer = read_only(4096), .length = 64), -EFAULT);
	SAME(post_read(.fd = fds[0], .buffer = (void *)entries, .length = 64), -EFAULT);
	SAME(post_write(.fd = fds[0], .buffer = (void *)0xffff800000000000ul, .length = 64), -EFAULT);
	SAME(post_write(.fd = fds[0], .buffer = (void *)-64l, .length = 32), -EFAULT);
	SAME(command(fds[0], ADMA_IOC_POST, &post), -EFAULT);
	post.iov = 8;
	SAME(command(fds[0], ADMA_IOC_POST, &post), -EFAULT);
	SAME(entries[0].state, 0);
	SAME(counters(fds[0], 0).posts, 0);
	SAME(post_write(.fd = fds[0], .buffer = read_only(4096), .length = 64), 0);
	SAME(post_write(.fd = fds[0], .entry = 1, .buffer = map, .length = 2 * 4096), 0);
}

static void test_post_busy(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 64), 0);
	SAME(post_read(.fd = fds[0], .generation = 2, .buffer = sink, .length = 64), -EBUSY);
	SAME(post_write(.fd = fds[0], .generation = 2, .buffer = source, .length = 64), -EBUSY);
	SAME(copy(fds[0], 0, 2, sink, source, 64, ADMA_BY_ANY), -EBUSY);
	SAME(check(fds[0], 0, 1).status, ADMA_PENDING);
	SAME(cancel(fds[0], 0, 1), 0);
	SAME(post_read(.fd = fds[0], .generation = 2, .buffer = sink, .length = 64), 0);
}

static void test_post_quota(void)
{
	unsigned long before;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	before = parameter_set("requests_max", 2);
	SAME(post_read(.fd = fds[0], .buffer = sink, .length = 64), 0);
	SAME(post_read(.fd = fds[0], .entry = 1, .buffer = sink, .length = 64), 0);
	SAME(post_read(.fd = fds[0], .entry = 2, .buffer = sink, .length = 64), -EDQUOT);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 64), -EDQUOT);
	SAME(copy(fds[0], 2, 1, sink, source, 64, ADMA_BY_ANY), -EDQUOT);
	SAME(cancel(fds[0], 0, 1), 0);
	SAME(post_write(.fd = fds[1], .buffer = source, .length = 64), 0);
	SAME(wait_for(fds[0], 1, 1).status, 0); /* gives back both charges */
	SAME(post_read(.fd = fds[0], .entry = 2, .buffer = sink, .length = 64), 0);
	SAME(post_read(.fd = fds[0], .entry = 3, .buffer = sink, .length = 64), 0);
	parameter_set("requests_max", before);
}

/* ---- matching ---- */

static void test_lengths(void)
{
	static const size_t lengths[] = { 1, 63, 64, 4095, 4096, 4097, 65537, 1 << 20 };
	uint32_t generation = 0;
	int fds[2], back[2];

	pair_open(fds, ADMA_BY_ANY);
	back[0] = fds[1];
	back[1] = fds[0];
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		exchange(fds, ++generation, lengths[i]);
		exchange(back, ++generation, lengths[i]);
	}
}

static void test_fifo_order(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 64; i++) {
		fill(source + i * 512, 500, i);
		SAME(post_write(.fd = fds[0], .entry = i, .buffer = source + i * 512, .length = 500,
				.note = { i, ~i }), 0);
	}
	for (uint32_t i = 0; i < 64; i++) {
		struct adma_check done;

		SAME(post_read(.fd = fds[1], .entry = i, .buffer = sink, .length = 512), 0);
		done = wait_for(fds[1], i, 1);
		SAME(done.status, 0);
		SAME(done.matched, 1);
		SAME(done.length, 500);
		SAME(done.note[0], i);
		SAME(done.note[1], ~i);
		CHECK(filled(sink, 500, i));
		done = wait_for(fds[0], i, 1);
		SAME(done.length, 500);
		SAME(done.note[0], 0);
	}
}

static void test_too_short(void)
{
	struct adma_check done;
	struct adma_peek out;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	fill(source, 100, 5);
	memset(sink, 0, 100);
	/* The write waits. */
	SAME(post_write(.fd = fds[0], .buffer = source, .length = 100, .note = { 8, 9 }), 0);
	SAME(post_read(.fd = fds[1], .buffer = sink, .length = 99), 0);
	done = check(fds[1], 0, 1);
	SAME(done.status, -EMSGSIZE);
	SAME(done.length, 100);
	SAME(done.note[1], 9);
	SAME(done.matched, 0);
	SAME(sink[0], 0);
	SAME(peek(fds[1], &out), 0);
	SAME(out.length, 100);
	SAME(post_read(.fd = fds[1], .generation = 2, .buffer = sink, .length = 100), 0);
	SAME(wait_for(fds[1], 0, 2).status, 0);
	CHECK(filled(sink, 100, 5));
	/* Reads wait: two are refused, and the third one matches. */
	SAME(post_read(.fd = fds[1], .entry = 1, .buffer = sink, .length = 0), 0);
	SAME(post_read(.fd = fds[1], .entry = 2, .buffer = sink, .length = 50), 0);
	SAME(post_read(.fd = fds[1], .entry = 3, .buffer = sink, .length = 200), 0);
	SAME(post_write(.fd = fds[0], .generation = 2, .buffer = source, .length = 100), 0);
	SAME(wait_for(fds[1], 1, 1).status, -EMSGSIZE);
	SAME(wait_for(fds[1], 2, 1).status, -EMSGSIZE);
	SAME(wait_for(fds[1], 3, 1).length, 100);
	SAME(wait_for(fds[0], 0, 2).status, 0);
}

static void test_wrong_kind(void)
{
	struct adma_check done;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_write(.fd = fds[0], .kind = 7, .buffer = source, .length = 100), 0);
	SAME(post_read(.fd = fds[1], .kind = 6, .buffer = sink, .length = 10), 0);
	done = check(fds[1], 0, 1);
	SAME(done.status, -EPROTOTYPE); /* the kind is checked before the length */
	SAME(done.length, 100);
	SAME(post_read(.fd = fds[1], .generation = 2, .kind = 7, .buffer = sink, .length = 100), 0);
	SAME(wait_for(fds[1], 0, 2).status, 0);
}

static void test_zero_bytes(void)
{
	struct adma_check done;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	SAME(post_write(.fd = fds[0], .note = { 1, 2 }), 0);
	SAME(post_read(.fd = fds[1], .buffer = sink, .length = 100), 0);
	done = check(fds[1], 0, 1);
	SAME(done.status, 0);
	SAME(done.length, 0);
	SAME(done.matched, 1);
	SAME(done.note[0], 1);
	SAME(check(fds[0], 0, 1).status, 0);
	SAME(post_read(.fd = fds[0], .entry = 1), 0);
	SAME(post_write(.fd = fds[1], .entry = 1), 0);
	SAME(check(fds[0], 1, 1).status, 0);
}

static void test_keys(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 100; i++) {
		source[i] = (char)i;
		SAME(post_write(.fd = fds[0], .entry = i, .key = 64ull * i + 1, .buffer = source + i, .length = 1), 0);
	}
	SAME(post_write(.fd = fds[0], .entry = 100, .key = 65, .buffer = source, .length = 1), -EEXIST);
	SAME(post_read(.fd = fds[1], .entry = 100, .buffer = sink, .length = 1), 0); /* the FIFO is empty */
	for (uint32_t i = 100; i-- > 0;) {
		SAME(post_read(.fd = fds[1], .entry = i, .key = 64ull * i + 1, .buffer = sink + i, .length = 1), 0);
		SAME(wait_for(fds[1], i, 1).status, 0);
		SAME(sink[i], (char)i);
	}
	SAME(check(fds[1], 100, 1).status, ADMA_PENDING);
	/* Each direction has keys of its own. */
	SAME(post_write(.fd = fds[0], .generation = 2, .key = 9, .buffer = source, .length = 1), 0);
	SAME(post_write(.fd = fds[1], .generation = 2, .key = 9, .buffer = source, .length = 1), 0);
	/* The same rules hold for kind and length: the write stays. */
	SAME(post_read(.fd = fds[1], .entry = 1, .generation = 2, .key = 9), 0);
	SAME(check(fds[1], 1, 2).status, -EMSGSIZE);
	SAME(post_read(.fd = fds[1], .entry = 2, .generation = 2, .key = 9, .kind = 1, .buffer = sink, .length = 1), 0);
	SAME(check(fds[1], 2, 2).status, -EPROTOTYPE);
	SAME(post_read(.fd = fds[1], .entry = 3, .generation = 2, .key = 9, .buffer = sink, .length = 1), 0);
	SAME(wait_for(fds[1], 3, 2).status, 0);
	/* A read that waits on a key is refused by a write that does not fit. */
	SAME(post_read(.fd = fds[1], .entry = 4, .generation = 2, .key = ~0ull), 0);
	SAME(post_read(.fd = fds[1], .entry = 5, .generation = 2, .key = ~0ull), -EEXIST);
	SAME(post_write(.fd = fds[0], .entry = 4, .generation = 2, .key = ~0ull, .buffer = source, .length = 1), 0);
	SAME(wait_for(fds[1], 4, 2).status, -EMSGSIZE);
	SAME(check(fds[0], 4, 2).status, ADMA_PENDING);
}

static void test_pieces(void)
{
	struct adma_iovec from[64], to[3] = { { (uintptr_t)sink, 1000 },
					      { (uintptr_t)sink + 1000, 0 },
					      { (uintptr_t)sink + 1000, 64 * 100 } };
	struct adma_post write = { .size = sizeof(write), .op = ADMA_WRITE, .cookie = ADMA_COOKIE(1, 0),
				   .iov = (uintptr_t)from, .iovcnt = 64 };
	struct adma_post read = { .size = sizeof(read), .op = ADMA_READ, .cookie = ADMA_COOKIE(1, 0),
				  .iov = (uintptr_t)to, .iovcnt = 3 };
	char all[6400];
	int fds[2];

	fill(all, sizeof(all), 3);
	for (int i = 0; i < 64; i++) {
		from[i].base = (uintptr_t)source + (uintptr_t)i * 5001;
		from[i].length = 100;
		memcpy(source + i * 5001, all + i * 100, 100);
	}
	pair_open(fds, ADMA_BY_ANY);
	SAME(command(fds[1], ADMA_IOC_POST, &read), 0);
	SAME(command(fds[0], ADMA_IOC_POST, &write), 0);
	SAME(wait_for(fds[1], 0, 1).length, sizeof(all));
	CHECK(filled(sink, sizeof(all), 3));
}

/* ---- check, wait, cancel ---- */

static void test_check(void)
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

static void test_wait(void)
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

static void test_many_wait_on_one(void)
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

static void test_cancel(void)
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

static void test_cancel_after_match(void)
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

static void test_peek(void)
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

static void test_read(void)
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

static void test_poll(void)
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

static void test_poll_wakes(void)
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

static void test_mmap(void)
{
	const volatile struct adma_entry *entries;
	size_t size;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	size = entries_size(fds[0]);
#define REFUSED(protection, flags, length, offset, error)                                  \
	do {                                                                               \
		CHECK(mmap(NULL, length, protection, flags, fds[0], offset) == MAP_FAILED); \
		SAME(errno, error);                                                        \
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

/* ---- closing ---- */

static void test_close(void)
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

static void test_close_while_matched(void)
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

static void test_copy(void)
{
	const struct adma_copy good = { .size = sizeof(good), .cookie = ADMA_COOKIE(1, 50),
					.destination = (uintptr_t)sink, .source = (uintptr_t)source, .length = 100 };
	struct adma_copy bad;
	struct adma_check done;
	int fd = device_open();

#define BAD_COPY(field, value, error)                             \
	do {                                                      \
		bad = good;                                       \
		bad.field = (value);                              \
		SAME(command(fd, ADMA_IOC_COPY, &bad), error);    \
		SAME(check_error(fd, 50, 1), -ENOENT);            \
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

static void test_times(void)
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
static void test_fork(void)
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

static void test_passed_to_another_user(void)
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

static void test_two_processes(void)
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

static void test_memlock_zero(void)
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

static void test_file_memory(void)
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

static void test_unmapped_before_match(void)
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

static const struct test tests[] = {
	{ "structures", test_structures, 0 },
	{ "larger structure", test_larger_structure, 0 },
	{ "unknown commands", test_unknown_commands, 0 },
	{ "info", test_info, 0 },
	{ "result unwritable", test_result_unwritable, 60 },
	{ "channels", test_channels, 0 },
	{ "counters", test_counters, 0 },
	{ "pair", test_pair, 0 },
	{ "pair by dma", test_pair_by_dma, 0 },
	{ "pair: file descriptors run out", test_pair_descriptors_run_out, 0 },
	{ "pair: quota", test_pair_quota, 0 },
	{ "post: alone", test_post_alone, 0 },
	{ "post: invalid", test_post_invalid, 0 },
	{ "post: bad memory", test_post_bad_memory, 0 },
	{ "post: busy", test_post_busy, 0 },
	{ "post: quota", test_post_quota, 0 },
	{ "lengths", test_lengths, 0 },
	{ "fifo order", test_fifo_order, 0 },
	{ "too short", test_too_short, 0 },
	{ "wrong kind", test_wrong_kind, 0 },
	{ "zero bytes", test_zero_bytes, 0 },
	{ "keys", test_keys, 0 },
	{ "pieces", test_pieces, 0 },
	{ "check", test_check, 0 },
	{ "wait", test_wait, 0 },
	{ "many wait on one", test_many_wait_on_one, 0 },
	{ "cancel", test_cancel, 0 },
	{ "cancel after match", test_cancel_after_match, 60 },
	{ "peek", test_peek, 0 },
	{ "read", test_read, 0 },
	{ "poll", test_poll, 0 },
	{ "poll wakes", test_poll_wakes, 0 },
	{ "mmap", test_mmap, 0 },
	{ "close", test_close, 0 },
	{ "close while matched", test_close_while_matched, 0 },
	{ "copy", test_copy, 0 },
	{ "times", test_times, 0 },
	{ "fork", test_fork, 0 },
	{ "passed to another user", test_passed_to_another_user, 0 },
	{ "two processes", test_two_processes, 0 },
	{ "memlock 0", test_memlock_zero, 0 },
	{ "file memory", test_file_memory, 0 },
	{ "unmapped before match", test_unmapped_before_match, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
