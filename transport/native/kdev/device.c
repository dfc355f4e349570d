/* SPDX-License-Identifier: BSD-3-Clause */
/* device.c - the commands of the kernel helper's device. Those of the handshake are in adma_handshake.h. */
#include "adma_handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/adma.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kdev/device.h"

_Static_assert(ADMA_DEVICE_ENTRY_BYTES == sizeof(struct adma_entry), "entries are mapped, not copied");
_Static_assert(ADMA_DEVICE_PENDING == ADMA_PENDING, "the word of a pending request");
_Static_assert(ADMA_DEVICE_NOTES == sizeof(((struct adma_entry *)0)->note) / sizeof(uint64_t), "notes");

#define TRIAL_KIND 0xad
#define TRIAL_GENERATION 1

static int device_command(int fd, unsigned long number, void *structure)
{
	return ioctl(fd, number, structure) < 0 ? -errno : 0;
}

/* ---- requests ---- */

int adma_device_post(int fd, const struct adma_device_post *what)
{
	struct adma_iovec piece = {.base = (uintptr_t)what->address, .length = what->length};
	struct adma_post post = {
		.size = sizeof(post),
		.flags = what->timed ? ADMA_POST_TIMES : 0,
		.op = what->read ? ADMA_READ : ADMA_WRITE,
		.kind = what->kind,
		.cookie = ADMA_COOKIE(what->generation, what->entry),
		.key = what->key,
		.iov = (uintptr_t)&piece,
		.iovcnt = what->length > 0,
		.note = {what->note[0], what->note[1]},
	};

	return device_command(fd, ADMA_IOC_POST, &post);
}

int adma_device_copy(int fd, void *dst, const void *src, uint64_t n, uint32_t entry, uint32_t generation)
{
	struct adma_copy copy = {
		.size = sizeof(copy),
		.cookie = ADMA_COOKIE(generation, entry),
		.destination = (uintptr_t)dst,
		.source = (uintptr_t)src,
		.length = n,
		.policy = ADMA_BY_DMA,
	};

	return device_command(fd, ADMA_IOC_COPY, &copy);
}

int adma_device_cancel(int fd, uint32_t entry, uint32_t generation)
{
	struct adma_cancel cancel = {.size = sizeof(cancel), .cookie = ADMA_COOKIE(generation, entry)};

	return device_command(fd, ADMA_IOC_CANCEL, &cancel);
}

int adma_device_peek(int fd, struct adma_device_message *message)
{
	struct adma_peek peek = {.size = sizeof(peek)};
	int rc = device_command(fd, ADMA_IOC_PEEK, &peek);

	if (rc)
		return rc;
	message->kind = peek.kind;
	message->length = peek.length;
	memcpy(message->note, peek.note, sizeof(message->note));
	return 0;
}

int adma_device_progress(int fd, uint32_t entry, uint32_t generation, uint64_t *copied)
{
	struct adma_check check = {.size = sizeof(check), .cookie = ADMA_COOKIE(generation, entry)};
	int rc = device_command(fd, ADMA_IOC_CHECK, &check);

	if (rc)
		return rc;
	*copied = check.length;
	return check.status == ADMA_PENDING && check.matched;
}

int adma_device_times(int fd, uint32_t entry, uint32_t generation, struct adma_device_times *times)
{
	struct adma_check check = {.size = sizeof(check), .cookie = ADMA_COOKIE(generation, entry)};
	int rc = device_command(fd, ADMA_IOC_CHECK, &check);

	if (rc)
		return rc;
	*times = (struct adma_device_times){
		.post = check.times[ADMA_TIME_POST],
		.pin = check.times[ADMA_TIME_PIN],
		.start = check.times[ADMA_TIME_START],
		.copy = check.times[ADMA_TIME_COPY],
		.complete = check.times[ADMA_TIME_COMPLETE],
	};
	return 0;
}

static int device_info(int fd, struct adma_info *info)
{
	*info = (struct adma_info){.size = sizeof(*info)};
	return device_command(fd, ADMA_IOC_INFO, info);
}

bool adma_device_keeps_times(int fd)
{
	struct adma_info info;

	return !device_info(fd, &info) && info.features & ADMA_FEATURE_TIMES;
}

