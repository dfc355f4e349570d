/* SPDX-License-Identifier: BSD-3-Clause */
/* ids.c - which user this process is, as the kernel knows it; see adma_handshake.h. */
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "adma_handshake.h"

/* Not geteuid() and the like: where fakeroot is preloaded, they tell of another user. */
#ifdef SYS_geteuid32 /* where the older calls have 16 bits */
#define ID(name) ((uint32_t)syscall(SYS_##name##32))
#else
#define ID(name) ((uint32_t)syscall(SYS_##name))
#endif

struct adma_ids adma_own_ids(void)
{
	return (struct adma_ids){ID(geteuid), ID(getegid)};
}

bool adma_has_more_rights(void)
{
	return getauxval(AT_SECURE) || ID(getuid) != ID(geteuid) || ID(getgid) != ID(getegid);
}
