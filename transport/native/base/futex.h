/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * futex.h - sleeping on a word of this process (futex(2)).
 *
 * No wake-up is lost if one thread changes the word under a lock and then wakes, and the other
 * thread reads the word under the same lock before it sleeps: the sleep ends at once if the
 * word has changed since it was read.
 */
#ifndef ADMA_FUTEX_H
#define ADMA_FUTEX_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word == value, at most timeout_ns (< 0: no limit). 0, or -EAGAIN, -EINTR, -ETIMEDOUT. */
static inline int adma_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns)
{
	struct timespec ts = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};

	return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns < 0 ? NULL : &ts, NULL, 0) ? -errno : 0;
}

static inline void adma_futex_wake(_Atomic uint32_t *word, int sleepers)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, sleepers, NULL, NULL, 0);
}

#endif
