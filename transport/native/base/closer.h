/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * closer.h - closing what another user may have made, where nobody waits for it.
 *
 * The last close of a file may block for as long as its maker likes: that of a TCP socket with unsent data and a
 * linger time, or of a file of a FUSE server that does not answer. The same holds for a socket in which such
 * descriptors lie unread. So threads of their own close them (adma_close_apart() in adma_handshake.h): they are
 * detached, they are started when there is something to close, and they end after it. A close that blocks
 * holds up one of them and no other thread of the process.
 *
 * The lock here is a leaf, so descriptors may be handed over under any other lock of the core.
 */
#ifndef ADMA_BASE_CLOSER_H
#define ADMA_BASE_CLOSER_H

#include "adma_handshake.h"
#include "base/own.h"

/* As adma_own_close(), by adma_close_apart(). The peer sees the end of the socket at once. */
void adma_own_close_socket_apart(int *at, const struct adma_own *own, uint32_t owner);

/* The lock is held while the process forks. What the parent is closing right now is not the child's to close. */
void adma_closer_before_fork(void);
void adma_closer_after_fork_parent(void);
void adma_closer_after_fork_child(void);

#endif
