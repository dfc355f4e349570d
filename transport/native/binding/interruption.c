/* SPDX-License-Identifier: BSD-3-Clause */
/* interruption.c - an exception ends a call; see interruption.h. */
#include "binding/interruption.h"

#include "binding/request.h"
#include "shm/layout.h"

/* A second exception is set, and is raised in place of the first, which it tells of. Steals the references. */
static void interruption_chain(PyObject *first_type, PyObject *first, PyObject *first_trace)
{
	PyObject *type, *value, *trace, *before;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	before = PyException_GetContext(value);
	if (!before && value != first) {
		PyException_SetContext(value, first); /* steals it */
		first = NULL;
	}
	Py_XDECREF(before);
	Py_XDECREF(first_type);
	Py_XDECREF(first);
	Py_XDECREF(first_trace);
	PyErr_Restore(type, value, trace);
}

PyObject *interruption_take_back(struct caller *caller, struct operation *op)
{
	PyObject *type, *value, *trace, *result;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (!op->endpoint) { /* it was not left to it. The request that a program gets tells of it */
		Py_INCREF((PyObject *)caller->endpoint);
		op->endpoint = caller->endpoint;
	}
	result = PyObject_CallMethod(caller->blocking, "take_back", "OO", (PyObject *)op, value);
	Py_DECREF((PyObject *)op);
	if (result)
		PyErr_Restore(type, value, trace);
	else
		interruption_chain(type, value, trace);
	Py_XDECREF(result);
	return NULL;
}

PyObject *interruption_own_up(struct caller *caller, bool read, uint16_t kind, int64_t nbytes)
{
	PyObject *type, *value, *trace;
	struct operation *op;

	PyErr_Fetch(&type, &value, &trace);
	op = operation_new(request_type, read, kind, 0);
	if (!op) {
		interruption_chain(type, value, trace);
		return NULL;
	}
	op->nbytes = nbytes;
	op->req.done_bytes = op->req.length = (uint64_t)nbytes;
	op->req.observed = 1;
	op->req.state = ADMA_DONE_STATE;
	PyErr_Restore(type, value, trace);
	return interruption_take_back(caller, op);
}
