/* SPDX-License-Identifier: BSD-3-Clause */
/* posts.h - posting; and the methods iwrite(), iread() and isend() of a channel, of which calls.c has the texts. */
#ifndef ADMA_BINDING_POSTS_H
#define ADMA_BINDING_POSTS_H

#include "binding/operation.h"

/* Before a write of n bytes: make the segment that it needs, if there is one. False: an exception is set. */
bool posts_prepare(struct endpoint *endpoint, uint64_t n);

/* Post an operation that has its buffer, which goes back to its owner if it is done by then. 0, or an error of the core. */
int posts_put(struct endpoint *endpoint, struct operation *op);

/* Now and then: say once that there is no progress thread, if it is so. False: the warning is an error. */
bool posts_look(struct endpoint *endpoint);

PyObject *posts_iwrite(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *posts_isend(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *posts_iread(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
