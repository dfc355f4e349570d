/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * helper.h - the kernel helper's device, as a handshake needs it.
 *
 * One end makes a connected pair of descriptors and passes one of them to the
 * other; both then try it with a message each way. What the commands mean and
 * which errnos they have is told in kernel/include/uapi/linux/adma.h.
 *
 * Results are 0 or a negated errno.
 */
#ifndef ADMA_HELPER_H
#define ADMA_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A connected pair from the device at `path`, both close-on-exec. `by_dma`: DMA
 * is wanted (-ENODEV when no channel works), else the kernel-mapped copy.
 * -EPROTONOSUPPORT: the module speaks another version of the interface.
 */
int adma_helper_pair(const char *path, bool by_dma, int32_t fds[2]);

/* Is this, received from a stranger, an end of a pair that we can use? -EPROTO, -EPROTONOSUPPORT. */
int adma_helper_verify(int fd);

/*
 * The one trial message of each direction: post it from, or into, [p, p + n),
 * which stays untouched until it is awaited or forgotten. (Closing the descriptor is not
 * enough: whoever passed it may have kept a copy.)
 */
int adma_helper_try(int fd, bool read, void *p, uint64_t n);

/*
 * Nothing of it will happen any more, and [p, p + n) is the caller's again: 0. -EBUSY: it is
 * being copied, and does not come to its end.
 */
int adma_helper_forget(int fd, bool read);

/* Until it ended, well (0) or otherwise; -ETIMEDOUT; -EINTR: ask again. */
int adma_helper_tried(int fd, bool read, int64_t timeout_ns);

#endif
