/* SPDX-License-Identifier: BSD-3-Clause */
/* thread.h - threads of the library: each has a name, and blocks the signals that are sent to the process. */
#ifndef ADMA_THREAD_H
#define ADMA_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Start a thread. It blocks signals because only threads that run Python can answer them.
 * `stack` is in bytes; 0 asks for the default size. Returns 0 or a positive errno.
 */
int adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument);

/* A condition whose waits end by the clock of adma_now(). */
void adma_condition_init(pthread_cond_t *condition);

/* Wait for it until `end`. False: it is `end`. */
bool adma_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t end);

/* How many threads this process has; 0: unknown. */
int adma_thread_count(void);

/* Is the calling thread the first one of its process? In a child, that is the one that forked. */
bool adma_thread_is_first(void);
void adma_thread_after_fork_child(void);

#endif
