/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guarded.c - copies through a pipe; see guarded.h.
 *
 * process_vm_readv(2) on ourselves would be shorter. But it looks at one of the two buffers as at
 * another process's memory, and that is what memory of some kinds refuses. write(2) and read(2)
 * access memory as an instruction does. The pipe is made for one copy, so that a channel keeps no
 * descriptors for what hardly ever happens.
 */
#include "mech/guarded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

/* Move n bytes from the pipe to `to`: exactly so many are there. 0 or an errno. */
static int guarded_take(int fd, char *to, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t rc = read(fd, to + got, n - got);

		if (rc > 0)
			got += (size_t)rc;
		else if (rc == 0 || errno != EINTR)
			return rc ? errno : EIO;
	}
	return 0;
}

/* A pipe may have room for one page only, so a copy may take several turns. */
static int guarded_through(const int fds[2], char *to, const char *from, size_t n)
{
	size_t moved = 0;

	while (moved < n) {
		ssize_t rc = write(fds[1], from + moved, n - moved);
		int err;

		if (rc <= 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return errno;
		err = guarded_take(fds[0], to + moved, (size_t)rc);
		if (err)
			return err;
		moved += (size_t)rc;
	}
	return 0;
}

int adma_guarded_copy(void *to, const void *from, size_t n)
{
	int fds[2], err;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return errno;
	err = guarded_through(fds, to, from, n);
	close(fds[0]);
	close(fds[1]);
	return err;
}

bool adma_guarded_probe(void *byte, bool write)
{
	uint8_t kept;

	return adma_guarded_copy(&kept, byte, 1) != EFAULT && (!write || adma_guarded_copy(byte, &kept, 1) != EFAULT);
}
