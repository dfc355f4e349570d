/* SPDX-License-Identifier: BSD-3-Clause */
/* signals.c - blocking the signals that are sent to the process. */
#include <signal.h>

#include "adma.h"

void adma_signals_block(sigset_t *old)
{
	/* These are raised by a fault of the thread itself: if they were blocked, it would end the process
	 * without its handler being called. */
	static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < sizeof(own_faults) / sizeof(own_faults[0]); i++)
		sigdelset(&all, own_faults[i]);
	pthread_sigmask(SIG_BLOCK, &all, old);
}

void adma_signals_restore(const sigset_t *old)
{
	pthread_sigmask(SIG_SETMASK, old, NULL);
}
