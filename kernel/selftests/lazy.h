/* SPDX-License-Identifier: BSD-3-Clause */
/* lazy.h - memory whose page faults the test serves itself, by userfaultfd, or never serves. */
#ifndef LAZY_H
#define LAZY_H

#include <stddef.h>
#include <stdint.h>

#define PAGE  4096ul
#define LARGE (12ul << 20) /* bytes: several windows */

double now(void); /* seconds */

char *map(size_t length); /* untouched memory */
char *filled_pages(size_t length, unsigned seed);

struct lazy {
	int fd; /* the userfaultfd; it does not block */
	char *at;
	size_t length;
};

/* Skips the test where there is no userfaultfd. */
struct lazy lazy_make(size_t length);
void serve(const struct lazy *lazy, size_t at, const void *from, size_t length);

/* A pair that is made with a file descriptor of the device that is open already. */
void pair_of(int fd, int fds[2], uint32_t policy);
/* Exchanges a message within this process. */
void exchange(const int fds[2], uint32_t generation, size_t length);

#endif
