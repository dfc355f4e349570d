/* SPDX-License-Identifier: BSD-3-Clause */
/* guarded.h - copies within this process by system calls: a page that cannot be accessed is an error, not a signal. */
#ifndef ADMA_MECH_GUARDED_H
#define ADMA_MECH_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

/* Copy n bytes. 0; EFAULT: one of the two buffers cannot be accessed; the errno of pipe2(2). */
int adma_guarded_copy(void *to, const void *from, size_t n);

/* Can this byte of our memory be read, or, with `write`, be written? It is written with itself. */
bool adma_guarded_probe(void *byte, bool write);

#endif
