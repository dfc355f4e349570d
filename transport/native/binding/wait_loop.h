/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wait_loop.h - waiting that answers Ctrl-C, keeps its deadline and burns no core.
 *
 * The core copies and spins in slices of a few milliseconds, without the GIL; between them signal handlers run. Before the
 * core sleeps in the thread that runs the handlers, all signals are blocked, those that came before are handled, and
 * ppoll(2) lets the others in while it sleeps: there is no moment between in which a Ctrl-C is only noted (signal(7)).
 *
 * When a sleep is over, the caller drives before it takes the GIL back: other threads may keep that for long.
 */
#ifndef ADMA_BINDING_WAIT_LOOP_H
#define ADMA_BINDING_WAIT_LOOP_H

#include "binding/python.h"

#include "adma.h"

/*
 * Wait until the deadline, a time of CLOCK_MONOTONIC, or ADMA_NEVER. 1: what is waited for is there. 0: the deadline has
 * passed before, or the descriptor `also` of the wait, if it has one, was readable after a sleep. -1: an exception is set; the core knows that the caller does not come back.
 *
 * Buffers of what completed meanwhile are let go on the way, so code of a program may run here. What the wait points to
 * has to stay: references to channels and requests are the caller's to hold.
 */
int wait_loop_run(const struct adma_wait *wait, int64_t deadline);

/* The same for one request of one channel or, with NULL, for a message. */
int wait_loop_run_one(struct adma_chan *chan, struct adma_req *req, int64_t deadline);

/* In a forked child: another thread may be the one that runs signal handlers. */
void wait_loop_after_fork(void);

/* ---- functions of the module: the same for Python, which passes addresses, and a time of time.monotonic() or None ---- */

PyObject *wait_loop_on(PyObject *module, PyObject *args);
PyObject *wait_loop_on_one(PyObject *module, PyObject *args);

#endif
