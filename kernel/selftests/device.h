/* SPDX-License-Identifier: BSD-3-Clause */
/* device.h - the commands of /dev/adma as C functions. They return 0 or a negated errno. */
#ifndef DEVICE_H
#define DEVICE_H

#include <linux/adma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ioctl() that returns 0 or a negated errno. */
int command(int fd, unsigned long number, void *structure);

int device_open(void); /* the test fails when there is no device */
/* The file descriptors of two connected endpoints. */
void pair_open(int fds[2], uint32_t policy);

/* What most posts have in common. A generation that is left out is 1. */
struct request {
	int fd;
	uint32_t op;
	uint32_t entry;
	uint32_t generation;
	uint32_t kind;
	uint32_t flags;
	uint64_t key;
	void *buffer;
	size_t length;
	uint64_t note[2];
};

int request_post(const struct request *request);
#define post_read(...)  request_post(&(struct request){ .op = ADMA_READ, __VA_ARGS__ })
#define post_write(...) request_post(&(struct request){ .op = ADMA_WRITE, __VA_ARGS__ })

int copy(int fd, uint32_t entry, uint32_t generation, void *to, const void *from, size_t length, uint32_t policy);

struct adma_check check(int fd, uint32_t entry, uint32_t generation); /* the test fails if it does */
int check_error(int fd, uint32_t entry, uint32_t generation);
struct adma_check wait_for(int fd, uint32_t entry, uint32_t generation);
int wait_error(int fd, uint32_t entry, uint32_t generation, int64_t timeout_ns);
int cancel(int fd, uint32_t entry, uint32_t generation);
int peek(int fd, struct adma_peek *out);
struct adma_counters counters(int fd, uint32_t flags);
struct adma_info info(int fd);

const volatile struct adma_entry *entries_map(int fd);
size_t entries_size(int fd);
/* Checks a request as user space does, by a load. ADMA_PENDING, 0 or a negated errno. */
int entry_status(const volatile struct adma_entry *entry);

/* Fills with a pattern that differs between messages (@seed) and between bytes of one. */
void fill(void *buffer, size_t length, unsigned seed);
bool filled(const void *buffer, size_t length, unsigned seed);

/*
 * Sets a module parameter and returns the former value, with which the test should restore it.
 * Skips the test where parameters may not be written.
 */
unsigned long parameter_set(const char *name, unsigned long value);

/* Bytes in the pin cache. Needs root and debugfs. */
unsigned long pins_cached(void);

void send_fd(int socket, int fd);
int receive_fd(int socket);

#endif
