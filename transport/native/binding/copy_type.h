/* SPDX-License-Identifier: BSD-3-Clause */
/* copy_type.h - what icopy() returns: the type of requests for copies, and its methods. */
#ifndef ADMA_BINDING_COPY_TYPE_H
#define ADMA_BINDING_COPY_TYPE_H

#include "binding/copy_request.h"

/* The type, once Python has given its base; NULL before. */
extern PyTypeObject *copy_type;

/*
 * Function of the module: make the type of requests for copies, on top of this class of Python's. That has what is
 * seldom called, and what may take long: it looks at signals.
 */
PyObject *copy_type_on(PyObject *module, PyObject *base);

/* Function of the module: `cast` makes the core's copy, as cffi knows it, of its address. */
PyObject *copy_type_cast_by(PyObject *module, PyObject *cast);

/* Function of the module: a request that holds nothing yet, for a copy that Python plans. */
PyObject *copy_type_new(PyObject *module, PyObject *nothing);

static inline bool copy_type_check_exact(PyObject *object)
{
	return copy_type && Py_IS_TYPE(object, copy_type);
}

/* Before a copy is posted: has Python read the configuration? False: an exception is set. */
bool copy_type_prepare(void);

/* Call a function of the base class, which is a static method. The format makes a tuple of its arguments. */
PyObject *copy_type_call(const char *name, const char *format, ...);

/* For how long to copy and sleep before a look at signals, until a deadline. */
int64_t copy_type_slice(int64_t deadline_ns);

/* Wait until it is done. False: an exception is set. */
bool copy_type_wait(struct copy_request *request, PyObject *timeout);

/* The result of a request that is done: its bytes. -1: it failed, and an exception is set. */
int64_t copy_type_settle(struct copy_request *request);

#endif
