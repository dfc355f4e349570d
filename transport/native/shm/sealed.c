/* SPDX-License-Identifier: BSD-3-Clause */
/* sealed.c - memfds of a fixed size; see sealed.h. */
#include "shm/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

size_t adma_sealed_size(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static int sealed_mmap(int fd, size_t size, void **map)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*map = p;
	return 0;
}

static int sealed_allocate(int fd, size_t allocated, size_t size)
{
	int err = posix_fallocate(fd, 0, (off_t)allocated);

	if (err)
		return -err;
	if (ftruncate(fd, (off_t)size))
		return -errno;
	return fcntl(fd, F_ADD_SEALS, SEALS) ? -errno : 0;
}

int adma_sealed_make(const char *name, size_t allocated, size_t size, int *fd, void **map)
{
	int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (made < 0)
		return -errno;
	rc = sealed_allocate(made, allocated, size);
	if (!rc)
		rc = sealed_mmap(made, size, map);
	if (rc) {
		close(made);
		return rc;
	}
	*fd = made;
	return 0;
}

static bool sealed_is_sound(int fd, size_t size)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS && !(seals & F_SEAL_WRITE) && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode) && (size_t)st.st_size == size;
}

int adma_sealed_map(int fd, size_t size, void **map)
{
	return sealed_is_sound(fd, size) ? sealed_mmap(fd, size, map) : -EPROTO;
}
