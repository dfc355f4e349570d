/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * own.h - is a descriptor still ours?
 *
 * Other code of the process may close a number of ours by mistake: by closing something twice, or all
 * descriptors at once. The number may then name another file. So the device and the inode of a
 * descriptor are noted when it is opened, and compared before it is used after a time of rest, and
 * before it is closed. Where the kernel gives all descriptors of a kind one inode (eventfd, epoll and
 * timerfd), a stranger's file of such a kind is not told from ours.
 */
#ifndef ADMA_BASE_OWN_H
#define ADMA_BASE_OWN_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that has not been used, or looked at, for so long is looked at first. A sleep lasts no longer. */
#define ADMA_REST_NS 1000000000

struct adma_own {
	uint64_t device, inode; /* both 0: the kernel did not tell */
};

/* What `fd` names now, to be compared later. */
struct adma_own adma_own_note(int fd);

/* Does `fd` still name what was noted? Makes a system call. */
bool adma_own_is(const struct adma_own *own, int fd);

/*
 * Does `fd` name it still, as far as one has to ask? What was used within the last second is taken to. *used_at is
 * when it was last used, or looked at, and becomes now.
 */
bool adma_own_use(const struct adma_own *own, int fd, int64_t *used_at);

/*
 * Close a descriptor, unless its number is not ours any more. *at is cleared first: a forked child must not
 * find a number there that another thread has already reused.
 */
void adma_own_close(int *at, const struct adma_own *own);

#endif
