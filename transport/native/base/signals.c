/* SPDX-License-Identifier: BSD-3-Clause */
/* signals.c - whom a signal for the process can reach. */
#include <pthread.h>
#include <signal.h>

#include "adma.h"

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
