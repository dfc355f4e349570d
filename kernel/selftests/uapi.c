/* SPDX-License-Identifier: BSD-3-Clause */
/* uapi.c - every command of /dev/adma, and every errno that the UAPI header documents. */
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "tap.h"
#include "uapi.h"

char source[1 << 20], sink[1 << 20];

int poll_now(int fd)
{
	struct pollfd item = { .fd = fd, .events = POLLIN | POLLPRI };

	CHECK(poll(&item, 1, 0) >= 0);
	return item.revents;
}

void *read_only(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

void *hole(size_t size)
{
	void *map = read_only(size);

	CHECK(!munmap(map, size));
	return map;
}

void exchange(const int fds[2], uint32_t generation, size_t length)
{
	fill(source, length, generation);
	memset(sink, 0, length);
	SAME(post_write(.fd = fds[0], .generation = generation, .buffer = source, .length = length), 0);
	SAME(post_read(.fd = fds[1], .generation = generation, .buffer = sink, .length = length), 0);
	SAME(wait_for(fds[0], 0, generation).status, 0);
	SAME(wait_for(fds[1], 0, generation).status, 0);
	CHECK(filled(sink, length, generation));
}

static const struct test tests[] = {
	{ "structures", test_structures, 0 },
	{ "larger structure", test_larger_structure, 0 },
	{ "unknown commands", test_unknown_commands, 0 },
	{ "info", test_info, 0 },
	{ "result unwritable", test_result_unwritable, 60 },
	{ "channels", test_channels, 0 },
	{ "counters", test_counters, 0 },
	{ "counters of others", test_counters_of_others, 0 },
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
