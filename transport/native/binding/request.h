/* SPDX-License-Identifier: BSD-3-Clause */
/* request.h - what iread() and iwrite() return: an operation that is a request as well. */
#ifndef ADMA_BINDING_REQUEST_H
#define ADMA_BINDING_REQUEST_H

#include "binding/operation.h"

/* The type, once Python has given its base; NULL before. */
extern PyTypeObject *request_type;

/*
 * Function of the module: make the type of requests, on top of this class of Python's, which has what is seldom called.
 */
PyObject *request_type_on(PyObject *module, PyObject *base);

static inline bool request_check_exact(PyObject *object)
{
	return request_type && Py_IS_TYPE(object, request_type);
}

/* The result of a request that is done: its bytes. -1: it failed, and an exception is set. */
int64_t request_settle(struct operation *op);

#endif
