/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exits.c - a process is killed while the module has entered its memory, and its exit waits for a
 * file system that does not answer: who has to wait for it? Needs root, FUSE and userfaultfd.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device.h"
#include "lazy.h"
#include "stubborn.h"
#include "tap.h"

#define PIECE 20000ul

/* ---- the process that is killed ---- */

struct victim {
	const char *file;
	int fd, socket; /* an endpoint; where its userfaultfd goes */
};

/* Submits a read that is under way until the file system answers; the exit waits for that, too. */
static void read_ahead(const char *path)
{
	static char at[PAGE] __attribute__((aligned(4096)));
	static struct iocb block;
	struct iocb *blocks[] = { &block };
	aio_context_t context = 0;

	block = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PREAD, .aio_buf = (uintptr_t)at, .aio_nbytes = sizeof(at) };
	block.aio_fildes = (uint32_t)open(path, O_RDONLY | O_DIRECT);
	CHECK((int)block.aio_fildes >= 0);
	CHECK(!syscall(SYS_io_setup, 1, &context));
	SAME(syscall(SYS_io_submit, context, 1, blocks), 1);
}

static void be_victim(void *argument)
{
	const struct victim *victim = argument;
	struct lazy lazy = lazy_make(PIECE);

	read_ahead(victim->file);
	SAME(post_write(.fd = victim->fd, .buffer = lazy.at, .length = PIECE), 0);
	send_fd(victim->socket, lazy.fd);
	for (;;)
		pause();
}

/* ---- who waits ---- */

static bool read_text(const char *pid, const char *name, char *text, size_t size)
{
	char path[300];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	fd = open(path, O_RDONLY);
	length = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[length < 0 ? 0 : length] = 0;
	return length > 0;
}

/* The name of a kernel thread that waits for the end of a process's reads, if there is one. */
static bool waiting_thread(char *name, size_t size)
{
	DIR *directory = opendir("/proc");
	bool found = false;
	struct dirent *entry;
	char stack[4096];

	CHECK(directory);
	while (!found && (entry = readdir(directory))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		found = read_text(entry->d_name, "comm", name, size) && !strncmp(name, "kworker/", 8) &&
			read_text(entry->d_name, "stack", stack, sizeof(stack)) && strstr(stack, "exit_aio");
	}
	closedir(directory);
	return found;
}

/* ---- tests ---- */

/* Only the module's own works wait: whoever uses the kernel's common queue is not delayed. */
static void test_an_exit_that_waits(void)
{
	struct stubborn stubborn;
	struct victim victim;
	struct pollfd fault = { .events = POLLIN };
	char name[64], *to = map(PIECE);
	int fds[2], sockets[2], child;

	CHECK(!close(lazy_make(PIECE).fd));
	stubborn_mount(&stubborn);
	pair_open(fds, ADMA_BY_CPU);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	victim = (struct victim){ stubborn.file, fds[0], sockets[1] };
	child = spawn(be_victim, &victim);
	fault.fd = receive_fd(sockets[0]);
	stubborn_wait_for_read(&stubborn);
	SAME(post_read(.fd = fds[1], .buffer = to, .length = PIECE), 0);
	SAME(poll(&fault, 1, -1), 1); /* a fetch is in its memory */
	kill(child, SIGKILL);
	join_killed(child);
	close(fault.fd); /* the fetch ends, and nobody else is in that memory */
	while (!waiting_thread(name, sizeof(name)))
		usleep(10000);
	printf("# %s", name);
	CHECK(strstr(name, "adma"));
	CHECK(wait_error(fds[1], 0, 1, -1) <= 0);
	stubborn_answer(&stubborn);
	while (waiting_thread(name, sizeof(name)))
		usleep(10000);
	stubborn_unmount(&stubborn);
}

static const struct test tests[] = {
	{ "an exit that waits", test_an_exit_that_waits, 60 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
