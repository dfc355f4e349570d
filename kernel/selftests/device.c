/* SPDX-License-Identifier: BSD-3-Clause */
/* device.c - the commands of /dev/adma as C functions; see device.h. */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"

int command(int fd, unsigned long number, void *structure)
{
	return ioctl(fd, number, structure) < 0 ? -errno : 0;
}

int device_open(void)
{
	int fd = open("/dev/adma", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

void pair_open(int fds[2], uint32_t policy)
{
	struct adma_pair pair = { .size = sizeof(pair), .policy = policy };
	int fd = device_open();

	SAME(command(fd, ADMA_IOC_PAIR, &pair), 0);
	fds[0] = pair.fd[0];
	fds[1] = pair.fd[1];
	close(fd);
}

static uint64_t cookie(uint32_t entry, uint32_t generation)
{
	return ADMA_COOKIE(generation ? generation : 1, entry);
}

int request_post(const struct request *request)
{
	struct adma_iovec iov = { .base = (uintptr_t)request->buffer, .length = request->length };
	struct adma_post post = {
		.size = sizeof(post),
		.flags = request->flags,
		.op = request->op,
		.kind = request->kind,
		.cookie = cookie(request->entry, request->generation),
		.key = request->key,
		.iov = (uintptr_t)&iov,
		.iovcnt = request->length ? 1 : 0,
		.note = { request->note[0], request->note[1] },
	};

	return command(request->fd, ADMA_IOC_POST, &post);
}

int copy(int fd, uint32_t entry, uint32_t generation, void *to, const void *from, size_t length, uint32_t policy)
{
	struct adma_copy copy = {
		.size = sizeof(copy),
		.cookie = cookie(entry, generation),
		.destination = (uintptr_t)to,
		.source = (uintptr_t)from,
		.length = length,
		.policy = policy,
	};

	return command(fd, ADMA_IOC_COPY, &copy);
}

static int ask(int fd, unsigned long number, uint32_t entry, uint32_t generation, int64_t timeout_ns,
	       struct adma_check *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->cookie = cookie(entry, generation);
	out->timeout_ns = timeout_ns;
	return command(fd, number, out);
}

struct adma_check check(int fd, uint32_t entry, uint32_t generation)
{
	struct adma_check out;

	SAME(ask(fd, ADMA_IOC_CHECK, entry, generation, 0, &out), 0);
	return out;
}

int check_error(int fd, uint32_t entry, uint32_t generation)
{
	struct adma_check out;

	return ask(fd, ADMA_IOC_CHECK, entry, generation, 0, &out);
}

struct adma_check wait_for(int fd, uint32_t entry, uint32_t generation)
{
	struct adma_check out;

	SAME(ask(fd, ADMA_IOC_WAIT, entry, generation, -1, &out), 0);
	return out;
}

int wait_error(int fd, uint32_t entry, uint32_t generation, int64_t timeout_ns)
{
	struct adma_check out;

	return ask(fd, ADMA_IOC_WAIT, entry, generation, timeout_ns, &out);
}

int cancel(int fd, uint32_t entry, uint32_t generation)
{
	struct adma_cancel cancel = { .size = sizeof(cancel), .cookie = cookie(entry, generation) };

	return command(fd, ADMA_IOC_CANCEL, &cancel);
}

int peek(int fd, struct adma_peek *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	return command(fd, ADMA_IOC_PEEK, out);
}

struct adma_counters counters(int fd, uint32_t flags)
{
	struct adma_counters out = { .size = sizeof(out), .flags = flags };

	SAME(command(fd, ADMA_IOC_COUNTERS, &out), 0);
	return out;
}

struct adma_info info(int fd)
{
	struct adma_info out = { .size = sizeof(out) };

	SAME(command(fd, ADMA_IOC_INFO, &out), 0);
	return out;
}

size_t entries_size(int fd)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = info(fd).entries * sizeof(struct adma_entry);

	return (size + page - 1) / page * page;
}

const volatile struct adma_entry *entries_map(int fd)
{
	void *map = mmap(NULL, entries_size(fd), PROT_READ, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	return map;
}

int entry_status(const volatile struct adma_entry *entry)
{
	return (int32_t)__atomic_load_n(&entry->state, __ATOMIC_ACQUIRE);
}

static unsigned char pattern(size_t at, unsigned seed)
{
	return (unsigned char)(at * 7 + (at >> 8) * 13 + (at >> 16) + seed * 31);
}

void fill(void *buffer, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		((unsigned char *)buffer)[i] = pattern(i, seed);
}

bool filled(const void *buffer, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		if (((const unsigned char *)buffer)[i] != pattern(i, seed))
			return false;
	return true;
}

unsigned long parameter_set(const char *name, unsigned long value)
{
	unsigned long before;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/adma/parameters/%s", name);
	file = fopen(path, "r+");
	if (!file)
		tap_skip("module parameters may not be written here");
	CHECK(fscanf(file, "%lu", &before) == 1);
	rewind(file);
	CHECK(fprintf(file, "%lu\n", value) > 0);
	CHECK(!fclose(file));
	return before;
}

unsigned long pins_cached(void)
{
	FILE *file = fopen("/sys/kernel/debug/adma/pins", "r");
	unsigned long bytes;

	CHECK(file && fscanf(file, "cached %lu", &bytes) == 1);
	fclose(file);
	return bytes;
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

void send_fd(int socket, int fd)
{
	union control control = {
		.header = { .cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS }
	};
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	SAME(sendmsg(socket, &message, 0), 1);
}

int receive_fd(int socket)
{
	union control control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	int fd;

	SAME(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
	CHECK(CMSG_FIRSTHDR(&message));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}
