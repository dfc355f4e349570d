/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.c - what operations are posted on; see endpoint.h. */
#include "binding/endpoint.h"

PyTypeObject *endpoint_type;

PyObject *endpoint_raise(struct endpoint *endpoint, int64_t code, uint64_t space, PyObject *operation)
{
	PyObject *error, *method = PyObject_GetAttrString((PyObject *)endpoint, "error");
	PyObject *args = NULL, *kwargs = NULL;

	if (method) {
		args = Py_BuildValue("(L)", (long long)code);
		kwargs = Py_BuildValue("{s:K,s:O}", "space", (unsigned long long)space, "operation",
				       operation ? operation : Py_None);
	}
	error = args && kwargs ? PyObject_Call(method, args, kwargs) : NULL;
	Py_XDECREF(method);
	Py_XDECREF(args);
	Py_XDECREF(kwargs);
	if (error) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		Py_DECREF(error);
	}
	return NULL;
}

bool endpoint_bring_segment(struct endpoint *endpoint, uint64_t n)
{
	PyObject *result = PyObject_CallMethod((PyObject *)endpoint, "bring_segment", "K", (unsigned long long)n);

	Py_XDECREF(result);
	return result;
}
