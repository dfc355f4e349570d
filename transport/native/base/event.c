/* SPDX-License-Identifier: BSD-3-Clause */
/* event.c - eventfds, and a socket in the place of one; see event.h. */
#include "base/event.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/refusal.h"

/* The kernel picks an abstract name. Nobody else can send to it, because the socket is connected to itself. */
static int event_connect_to_itself(int fd)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof(name.sun_family);

	if (bind(fd, (struct sockaddr *)&name, length))
		return -errno;
	length = sizeof(name);
	if (getsockname(fd, (struct sockaddr *)&name, &length) || connect(fd, (struct sockaddr *)&name, length))
		return -errno;
	return 0;
}

static int event_make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	if (fd < 0)
		return -errno;
	rc = event_connect_to_itself(fd);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

int adma_event_make(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), err = errno;

	if (fd >= 0)
		return fd;
	return adma_is_refusal(err) ? event_make_socket() : -err;
}
