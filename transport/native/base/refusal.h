/* SPDX-License-Identifier: BSD-3-Clause */
/* refusal.h - system calls that a sandbox does not let through. */
#ifndef ADMA_BASE_REFUSAL_H
#define ADMA_BASE_REFUSAL_H

#include <errno.h>
#include <stdbool.h>

/* Does this errno say that a sandbox, or an old kernel, refuses a system call whatever its arguments are? */
static inline bool adma_is_refusal(int err)
{
	return err == EPERM || err == EACCES || err == ENOSYS;
}

#endif
