/* SPDX-License-Identifier: BSD-3-Clause */
/* copies.h - the functions copy() and icopy() of the module. */
#ifndef ADMA_BINDING_COPIES_H
#define ADMA_BINDING_COPIES_H

#include "binding/python.h"

#define COPIES_COPY_DOC \
	"copy($module, dst, src)\n--\n\n" \
	"Copy src to dst; returns the number of bytes. (Paper, table 1: adma_copy.)\n\n" \
	"Both are contiguous buffers of equal length, or arrays of equal shape and element size with\n" \
	"any strides. They may overlap, as for memmove(3). The copy waits for earlier ones of the\n" \
	"same bytes. This thread and the engine's threads make a large copy together; the first one\n" \
	"that is large enough starts the engine's threads.\n\n" \
	"ValueError: lengths or shapes differ. BufferError: dst is read-only. TypeError: no buffer,\n" \
	"or an array of Python objects. When a signal's exception interrupts it, the copy is taken\n" \
	"back. If it has begun it goes on, and the exception has the request as `.request`."

#define COPIES_ICOPY_DOC \
	"icopy($module, dst, src)\n--\n\n" \
	"Begin to copy src to dst; returns a request. (Paper, table 1: adma_icopy.)\n\n" \
	"The request owns both buffers until it is done. The result is as if copies were made one\n" \
	"after the other, in the order in which they were posted: a copy that touches bytes which an\n" \
	"earlier one writes, or writes bytes which an earlier one touches, waits for that one.\n" \
	"Small copies are made at once. Arguments and errors are as for `copy`.\n\n" \
	"When 65536 copies wait, `icopy` waits for room, and helps to copy. When the engine cannot\n" \
	"be started, a RuntimeWarning says so once, and this thread makes the copy."

PyObject *copies_copy(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *copies_icopy(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
