/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * interpreter.h - the pending call by which the interpreter learns of requests that are complete and that no call saw.
 *
 * This is the only file that uses Python's C API. The module that cffi generates includes it, once.
 *
 * A thread of the core asks for the pending call (Py_AddPendingCall), for which it needs neither the GIL nor a state
 * of Python's. The main thread makes the call between two of its own instructions, as it does for signal handlers. An
 * exception, such as that of a signal handler which ran meanwhile, goes to what the main thread was doing.
 */
#ifndef ADMA_BINDING_INTERPRETER_H
#define ADMA_BINDING_INTERPRETER_H

#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "adma_hold.h"
#include "adma_interpreter.h"
#include "base/holds.h"

static PyObject *interpreter_callable;    /* guarded by the GIL */
static _Atomic bool interpreter_is_asked; /* a pending call waits to be made */

static int interpreter_ask(void);

static int interpreter_call(void *nothing)
{
	PyObject *result;

	(void)nothing;
	/* Before the look: what is listed after it is asked for anew. */
	atomic_store(&interpreter_is_asked, false);
	if (!adma_holds_any())
		return 0;
	result = PyObject_CallObject(interpreter_callable, NULL);
	if (!result) {
		(void)interpreter_ask(); /* it may have been interrupted. If this fails, the next call into the core does it */
		return -1;
	}
	Py_DECREF(result);
	return 0;
}

/* Ask for the pending call, unless one waits already. Not 0: the interpreter's queue is full. */
static int interpreter_ask(void)
{
	if (atomic_exchange(&interpreter_is_asked, true))
		return 0;
	if (!Py_AddPendingCall(interpreter_call, NULL))
		return 0;
	atomic_store(&interpreter_is_asked, false);
	return -1;
}

void adma_interpreter_begin(uintptr_t callable)
{
	PyGILState_STATE state = PyGILState_Ensure();

	Py_INCREF((PyObject *)callable);
	interpreter_callable = (PyObject *)callable;
	PyGILState_Release(state);
	adma_holds_tell_by(interpreter_ask);
}

void adma_interpreter_end(void)
{
	adma_holds_tell_by(NULL);
}

#endif
