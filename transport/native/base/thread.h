/* SPDX-License-Identifier: BSD-3-Clause */
/* thread.h - a thread of ours: it has a name, and takes no signal that is for the process. */
#ifndef ADMA_THREAD_H
#define ADMA_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Signals are the business of threads that run Python. `stack`: bytes, 0: as usual. 0 or a positive errno. */
int adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument);

/* How many threads this process has; 0: that cannot be told. */
int adma_thread_count(void);

#endif
