/* SPDX-License-Identifier: BSD-3-Clause */
/* sealed.h - memfds of a fixed size, which no process can shrink or grow, mapped for reading and writing. */
#ifndef ADMA_SHM_SEALED_H
#define ADMA_SHM_SEALED_H

#include <stddef.h>

/* `bytes`, rounded up to whole pages. */
size_t adma_sealed_size(size_t bytes);

/*
 * Make one of `size` bytes, of which the first `allocated` are allocated now: if memory ran out later, an access
 * would raise SIGBUS. 0, with the descriptor in *fd and the map in *map; or a negated errno.
 */
int adma_sealed_make(const char *name, size_t allocated, size_t size, int *fd, void **map);

/* Map one that a peer passed. The descriptor stays the caller's. 0; -EPROTO: it is none of this size; a negated errno. */
int adma_sealed_map(int fd, size_t size, void **map);

#endif
