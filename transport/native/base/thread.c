/* SPDX-License-Identifier: BSD-3-Clause */
/* thread.c - starting a thread of the library. */
#include "base/thread.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adma.h"

int adma_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *), void *argument)
{
	pthread_attr_t attr;
	sigset_t old;
	int err = pthread_attr_init(&attr);

	if (err)
		return err;
	if (stack)
		(void)pthread_attr_setstacksize(&attr, stack);
	adma_signals_block(&old); /* the new thread inherits the mask */
	err = pthread_create(thread, &attr, run, argument);
	adma_signals_restore(&old);
	pthread_attr_destroy(&attr);
	if (!err)
		(void)pthread_setname_np(*thread, name);
	return err;
}

void adma_condition_init(pthread_cond_t *condition)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attr);
	pthread_condattr_destroy(&attr);
}

bool adma_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t end)
{
	struct timespec at = {.tv_sec = end / 1000000000, .tv_nsec = end % 1000000000};

	return !pthread_cond_timedwait(condition, mutex, &at);
}

static uint32_t thread_forks; /* changes while only one thread exists */

void adma_thread_after_fork_child(void)
{
	thread_forks++;
}

/* A thread asks once, and again in a child, where it may have become the first one. */
bool adma_thread_is_first(void)
{
	static _Thread_local struct {
		bool asked, is_first;
		uint32_t forks;
	} known;

	if (!known.asked || known.forks != thread_forks) {
		known.is_first = gettid() == getpid();
		known.forks = thread_forks;
		known.asked = true;
	}
	return known.is_first;
}

int adma_thread_count(void)
{
	struct stat st;

	/* The link count of /proc/self/task is 2, and one for each thread. */
	return stat("/proc/self/task", &st) ? 0 : (int)st.st_nlink - 2;
}
