/* SPDX-License-Identifier: BSD-3-Clause */
/* interruption.c - an exception ends a call; see interruption.h. */
#include "binding/interruption.h"

#include "binding/request.h"
#include "shm/layout.h"

PyObject *interruption_take_back(struct caller *caller, struct operation *op)
{
	PyObject *type, *value, *trace, *result;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	result = PyObject_CallMethod(caller->blocking, "take_back", "OO", (PyObject *)op, value);
	Py_DECREF((PyObject *)op);
	if (result) {
		Py_DECREF(result);
		PyErr_Restore(type, value, trace);
		return NULL;
	}
	Py_XDECREF(type); /* a second exception struck, and is raised in place of the first */
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return NULL;
}

PyObject *interruption_own_up(struct caller *caller, bool read, int64_t nbytes)
{
	PyObject *type, *value, *trace;
	struct operation *op;

	PyErr_Fetch(&type, &value, &trace);
	op = operation_new(request_type, read, ADMA_BYTES, 0);
	if (!op)
		return NULL;
	op->nbytes = nbytes;
	op->req.done_bytes = op->req.length = (uint64_t)nbytes;
	op->req.state = ADMA_DONE_STATE;
	PyErr_Restore(type, value, trace);
	return interruption_take_back(caller, op);
}
