/* SPDX-License-Identifier: BSD-3-Clause */
/* own.c - looking at what a descriptor names; see own.h. */
#include "base/own.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

static bool own_look(int fd, struct adma_own *found)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return false;
	*found = (struct adma_own){.device = st.st_dev, .inode = st.st_ino};
	return true;
}

struct adma_own adma_own_note(int fd)
{
	struct adma_own own = {0};

	(void)own_look(fd, &own);
	return own;
}

bool adma_own_is(const struct adma_own *own, int fd)
{
	struct adma_own found;

	if (!own_look(fd, &found))
		return false;
	return (!own->device && !own->inode) || (found.device == own->device && found.inode == own->inode);
}

bool adma_own_use(const struct adma_own *own, int fd, int64_t *used_at)
{
	int64_t now = adma_now(), rest = now - *used_at;

	*used_at = now;
	return rest < ADMA_REST_NS || adma_own_is(own, fd);
}

void adma_own_close(int *at, const struct adma_own *own)
{
	int fd = *at;

	*at = -1;
	if (fd >= 0 && adma_own_is(own, fd))
		close(fd);
}
