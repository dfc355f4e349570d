/* SPDX-License-Identifier: BSD-3-Clause */
/* stubborn.c - a file system that holds back the answers to reads; see stubborn.h. */
#include "stubborn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tap.h"

#define FILE_NODE 2
#define FILE_SIZE (1u << 20)
#define REQUEST   (1u << 17) /* bytes: more than the kernel sends */
#define MINOR     31

static void reply(int fd, uint64_t unique, int error, const void *body, size_t length)
{
	struct fuse_out_header header = { .unique = unique, .error = error };
	struct iovec parts[] = { { &header, sizeof(header) }, { (void *)body, length } };

	header.len = (uint32_t)(sizeof(header) + length);
	CHECK(writev(fd, parts, length ? 2 : 1) == (ssize_t)header.len || errno == ENOENT);
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){ .ino = node,
				   .mode = node == FILE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700,
				   .nlink = 1,
				   .size = node == FILE_NODE ? FILE_SIZE : 0,
				   .blksize = 4096 };
}

static void serve_init(int fd, uint64_t unique)
{
	/* The minor version of the kernel's own is no lower, so the answer has the size of this one. */
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION, .minor = MINOR, .flags = FUSE_ASYNC_DIO, .max_write = 4096
	};

	reply(fd, unique, 0, &out, sizeof(out));
}

static void hold(struct stubborn *stubborn, uint64_t unique)
{
	pthread_mutex_lock(&stubborn->lock);
	stubborn->read = unique;
	pthread_cond_broadcast(&stubborn->changed);
	pthread_mutex_unlock(&stubborn->lock);
}

/*
 * A process that exits waits for the answer to FUSE_FLUSH as soon as that was read, even if it was killed, and
 * nobody could wait for that process. Forgetting and interrupts want no answer.
 */
static void serve_one(struct stubborn *stubborn, const struct fuse_in_header *in)
{
	const struct fuse_attr_out attr = { .attr = attributes(in->nodeid) };
	const struct fuse_entry_out entry = { .nodeid = FILE_NODE, .attr = attributes(FILE_NODE) };
	const struct fuse_open_out open = { .fh = 1 };
	const int fd = stubborn->fd;

	switch (in->opcode) {
	case FUSE_INIT: serve_init(fd, in->unique); break;
	case FUSE_LOOKUP: reply(fd, in->unique, 0, &entry, sizeof(entry)); break;
	case FUSE_GETATTR: reply(fd, in->unique, 0, &attr, sizeof(attr)); break;
	case FUSE_OPEN: reply(fd, in->unique, 0, &open, sizeof(open)); break;
	case FUSE_READ: hold(stubborn, in->unique); break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT: break;
	case FUSE_RELEASE:
	case FUSE_FLUSH: reply(fd, in->unique, 0, NULL, 0); break;
	default: reply(fd, in->unique, -ENOSYS, NULL, 0);
	}
}

static void *serve_all(void *argument)
{
	struct stubborn *stubborn = argument;
	char *request = malloc(REQUEST);

	CHECK(request);
	while (read(stubborn->fd, request, REQUEST) > 0 || errno == EINTR || errno == ENOENT)
		serve_one(stubborn, (const struct fuse_in_header *)request);
	free(request);
	return NULL;
}

void stubborn_mount(struct stubborn *stubborn)
{
	char options[128];

	*stubborn = (struct stubborn){ .directory = "/tmp/stubborn-XXXXXX",
				       .lock = PTHREAD_MUTEX_INITIALIZER,
				       .changed = PTHREAD_COND_INITIALIZER };
	stubborn->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (stubborn->fd < 0)
		tap_skip("no FUSE");
	CHECK(mkdtemp(stubborn->directory));
	snprintf(stubborn->file, sizeof(stubborn->file), "%s/file", stubborn->directory);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", stubborn->fd);
	CHECK(!mount("stubborn", stubborn->directory, "fuse", MS_NOSUID | MS_NODEV, options));
	CHECK(!pthread_create(&stubborn->server, NULL, serve_all, stubborn));
}

void stubborn_wait_for_read(struct stubborn *stubborn)
{
	pthread_mutex_lock(&stubborn->lock);
	while (!stubborn->read)
		pthread_cond_wait(&stubborn->changed, &stubborn->lock);
	pthread_mutex_unlock(&stubborn->lock);
}

void stubborn_answer(struct stubborn *stubborn)
{
	reply(stubborn->fd, stubborn->read, -EIO, NULL, 0);
}

void stubborn_unmount(struct stubborn *stubborn)
{
	CHECK(!umount2(stubborn->directory, MNT_DETACH));
	CHECK(!pthread_join(stubborn->server, NULL));
	close(stubborn->fd);
	rmdir(stubborn->directory);
}
