/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_fault.h - fault points: named places where a test build fails on purpose.
 *
 * In a build with ADMA_FAULTS, a test arms a fault point. The point acts when a thread of this
 * process passes it for the n-th time: it stops the process (SIGSTOP), kills it (SIGKILL), makes
 * the system call that follows fail with an errno, or holds the thread for a while. A release
 * build has no fault points at all.
 */
#ifndef ADMA_FAULT_H
#define ADMA_FAULT_H

#include <stdint.h>

enum adma_fault_point {
	ADMA_FAULT_POST = 0,
	ADMA_FAULT_PUBLISH = 1,
	ADMA_FAULT_MATCH = 2,
	ADMA_FAULT_CHUNK = 3,     /* a piece was claimed, and is about to be copied */
	ADMA_FAULT_COPIED = 4,    /* it was copied, and is not yet retired */
	ADMA_FAULT_COMPLETE = 5,
	ADMA_FAULT_WAKE = 6,
	ADMA_FAULT_CLOSE = 7,
	ADMA_FAULT_HANDSHAKE = 8,
	ADMA_FAULT_THREAD = 9,    /* a thread of a copy engine is about to be started */
	ADMA_FAULT_PROGRESS_THREAD = 10, /* the progress thread is about to be started */
	ADMA_FAULT_GROW = 11,     /* more slots are about to be allocated */
	ADMA_FAULT_POINTS = 12,
};

enum adma_fault_action {
	ADMA_FAULT_NONE = 0,
	ADMA_FAULT_STOP = 1,  /* the process sends SIGSTOP to itself */
	ADMA_FAULT_DIE = 2,   /* it sends SIGKILL to itself */
	ADMA_FAULT_FAIL = 3,  /* the point reports the errno `argument` */
	ADMA_FAULT_DELAY = 4, /* the thread sleeps for `argument` microseconds */
	ADMA_FAULT_HOLD = 5,  /* the thread sleeps until the point is armed again */
	ADMA_FAULT_SLOW = 6,  /* as ADMA_FAULT_DELAY, at each pass from the n-th on */
};

/*
 * Arm a point, to act once, at the `nth` pass from now on (1: the next one). ADMA_FAULT_SLOW acts from there on
 * until the point is armed again. Returns 0, -EINVAL, or -ENOSYS in a release build.
 */
int adma_fault_arm(int point, int action, int argument, int nth);

/* How often the point was passed since it was armed; -EINVAL; -ENOSYS in a release build. */
int64_t adma_fault_passes(int point);

#endif
