/* SPDX-License-Identifier: BSD-3-Clause */
/* descriptor.h - closing a descriptor that is kept in a structure. */
#ifndef ADMA_BASE_DESCRIPTOR_H
#define ADMA_BASE_DESCRIPTOR_H

#include <unistd.h>

/* Clear *at first: a forked child must not find a number there that another thread has already reused. */
static inline void adma_descriptor_close(int *at)
{
	int fd = *at;

	*at = -1;
	if (fd >= 0)
		close(fd);
}

#endif
