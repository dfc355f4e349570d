/* SPDX-License-Identifier: BSD-3-Clause */
/* buffer.h - the buffer of a caller, held for as long as the core may touch it. */
#ifndef ADMA_BINDING_BUFFER_H
#define ADMA_BINDING_BUFFER_H

#include "binding/python.h"

/*
 * Hold a C-contiguous buffer of bytes, to read from it or to fill it. While it is held, nobody can resize a bytearray:
 * Python itself raises BufferError. `call` names the call in errors: "write". False: an exception is set, which names
 * the cure.
 */
bool buffer_hold(PyObject *buf, const char *call, bool fill, Py_buffer *view);

/* The same, with the name of the argument in errors: "buf[1]". */
bool buffer_hold_named(PyObject *buf, const char *call, const char *name, bool fill, Py_buffer *view);

/* Move what is held to another place. Its shape may be a pointer into itself (PyBuffer_FillInfo). */
void buffer_move(Py_buffer *to, const Py_buffer *from);

/*
 * The same of one side of a copy. 1: it is held. 0: it is not, and Python has to judge it: it is no buffer, it may have
 * strides or hold objects. -1: an exception is set.
 */
int buffer_hold_range(PyObject *buf, bool fill, Py_buffer *view);

#endif
