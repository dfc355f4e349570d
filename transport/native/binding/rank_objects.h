/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_objects.h - the compiled calls of communicators that carry objects; rank_calls.c has their texts. */
#ifndef ADMA_BINDING_RANK_OBJECTS_H
#define ADMA_BINDING_RANK_OBJECTS_H

#include "binding/python.h"

PyObject *rank_objects_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *rank_objects_isend(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *rank_objects_irecv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *rank_objects_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
