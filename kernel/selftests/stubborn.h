/* SPDX-License-Identifier: BSD-3-Clause */
/* stubborn.h - a file system, made by FUSE, that does not answer a read before it is told to. */
#ifndef STUBBORN_H
#define STUBBORN_H

#include <pthread.h>
#include <stdint.h>

struct stubborn {
	int fd; /* /dev/fuse */
	char directory[32], file[40];
	pthread_t server;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t read; /* lock: the read that waits, or 0 */
};

/* Mounts it, and serves it in a thread of this process. Skips the test where there is no FUSE. */
void stubborn_mount(struct stubborn *stubborn);
/* Waits until somebody reads. */
void stubborn_wait_for_read(struct stubborn *stubborn);
/* The read fails. */
void stubborn_answer(struct stubborn *stubborn);
void stubborn_unmount(struct stubborn *stubborn);

#endif
