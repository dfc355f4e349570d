/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device.h - the kernel helper's commands on an end of a pair, or on one for copies, as C functions.
 *
 * Thin: one system call each, results 0 or a negated errno as the UAPI header
 * tells. That header is read by helper.c alone, since its names are the
 * kernel's; what is mapped is described here once more and checked there.
 */
#ifndef ADMA_KDEV_DEVICE_H
#define ADMA_KDEV_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	ADMA_DEVICE_ENTRIES = 1024, /* completion entries of an end, at least */
	ADMA_DEVICE_ENTRY_BYTES = 32,
	ADMA_DEVICE_PENDING = 1,
	ADMA_DEVICE_NOTES = 2,
};

/* A completion entry: mapped read-only, stored by the kernel, `state` last (release). */
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
	uint64_t key;      /* 0: the line */
	uint64_t note[ADMA_DEVICE_NOTES]; /* writes */
	uint32_t kind;
	uint32_t entry;
	uint32_t generation;
	bool read;
	bool timed;        /* see adma_device_times() */
};

struct adma_device_message {
	uint64_t length;
	uint64_t note[ADMA_DEVICE_NOTES];
	uint32_t kind;
};

int adma_device_post(int fd, const struct adma_device_post *post);

/*
 * Of one's own: a descriptor (close-on-exec) for copies within this process, and what they must be
 * like. -ENODEV: no DMA channel works; -EPROTONOSUPPORT: the module speaks another version, or does not copy.
 */
struct adma_device_limits {
	uint64_t shortest; /* bytes; the CPU copies less */
	uint64_t longest;
};
int adma_device_open(const char *path, struct adma_device_limits *limits);

/*
 * Copy n bytes by DMA channels. 0: the entry tells the rest. The ranges do not overlap. Pins pages, and so
 * may wait for page faults.
 */
int adma_device_copy(int fd, void *dst, const void *src, uint64_t n, uint32_t entry, uint32_t generation);

/* -EBUSY: it was matched; -EALREADY: it has ended. */
int adma_device_cancel(int fd, uint32_t entry, uint32_t generation);

/* The first write in line; -EAGAIN: there is none; -EPIPE: and none will come. */
int adma_device_peek(int fd, struct adma_device_message *message);

/* 1 and the bytes copied so far while it is being copied; 0 before and after. */
int adma_device_progress(int fd, uint32_t entry, uint32_t generation, uint64_t *copied);

/* Does the module keep times of requests? */
bool adma_device_keeps_times(int fd);

/*
 * Where the kernel's part of a request's time went, nanoseconds; of one that was posted `timed` and has ended.
 * -ENOENT: the entry holds another by now.
 */
struct adma_device_times {
	uint64_t post;     /* in the post, without pinning */
	uint64_t pin;      /* pinning this end's pages */
	uint64_t start;    /* from the match to the first piece */
	uint64_t copy;
	uint64_t complete; /* until the result was stored */
};
int adma_device_times(int fd, uint32_t entry, uint32_t generation, struct adma_device_times *times);

/* The end's completion entries, read-only. */
int adma_device_map(int fd, const struct adma_device_entry **entries);
void adma_device_unmap(const struct adma_device_entry *entries);

#endif
