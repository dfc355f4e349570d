/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpreter.c - the interpreter's pending call; see interpreter.h.
 *
 * A thread of the core asks for the pending call (Py_AddPendingCall), for which it needs neither the GIL nor a state
 * of Python's. The main thread makes the call between two of its own instructions, as it does for signal handlers.
 */
#include "binding/interpreter.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/holds.h"
#include "binding/copy_request.h"
#include "binding/operation.h"

static _Atomic bool interpreter_is_asked; /* a pending call waits to be made */

/* Let go of what is listed, or supply it. False: it is not done yet, and does not ask yet. */
static bool interpreter_let_go_one(struct adma_hold *hold)
{
	if (hold->owner == OPERATION_OWNS)
		return operation_attend(operation_of_hold(hold));
	return copy_request_let_go_if_done(copy_request_of_hold(hold));
}

void interpreter_let_go_finished(void)
{
	struct adma_hold *hold;

	/* What is listed is freed with the GIL held, so the first one stays until the GIL is let go. */
	while ((hold = adma_holds_first())) {
		if (!interpreter_let_go_one(hold))
			/* It is listed just before its state says so: its thread is between the two. */
			BINDING_WITHOUT_GIL(sched_yield());
	}
}

static int interpreter_call(void *nothing)
{
	(void)nothing;
	/* Before the look: what is listed after it is asked for anew. */
	atomic_store(&interpreter_is_asked, false);
	interpreter_let_go();
	return 0;
}

/* Ask for the pending call, unless one waits already. Not 0: the interpreter's queue is full. Needs no GIL. */
static int interpreter_ask(void)
{
	if (atomic_exchange(&interpreter_is_asked, true))
		return 0;
	if (!Py_AddPendingCall(interpreter_call, NULL))
		return 0;
	atomic_store(&interpreter_is_asked, false);
	return -1;
}

PyObject *interpreter_begin(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	adma_holds_tell_by(interpreter_ask);
	Py_RETURN_NONE;
}

PyObject *interpreter_end(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	BINDING_WITHOUT_GIL(adma_holds_tell_by(NULL));
	Py_RETURN_NONE;
}