/* ---- the completion page ---- */

int adma_device_map(int fd, const struct adma_device_entry **entries)
{
	struct adma_info info;
	int rc = device_info(fd, &info);
	void *p;

	if (rc)
		return rc;
	if (info.entries < ADMA_DEVICE_ENTRIES)
		return -EPROTONOSUPPORT;
	p = mmap(NULL, ADMA_DEVICE_ENTRIES * sizeof(**entries), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*entries = p;
	return 0;
}

void adma_device_unmap(const struct adma_device_entry *entries)
{
	if (entries)
		munmap((void *)entries, ADMA_DEVICE_ENTRIES * sizeof(*entries));
}

/* ---- the handshake ---- */

static int device_check_version(int fd)
{
	struct adma_info info;
	int rc = device_info(fd, &info);

	if (rc)
		return rc == -ENOTTY || rc == -EINVAL || rc == -E2BIG ? -EPROTONOSUPPORT : rc;
	return info.abi == ADMA_ABI_VERSION ? 0 : -EPROTONOSUPPORT;
}

static int device_limits(int fd, struct adma_device_limits *limits)
{
	struct adma_info info;
	int rc = device_check_version(fd);

	rc = rc ? rc : device_info(fd, &info);
	if (rc)
		return rc;
	if (!(info.features & ADMA_FEATURE_COPY))
		return -EPROTONOSUPPORT;
	if (!(info.features & ADMA_FEATURE_DMA))
		return -ENODEV;
	limits->shortest = info.dma_min;
	limits->longest = info.length_max;
	return 0;
}

int adma_device_open(const char *path, struct adma_device_limits *limits)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = device_limits(fd, limits);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int adma_helper_pair(const char *path, bool by_dma, int32_t fds[2])
{
	struct adma_pair pair = {.size = sizeof(pair), .policy = by_dma ? ADMA_BY_DMA : ADMA_BY_CPU};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	rc = device_check_version(fd);
	if (!rc)
		rc = device_command(fd, ADMA_IOC_PAIR, &pair);
	close(fd);
	if (rc)
		return rc;
	fds[0] = pair.fd[0];
	fds[1] = pair.fd[1];
	return 0;
}

/* Is it an endpoint of a pair? Judged by the name that the kernel gives to its file, which no peer can forge. */
static bool helper_is_endpoint(int fd)
{
	static const char name[] = "anon_inode:[adma]";
	char path[64], found[sizeof(name) + 1];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, found, sizeof(found));
	return n == sizeof(name) - 1 && !memcmp(found, name, (size_t)n);
}

int adma_helper_verify(int fd)
{
	return helper_is_endpoint(fd) ? device_check_version(fd) : -EPROTO;
}

/* The entries of the trial messages. The trial uses their first generation, so a channel continues with the second. */
static uint32_t helper_trial_entry(bool read)
{
	return read ? 0 : ADMA_DEVICE_ENTRIES / 2;
}

int adma_helper_try(int fd, bool read, void *p, uint64_t n)
{
	const struct adma_device_post post = {
		.address = p,
		.length = n,
		.kind = TRIAL_KIND,
		.read = read,
		.entry = helper_trial_entry(read),
		.generation = TRIAL_GENERATION,
	};

	return adma_device_post(fd, &post);
}

int adma_helper_tried(int fd, bool read, int64_t timeout_ns)
{
	struct adma_check check = {
		.size = sizeof(check),
		.cookie = ADMA_COOKIE(TRIAL_GENERATION, helper_trial_entry(read)),
		.timeout_ns = timeout_ns,
	};
	int rc = device_command(fd, ADMA_IOC_WAIT, &check);

	return rc ? rc : check.status;
}

int adma_helper_forget(int fd, bool read)
{
	const int64_t moment = 1000000000;
	int rc = adma_device_cancel(fd, helper_trial_entry(read), TRIAL_GENERATION);

	while (rc == -EBUSY || rc == -EINTR)
		rc = adma_helper_tried(fd, read, moment);
	return rc == -ETIMEDOUT ? -EBUSY : 0;
}
