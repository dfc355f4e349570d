/* SPDX-License-Identifier: BSD-3-Clause */
/* signals.c - whom a signal for the process can reach. */
#include <signal.h>
#include <sys/stat.h>

#include "worker/channel.h"

void adma_signals_block(sigset_t *old)
{
	static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t all;

	sigfillset(&all);
	/* Blocked, a fault of our own would end the process without its handler. */
	for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_BLOCK, &all, old);
}

void adma_signals_restore(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

int adma_task_count(void)
{
	/* The link count of /proc/self/task is 2 and one for each task. */
	struct stat st;

	return stat("/proc/self/task", &st) ? 2 : (int)st.st_nlink - 2 - adma_progress_count();
}
