/* SPDX-License-Identifier: BSD-3-Clause */
/* sealed.h - memory of a fixed size that is shared by descriptor, mapped for reading and writing. */
#ifndef ADMA_SHM_SEALED_H
#define ADMA_SHM_SEALED_H

#include <stdbool.h>
#include <stddef.h>

/* `bytes`, rounded up to whole pages. */
size_t adma_sealed_size(size_t bytes);

/*
 * Make one of `size` bytes, of which the first `allocated` are allocated now: if memory ran out later, an access
 * would raise SIGBUS. It is a sealed memfd, which no process can shrink or grow. Where the system refuses memfds, it is
 * a file without a name, which cannot be sealed and therefore is for processes of one user only (adma_memory_is_sealed()).
 * 0, with the descriptor in *fd and the map in *map; or a negated errno.
 */
int adma_sealed_make(const char *name, size_t allocated, size_t size, int *fd, void **map);

/*
 * Map one that a peer passed. The descriptor stays the caller's. `trusted`: the peer is of this process's user, and so
 * the memory need not be sealed. 0; -EPROTO, -EPERM: as for adma_memory_check(); a negated errno.
 */
int adma_sealed_map(int fd, size_t size, bool trusted, void **map);

/*
 * Make sure of the pages of mapped memory: allocate those that are missing, and enter all into the page table. `write`: as
 * writes to them would, which the map has to allow. If there is no memory, this is an error, where a mere access would
 * raise SIGBUS. 0 or a negated errno: -ENOMEM, -EFAULT; -EINVAL before Linux 5.14.
 */
int adma_sealed_populate(void *p, size_t bytes, bool write);

/*
 * The same, of memory in which a peer of another user may have left holes, before anything else touches it. 0 also
 * where the kernel does not know how. `trusted`: the peer is of this process's user, and nothing is to be done.
 */
int adma_sealed_make_sure(void *p, size_t bytes, bool write, bool trusted);

#endif
