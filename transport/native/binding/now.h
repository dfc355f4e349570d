/* SPDX-License-Identifier: BSD-3-Clause */
/* now.h - a message that is there, or that there is room for, without a wait: for tasks of event loops. */
#ifndef ADMA_BINDING_NOW_H
#define ADMA_BINDING_NOW_H

#include "binding/python.h"

PyObject *now_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *now_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
