/* SPDX-License-Identifier: BSD-3-Clause */
/* blocking.h - the methods write() and read() of a channel; calls.c has their texts. */
#ifndef ADMA_BINDING_BLOCKING_H
#define ADMA_BINDING_BLOCKING_H

#include "binding/python.h"

PyObject *blocking_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *blocking_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
