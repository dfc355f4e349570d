/* SPDX-License-Identifier: BSD-3-Clause */
/* knob.c - writes to files of the kernel that take a value; see knob.h. */
#include "knob.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool knob(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return good;
}
