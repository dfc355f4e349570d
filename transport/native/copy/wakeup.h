/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wakeup.h - waking the threads that wait until a copy is complete.
 *
 * They sleep on the futex word adma_copies.completions, or on a descriptor of their own
 * (struct adma_copy_signal). A thread that sleeps on the word has, under the engine lock, found
 * its copies incomplete, read the word and counted itself among the sleepers. The thread that
 * completes a copy increments the word and wakes the sleepers under the same lock. So no
 * completion is missed.
 */
#ifndef ADMA_COPY_WAKEUP_H
#define ADMA_COPY_WAKEUP_H

/* A copy is complete: wake the waiting threads. Called with the engine lock held. */
void adma_wakeup_waiters(void);

/* Close the descriptors, in a forked child: they belong to the threads of the parent. */
void adma_wakeup_forked(void);

#endif
