/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi_post.c - posts, and which read matches which write. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "tap.h"
#include "uapi.h"

/* ---- posts ---- */

void test_post_alone(void)
{
	int fd = device_open();
	struct adma_peek out;

	SAME(post_read(.fd = fd, .buffer = sink, .length = 1), -ENOTCONN);
	SAME(post_write(.fd = fd, .buffer = sink, .length = 1), -ENOTCONN);
	SAME(peek(fd, &out), -ENOTCONN);
}

void test_post_invalid(void)
{
	struct adma_iovec iov[65] = { { .base = (uintptr_t)source, .length = 64 } };
	const struct adma_post good = {
		.size = sizeof(good),
		.op = ADMA_WRITE,
		.cookie = ADMA_COOKIE(1, 3),
		.iov = (uintptr_t)iov,
		.iovcnt = 1,
	};
	struct adma_post post;
	const volatile struct adma_entry *entries;
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	entries = entries_map(fds[0]);
#define BAD(field, value) \
	do { \
		post = good; \
		post.field = (value); \
		SAME(command(fds[0], ADMA_IOC_POST, &post), -EINVAL); \
		SAME(entries[3].state, 0); \
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
	CHECK(command(fds[0], ADMA_IOC_POST, &post) == -EINVAL || command(fds[0], ADMA_IOC_POST, &post) == -EFAULT);
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

void test_post_bad_memory(void)
{
	char *map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct adma_iovec wrap[2] = { { .base = (uintptr_t)source, .length = 64 }, { .base = -64ull, .length = 128 } };
	struct adma_post post = {
		.size = sizeof(post), .op = ADMA_READ, .cookie = ADMA_COOKIE(1, 0), .iov = (uintptr_t)wrap, .iovcnt = 2
	};
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

void test_post_busy(void)
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

void test_post_quota(void)
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

void test_lengths(void)
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

void test_fifo_order(void)
{
	int fds[2];

	pair_open(fds, ADMA_BY_ANY);
	for (uint32_t i = 0; i < 64; i++) {
		fill(source + i * 512, 500, i);
		SAME(post_write(.fd = fds[0], .entry = i, .buffer = source + i * 512, .length = 500, .note = { i, ~i }),
		     0);
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

void test_too_short(void)
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

void test_wrong_kind(void)
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

void test_zero_bytes(void)
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

void test_keys(void)
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

void test_pieces(void)
{
	struct adma_iovec from[64], to[3] = { { (uintptr_t)sink, 1000 },
					      { (uintptr_t)sink + 1000, 0 },
					      { (uintptr_t)sink + 1000, 64 * 100 } };
	struct adma_post write = { .size = sizeof(write),
				   .op = ADMA_WRITE,
				   .cookie = ADMA_COOKIE(1, 0),
				   .iov = (uintptr_t)from,
				   .iovcnt = 64 };
	struct adma_post read = {
		.size = sizeof(read), .op = ADMA_READ, .cookie = ADMA_COOKIE(1, 0), .iov = (uintptr_t)to, .iovcnt = 3
	};
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
