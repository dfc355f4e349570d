/* SPDX-License-Identifier: BSD-3-Clause */
/* read_bytes.h - the method read_bytes() of a channel, of which calls.c has the text. */
#ifndef ADMA_BINDING_READ_BYTES_H
#define ADMA_BINDING_READ_BYTES_H

#include "binding/python.h"

PyObject *read_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
