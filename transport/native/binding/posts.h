/* SPDX-License-Identifier: BSD-3-Clause */
/* posts.h - the methods iwrite() and iread() of a channel; calls.c has their texts. */
#ifndef ADMA_BINDING_POSTS_H
#define ADMA_BINDING_POSTS_H

#include "binding/python.h"

PyObject *posts_iwrite(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *posts_iread(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
