/* SPDX-License-Identifier: BSD-3-Clause */
/* objects.h - Python objects as messages. */
#ifndef ADMA_BINDING_OBJECTS_H
#define ADMA_BINDING_OBJECTS_H

#include "binding/python.h"

/*
 * Function of the module: read an object that is there and is one message. `incoming` gets its operation as `head`, and
 * its buffer as `head_buffer`, before it is posted; the operation is done or pending then. False: there is no such object,
 * or it could not be posted.
 */
PyObject *objects_read_large(PyObject *module, PyObject *args);

/* The methods send() and recv() of a channel; calls.c has their texts. */
PyObject *objects_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *objects_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
