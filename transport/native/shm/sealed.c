/* SPDX-License-Identifier: BSD-3-Clause */
/* sealed.c - memory of a fixed size that is shared by descriptor; see sealed.h. */
#include "shm/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "base/refusal.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

size_t adma_sealed_size(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

/* ---- descriptors ---- */

/* A file that never had a name, and cannot be given one. It goes with its last descriptor and map. */
static int sealed_make_file(void)
{
	static const char *const places[] = {"/dev/shm", "/tmp"};
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(places) / sizeof(places[0]); i++)
		fd = open(places[i], O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	return fd;
}

int adma_memory_open(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err = errno;

	if (fd < 0 && adma_is_refusal(err))
		fd = sealed_make_file();
	return fd < 0 ? -err : fd;
}

/* Write zeros, which allocates pages as well as fallocate does, and answers with an errno when there is no room. */
static int sealed_write_zeros(int fd, size_t bytes)
{
	static const char zeros[65536];
	size_t done = 0;

	while (done < bytes) {
		size_t n = bytes - done < sizeof(zeros) ? bytes - done : sizeof(zeros);
		ssize_t written = pwrite(fd, zeros, n, (off_t)done);

		if (written < 0 && errno != EINTR)
			return -errno;
		done += written > 0 ? (size_t)written : 0;
	}
	return 0;
}

int adma_memory_allocate(int fd, uint64_t bytes)
{
	int rc;

	do {
		rc = fallocate(fd, 0, 0, (off_t)bytes);
	} while (rc && errno == EINTR);
	if (!rc)
		return 0;
	return adma_is_refusal(errno) || errno == EOPNOTSUPP ? sealed_write_zeros(fd, bytes) : -errno;
}

int adma_memory_seal(int fd)
{
	return fcntl(fd, F_ADD_SEALS, SEALS) ? -errno : 0;
}

bool adma_memory_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS && !(seals & F_SEAL_WRITE);
}

/* ---- maps ---- */

static int sealed_mmap(int fd, size_t size, void **map)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*map = p;
	return 0;
}

static int sealed_prepare(int fd, size_t allocated, size_t size)
{
	int rc = adma_memory_allocate(fd, allocated);

	if (rc)
		return rc;
	if (ftruncate(fd, (off_t)size))
		return -errno;
	rc = adma_memory_seal(fd);
	/* So a file answers, of a file system without seals and of one that has them. */
	return rc == -EINVAL || rc == -EPERM ? 0 : rc;
}

int adma_sealed_make(const char *name, size_t allocated, size_t size, int *fd, void **map)
{
	int made = adma_memory_open(name);
	int rc;

	if (made < 0)
		return made;
	rc = sealed_prepare(made, allocated, size);
	if (!rc)
		rc = sealed_mmap(made, size, map);
	if (rc) {
		close(made);
		return rc;
	}
	*fd = made;
	return 0;
}

static int sealed_check(int fd, size_t size, bool trusted)
{
	struct stat st;

	/* This comes first, and is asked of the kernel alone: fstat() of a stranger's file may block. */
	if (!trusted && fcntl(fd, F_GET_SEALS) < 0)
		return -EPROTO;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (size_t)st.st_size != size)
		return -EPROTO;
	return trusted || adma_memory_is_sealed(fd) ? 0 : -EPERM;
}

int adma_sealed_map(int fd, size_t size, bool trusted, void **map)
{
	int rc = sealed_check(fd, size, trusted);

	return rc ? rc : sealed_mmap(fd, size, map);
}
