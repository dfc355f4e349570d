/* SPDX-License-Identifier: BSD-3-Clause */
/* specification.c - the usual forms of buffer specifications; see specification.h. */
#include "binding/specification.h"

#include <string.h>

#define TYPES_MAX 256
#define PLAIN_FORMATS \
	"?bhilqBHILQfdg" /* numbers of this machine, in the buffer protocol: adma/mpi/spec.py has them all */

/* MPI's types without gaps. Filled once. */
static struct {
	const void *type;
	uint64_t size;
} types[TYPES_MAX];
static int type_count;

/* 0: it is none of these. */
static uint64_t type_size(const PyObject *type)
{
	static int last; /* most programs use one */

	if (type_count && types[last].type == type)
		return types[last].size;
	for (int i = 0; i < type_count; i++) {
		if (types[i].type == type) {
			last = i;
			return types[i].size;
		}
	}
	return 0;
}

/* The memory of a buffer in one piece, with its format. As specification_hold(). */
static int specification_hold_buffer(PyObject *buf, bool fill, Py_buffer *view)
{
	if (!PyObject_GetBuffer(buf, view, PyBUF_ND | PyBUF_FORMAT | (fill ? PyBUF_WRITABLE : 0)))
		return 1;
	if (!PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Clear();
	return 0;
}

/* Are these plain numbers, of which the type of MPI is known? */
static bool specification_is_plain(const Py_buffer *view)
{
	return !view->format || (view->format[0] && !view->format[1] && strchr(PLAIN_FORMATS, view->format[0]));
}

/* (buf, type) or (buf, count, type). As specification_hold(). */
static int specification_hold_typed(PyObject *buf, PyObject *count, const PyObject *type, bool fill, Py_buffer *view,
				    uint64_t *nbytes)
{
	uint64_t size = type_size(type);
	size_t entries = 0;
	int held;

	if (!size || (count && !PyLong_CheckExact(count)))
		return 0;
	if (count) {
		entries = PyLong_AsSize_t(count);
		if (PyErr_Occurred()) { /* it is negative, or too large */
			PyErr_Clear();
			return 0;
		}
	}
	held = specification_hold_buffer(buf, fill, view);
	if (held <= 0)
		return held;
	*nbytes = count ? entries * size : (uint64_t)view->len;
	if ((count ? entries <= (uint64_t)view->len / size : (uint64_t)view->len % size == 0) &&
	    (!view->format || !strchr(view->format, 'O')))
		return 1;
	PyBuffer_Release(view);
	return 0;
}

/* As specification_hold(), of a list or a tuple. Its items are borrowed from `spec`, which others may change: they are counted. */
static int specification_hold_items(PyObject *const *items, Py_ssize_t count, bool fill, Py_buffer *view,
				    uint64_t *nbytes)
{
	int held = 0;

	for (Py_ssize_t i = 0; i < count; i++)
		Py_INCREF(items[i]);
	if (count == 2)
		held = specification_hold_typed(items[0], NULL, items[1], fill, view, nbytes);
	else if (count == 3)
		held = specification_hold_typed(items[0], items[1], items[2], fill, view, nbytes);
	for (Py_ssize_t i = 0; i < count; i++)
		Py_DECREF(items[i]);
	return held;
}

int specification_hold(PyObject *spec, bool fill, Py_buffer *view, uint64_t *nbytes)
{
	PyObject *items[3];
	Py_ssize_t count;
	int held;

	if (PyList_CheckExact(spec) || PyTuple_CheckExact(spec)) {
		bool list = PyList_CheckExact(spec);

		count = list ? PyList_Size(spec) : PyTuple_Size(spec);
		if (count < 2 || count > 3)
			return 0;
		for (Py_ssize_t i = 0; i < count; i++)
			items[i] = list ? PyList_GetItem(spec, i) : PyTuple_GetItem(spec, i);
		return specification_hold_items(items, count, fill, view, nbytes);
	}
	held = specification_hold_buffer(spec, fill, view);
	if (held <= 0)
		return held;
	/* BOTTOM looks like a buffer of no bytes. */
	if (view->len && specification_is_plain(view)) {
		*nbytes = (uint64_t)view->len;
		return 1;
	}
	PyBuffer_Release(view);
	return 0;
}

PyObject *specification_types(PyObject *module, PyObject *sizes)
{
	PyObject *address, *size;
	Py_ssize_t at = 0;

	(void)module;
	type_count = 0;
	while (type_count < TYPES_MAX && PyDict_Next(sizes, &at, &address, &size)) {
		types[type_count].type = PyLong_AsVoidPtr(address);
		types[type_count].size = PyLong_AsUnsignedLongLong(size);
		if (PyErr_Occurred())
			return NULL;
		type_count++;
	}
	Py_RETURN_NONE;
}
