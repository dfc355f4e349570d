/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * half.h - making a half, and mapping a stranger's.
 *
 * A half is a memfd sealed against shrinking, growing and further sealing, so
 * that no access to the mapping can ever raise SIGBUS. Whoever is handed one
 * checks type, seals and size before mapping it.
 */
#ifndef ADMA_HALF_H
#define ADMA_HALF_H

struct adma_half;

/* A fresh half: its pages allocated, initialised, sealed and mapped. 0 and fd (close-on-exec), or a negated errno. */
int adma_half_make(int *fd, struct adma_half **half);

/*
 * Map a peer's half. The fd stays the caller's. 0 or a negated errno; -EPROTO:
 * not a sealed memfd of the right size that begins like a half.
 */
int adma_half_map(int fd, struct adma_half **half);

void adma_half_unmap(struct adma_half *half);

#endif
