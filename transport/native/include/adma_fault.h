/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_fault.h - named places where a test build goes wrong on purpose.
 *
 * In a build with ADMA_FAULTS a test arms a point; the n-th time a thread of
 * this process passes it, the point acts: it stops the process (SIGSTOP),
 * kills it (SIGKILL), makes the system call behind it fail with an errno, or
 * holds the thread for a while. A release build has no points at all.
 */
#ifndef ADMA_FAULT_H
#define ADMA_FAULT_H

#include <stdint.h>

enum adma_fault_point {
	ADMA_FAULT_POST = 0,
	ADMA_FAULT_PUBLISH = 1,
	ADMA_FAULT_MATCH = 2,
	ADMA_FAULT_CHUNK = 3,     /* claimed, about to copy */
	ADMA_FAULT_COPIED = 4,    /* copied, not yet retired */
	ADMA_FAULT_COMPLETE = 5,
	ADMA_FAULT_WAKE = 6,
	ADMA_FAULT_CLOSE = 7,
	ADMA_FAULT_HANDSHAKE = 8,
	ADMA_FAULT_THREAD = 9,    /* a queue of the thread engine is made */
	ADMA_FAULT_PROGRESS_THREAD = 10,    /* the progress thread is about to be started */
	ADMA_FAULT_POINTS = 11,
};

enum adma_fault_action {
	ADMA_FAULT_NONE = 0,
	ADMA_FAULT_STOP = 1,  /* raise(SIGSTOP) */
	ADMA_FAULT_DIE = 2,   /* SIGKILL to itself */
	ADMA_FAULT_FAIL = 3,  /* the point reports `argument` as errno */
	ADMA_FAULT_DELAY = 4, /* `argument` microseconds */
	ADMA_FAULT_HOLD = 5,  /* until the point is armed anew */
};

/* Arm a point: act once, at the `nth` pass from now (1: the next). -ENOSYS in a release build. */
int adma_fault_arm(int point, int action, int argument, int nth);

/* Passes since arming, or -ENOSYS. */
int64_t adma_fault_passes(int point);

#endif
