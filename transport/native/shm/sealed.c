/* SPDX-License-Identifier: BSD-3-Clause */
/* sealed.c - memory of a fixed size that is shared by descriptor; see sealed.h. */
#include "shm/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "adma_handshake.h"
#include "base/refusal.h"

/* Since Linux 5.14; the headers of older systems lack it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Since Linux 5.1 */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define WRITE_SEALS (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

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

	return seals >= 0 && (seals & (SEALS | WRITE_SEALS)) == SEALS;
}

/* ---- what a peer passed ---- */

/*
 * Is it memory whose pages the kernel provides one by one? Huge pages are a supply that may be used up, and then an access
 * to a hole raises SIGBUS. Between users it is tmpfs, of which memfds are. One's own file without a name, where the system
 * refuses memfds, may be of another file system.
 */
static bool sealed_has_ordinary_pages(int fd, bool same_user)
{
	struct statfs system;

	if (fstatfs(fd, &system))
		return same_user && adma_is_refusal(errno);
	return same_user ? system.f_type != HUGETLBFS_MAGIC : system.f_type == TMPFS_MAGIC;
}

/* The kernel's own answer: where fakeroot is preloaded, fstat() tells of another user. */
static bool sealed_belongs_to(int fd, uint32_t owner)
{
	struct stat st;

#if defined(__x86_64__) || defined(__aarch64__) /* where libc's structure is the kernel's */
	return !syscall(SYS_fstat, fd, &st) && st.st_uid == owner;
#else
	return !fstat(fd, &st) && st.st_uid == owner;
#endif
}

static bool sealed_is_whole(int fd, uint64_t bytes, bool same_user)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes &&
	       sealed_has_ordinary_pages(fd, same_user);
}

/*
 * The seals come first. A stranger may pass a file of a file system in user space, which need not answer when its size is
 * asked. Seals are answered by the kernel, and only memfds have them.
 */
int adma_memory_check(int fd, uint64_t bytes, bool same_user, uint32_t owner)
{
	bool sealed = adma_memory_is_sealed(fd);

	if (!sealed && !same_user)
		return -EPERM;
	if (!sealed_is_whole(fd, bytes, same_user))
		return -EPROTO;
	return sealed || sealed_belongs_to(fd, owner) ? 0 : -EPERM;
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

int adma_sealed_map(int fd, size_t size, bool trusted, void **map)
{
	int rc = adma_memory_check(fd, size, trusted, adma_own_ids().uid);

	return rc ? rc : sealed_mmap(fd, size, map);
}

int adma_sealed_populate(void *p, size_t bytes, bool write)
{
	int rc;

	do {
		rc = madvise(p, bytes, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	} while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

int adma_sealed_make_sure(void *p, size_t bytes, bool write, bool trusted)
{
	int rc = trusted ? 0 : adma_sealed_populate(p, bytes, write);

	return rc == -EINVAL ? 0 : rc;
}
