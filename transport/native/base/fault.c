/* SPDX-License-Identifier: BSD-3-Clause */
/* fault.c - the fault points of a test build. In a release build every function refuses with ENOSYS. */
#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "adma.h"

#ifdef ADMA_FAULTS

struct fault_point {
	_Atomic int action;
	_Atomic int argument;
	_Atomic int nth;
	_Atomic int64_t passes;
};

static struct fault_point points[ADMA_FAULT_POINTS];

bool adma_faults_built(void)
{
	return true;
}

int adma_fault_arm(int point, int action, int argument, int nth)
{
	if (point < 0 || point >= ADMA_FAULT_POINTS || nth < 1)
		return -EINVAL;
	struct fault_point *p = &points[point];

	atomic_store(&p->action, ADMA_FAULT_NONE);
	atomic_store(&p->argument, argument);
	atomic_store(&p->nth, nth);
	atomic_store(&p->passes, 0);
	atomic_store(&p->action, action);
	return 0;
}

int64_t adma_fault_passes(int point)
{
	if (point < 0 || point >= ADMA_FAULT_POINTS)
		return -EINVAL;
	return atomic_load(&points[point].passes);
}

static void fault_delay(int microseconds)
{
	struct timespec ts = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000L};

	nanosleep(&ts, NULL);
}

static bool fault_is_due(const struct fault_point *p, int action, int64_t pass)
{
	int nth = atomic_load(&p->nth);

	if (action == ADMA_FAULT_SLOW)
		return pass >= nth;
	return action != ADMA_FAULT_NONE && pass == nth;
}

int adma_fault_pass(int point)
{
	struct fault_point *p = &points[point];
	int64_t pass = atomic_fetch_add(&p->passes, 1) + 1;
	int action = atomic_load(&p->action);

	if (!fault_is_due(p, action, pass))
		return 0;
	switch (action) {
	case ADMA_FAULT_STOP:
		raise(SIGSTOP);
		return 0;
	case ADMA_FAULT_DIE:
		raise(SIGKILL);
		return 0;
	case ADMA_FAULT_FAIL:
		return atomic_load(&p->argument);
	case ADMA_FAULT_DELAY:
	case ADMA_FAULT_SLOW:
		fault_delay(atomic_load(&p->argument));
		return 0;
	case ADMA_FAULT_HOLD:
		while (atomic_load(&p->action) == ADMA_FAULT_HOLD)
			fault_delay(1000);
		return 0;
	default:
		return 0;
	}
}

#else

bool adma_faults_built(void)
{
	return false;
}

int adma_fault_arm(int point, int action, int argument, int nth)
{
	(void)point, (void)action, (void)argument, (void)nth;
	return -ENOSYS;
}

int64_t adma_fault_passes(int point)
{
	(void)point;
	return -ENOSYS;
}

#endif
