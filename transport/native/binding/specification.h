/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * specification.h - the forms of mpi4py's buffer specifications that most programs write.
 *
 *     buf | (buf, type) | (buf, count, type)
 *
 * A list does as well as a tuple. The buffer is contiguous, the type has no gaps, and the count is within the buffer. All
 * other forms, and what is wrong with one, are Python's to judge (adma/mpi/spec.py).
 */
#ifndef ADMA_BINDING_SPECIFICATION_H
#define ADMA_BINDING_SPECIFICATION_H

#include "binding/python.h"

/*
 * Hold the memory that `spec` names, of which `nbytes` bytes travel. `fill`: they are written. 1: it is held; 0: it is not for
 * here; -1: an exception is set, which is none of the buffer's.
 */
int specification_hold(PyObject *spec, bool fill, Py_buffer *view, uint64_t *nbytes);

/* Function of the module: the sizes of MPI's types without gaps, by the addresses of their objects, which live for ever. */
PyObject *specification_types(PyObject *module, PyObject *sizes);

#endif
