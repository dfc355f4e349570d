/* SPDX-License-Identifier: BSD-3-Clause */
/* pickling.h - objects as bytes, and back. */
#ifndef ADMA_BINDING_PICKLING_H
#define ADMA_BINDING_PICKLING_H

#include "binding/python.h"

/*
 * Pickle an object (protocol 5): the pickle, as bytes. Large contiguous buffers in it stay outside: *parts is a list of memoryviews
 * of them, or NULL if there are none. NULL: an exception is set, as pickle raises it.
 */
PyObject *pickling_dump(PyObject *object, PyObject **parts);

/* Before an object is taken that is to be unpickled: can it be? False: an exception is set. */
bool pickling_prepare_to_load(void);

/* Unpickle what is in n bytes. */
PyObject *pickling_load(const char *p, Py_ssize_t n);

/* ---- functions of the module ---- */

/* pickling_dump(): the pickle and the list. */
PyObject *pickling_dump_object(PyObject *module, PyObject *object);

/* From how many bytes on, and up to how many of them, buffers travel by themselves. */
PyObject *pickling_limits(PyObject *module, PyObject *args);

#endif
