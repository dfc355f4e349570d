/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.h - the commands of the kernel helper's device as C functions: on an endpoint of a
 * connected pair of descriptors, or on a descriptor for copies within this process.
 *
 * Each function makes one system call, and returns 0 or a negated errno, as the UAPI header
 * documents. Only device.c includes that header, because its names are the kernel's. The layout of
 * the mapped memory is repeated here, and device.c checks it against the header.
 */
#ifndef ADMA_KDEV_DEVICE_H
#define ADMA_KDEV_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	ADMA_DEVICE_ENTRIES = 1024, /* how many completion entries a descriptor has, at least */
	ADMA_DEVICE_ENTRY_BYTES = 32,
	ADMA_DEVICE_PENDING = 1,
	ADMA_DEVICE_NOTES = 2,
};

/* A completion entry. It is mapped read-only; the kernel stores the result there, and `state` last (release). */
struct adma_device_entry {
	_Atomic uint64_t state; /* {generation:32, PENDING, 0 or a negated errno:32} */
	uint64_t length;
	uint64_t note[ADMA_DEVICE_NOTES];
};
_Static_assert(sizeof(struct adma_device_entry) == ADMA_DEVICE_ENTRY_BYTES, "the kernel's layout");

/* The state of an entry whose request is pending. */
static inline uint64_t adma_device_pending(uint32_t generation)
{
	return (uint64_t)generation << 32 | ADMA_DEVICE_PENDING;
}

struct adma_device_post {
	void *address;
	uint64_t length;
	uint64_t key;      /* 0: the FIFO of the connection */
	uint64_t note[ADMA_DEVICE_NOTES]; /* of a write: passed to the reader */
	uint32_t kind;
	uint32_t entry;
	uint32_t generation;
	bool read;
	bool timed;        /* the kernel measures the request: see adma_device_times() */
};

/* The next message of the FIFO. */
struct adma_device_message {
	uint64_t length;
	uint64_t note[ADMA_DEVICE_NOTES];
	uint32_t kind;
};

int adma_device_post(int fd, const struct adma_device_post *post);

/*
 * Open a descriptor (close-on-exec) for copies within this process, and tell which copies the
 * device makes. -ENODEV: no DMA channel works. -EPROTONOSUPPORT: the module speaks another
 * version of the interface, or does not make copies.
 */
struct adma_device_limits {
	uint64_t shortest; /* bytes; below that, the CPU is to copy */
	uint64_t longest;
};
int adma_device_open(const char *path, struct adma_device_limits *limits);

/*
 * Copy n bytes by DMA channels, between ranges that do not overlap. 0: the copy is posted, and its
 * result will be stored in the entry. The call pins pages, and so may wait for page faults.
 */
int adma_device_copy(int fd, void *dst, const void *src, uint64_t n, uint32_t entry, uint32_t generation);

/* Cancel the request of this entry. -EBUSY: it was matched. -EALREADY: it is complete. */
int adma_device_cancel(int fd, uint32_t entry, uint32_t generation);

/* Look at the write at the head of the FIFO. -EAGAIN: there is none. -EPIPE: there is none, and none will come. */
int adma_device_peek(int fd, struct adma_device_message *message);

/* 1 while the request is being copied, and the bytes that were copied so far; 0 before and after. */
int adma_device_progress(int fd, uint32_t entry, uint32_t generation, uint64_t *copied);

/* Does the module measure requests? */
bool adma_device_keeps_times(int fd);

/*
 * Where the time of a request went in the kernel, in nanoseconds. The request was posted `timed` and
 * is complete. -ENOENT: the entry holds another request by now.
 */
struct adma_device_times {
	uint64_t post;     /* the post, without pinning */
	uint64_t pin;      /* pinning the pages of this endpoint */
	uint64_t start;    /* from the match to the first piece */
	uint64_t copy;
	uint64_t complete; /* from there until the result was stored */
};
int adma_device_times(int fd, uint32_t entry, uint32_t generation, struct adma_device_times *times);

/* Map the completion entries of a descriptor, read-only. */
int adma_device_map(int fd, const struct adma_device_entry **entries);
void adma_device_unmap(const struct adma_device_entry *entries);

#endif
