/* SPDX-License-Identifier: BSD-3-Clause */
/* interpreter.h - requests that are complete and that no call saw: the interpreter lets their buffers go. */
#ifndef ADMA_BINDING_INTERPRETER_H
#define ADMA_BINDING_INTERPRETER_H

#include "binding/python.h"

#include "adma_hold.h"

/* Let go of the buffers of all that is listed (adma_hold.h). What releases a buffer raises no exception here. */
void interpreter_let_go_finished(void);

/* The same for each call that posts or waits, which looks first. */
static inline void interpreter_let_go(void)
{
	if (adma_holds_any())
		interpreter_let_go_finished();
}

/* From now on what is listed is let go: messages and copies, by their owner marks. */
PyObject *interpreter_begin(PyObject *module, PyObject *nothing);
PyObject *interpreter_end(PyObject *module, PyObject *nothing);

#endif
