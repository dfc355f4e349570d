/* SPDX-License-Identifier: BSD-3-Clause */
/* probe.c - the system calls of a handshake; see adma_handshake.h. */
#include "adma_handshake.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#endif
/* The headers of older systems lack these. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif
#ifndef PR_SET_PTRACER_ANY
#define PR_SET_PTRACER_ANY ((unsigned long)-1)
#endif

struct adma_nonce *adma_nonce_new(void)
{
	struct adma_nonce *nonce = calloc(1, sizeof(*nonce));
	ssize_t got;

	if (!nonce)
		return NULL;
	do {
		got = getrandom(nonce->bytes, sizeof(nonce->bytes), 0);
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(nonce->bytes)) {
		free(nonce);
		return NULL;
	}
	return nonce;
}

void adma_nonce_free(struct adma_nonce *nonce)
{
	free(nonce);
}

uint64_t adma_nonce_address(const struct adma_nonce *nonce)
{
	return (uintptr_t)nonce->bytes;
}

uint64_t adma_nonce_scratch_address(const struct adma_nonce *nonce)
{
	return (uintptr_t)&nonce->scratch;
}

uint64_t adma_nonce_scratch(const struct adma_nonce *nonce)
{
	/* Another process may have written it. */
	return __atomic_load_n(&nonce->scratch, __ATOMIC_ACQUIRE);
}

static int vm_result(ssize_t result, size_t n)
{
	if (result < 0)
		return -errno;
	return (size_t)result == n ? 0 : -EFAULT;
}

int adma_vm_read(int32_t pid, uint64_t address, void *bytes, size_t n)
{
	struct iovec local = {.iov_base = bytes, .iov_len = n};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = n};

	return vm_result(process_vm_readv(pid, &local, 1, &remote, 1, 0), n);
}

int adma_vm_write(int32_t pid, uint64_t address, const void *bytes, size_t n)
{
	struct iovec local = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = n};

	return vm_result(process_vm_writev(pid, &local, 1, &remote, 1, 0), n);
}

int adma_set_tracer(int32_t pid)
{
	unsigned long tracer = pid == ADMA_TRACER_ANY ? PR_SET_PTRACER_ANY : (unsigned long)pid;

	return prctl(PR_SET_PTRACER, tracer, 0UL, 0UL, 0UL) ? -errno : 0;
}

int adma_pidfd_open(int32_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

int adma_eventfd(uint32_t value)
{
	int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* Signal 0 is sent to nobody. 0, or an errno. */
static int pidfd_ask(int fd)
{
	return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) ? errno : 0;
}

int adma_is_pidfd(int fd)
{
	/* A sandbox answers to every descriptor in the same way, also to one that is none. */
	int none = pidfd_ask(-1);

	return none == EBADF ? pidfd_ask(fd) != EBADF : -none;
}

int adma_take_rights(int sock, bool take)
{
	int value = take;

	return setsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &value, sizeof(value)) ? -errno : 0;
}

int64_t adma_unread(int sock)
{
	int n = 0;

	return ioctl(sock, SIOCOUTQ, &n) ? -errno : n;
}

int adma_dumpable(void)
{
	int value = prctl(PR_GET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);

	return value < 0 ? -errno : value;
}

int adma_fault_handshake(void)
{
	return ADMA_FAULT(ADMA_FAULT_HANDSHAKE);
}
