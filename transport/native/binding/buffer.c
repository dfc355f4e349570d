/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffer.c - the buffer of a caller; see buffer.h.
 *
 * What is refused, and in which words, is judged in Python (adma/_core/buffers.py). Here is the part that every
 * message pays for: is this a buffer that needs no judgement?
 */
#include "binding/buffer.h"

#include <string.h>

/* FAILED: an exception is set, which is none of a buffer that lends nothing: of a signal's handler, say. */
enum verdict { HELD, FREE_OF_OBJECTS, UNKNOWN, FAILED };

/* The value of an attribute, whose name is made once and kept in *kept; NULL: it has none, or an exception is set. */
static PyObject *buffer_attribute(PyObject *object, const char *name, PyObject **kept)
{
	PyObject *value;

	if (!*kept)
		*kept = PyUnicode_InternFromString(name);
	value = *kept ? PyObject_GetAttr(object, *kept) : NULL;
	if (!value && PyErr_ExceptionMatches(PyExc_AttributeError))
		PyErr_Clear();
	return value;
}

/* Does it say, as NumPy's arrays do, that it holds no Python objects? This is the cheapest way to know. */
static enum verdict buffer_says_plain(PyObject *buf)
{
	static PyObject *dtype_name, *hasobject_name; /* guarded by the GIL */
	PyObject *dtype = buffer_attribute(buf, "dtype", &dtype_name);
	PyObject *has = dtype ? buffer_attribute(dtype, "hasobject", &hasobject_name) : NULL;
	bool plain = has == Py_False, failed = !has && PyErr_Occurred();

	Py_XDECREF(has);
	Py_XDECREF(dtype);
	return failed ? FAILED : plain ? FREE_OF_OBJECTS : UNKNOWN;
}

/* An exception is set. Is it one of a buffer that cannot be lent? Then it goes: Python says it in other words. */
static bool buffer_is_refused(void)
{
	if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_BufferError) &&
	    !PyErr_ExceptionMatches(PyExc_ValueError))
		return false;
	PyErr_Clear();
	return true;
}

/* The memory of a buffer whose format names no Python objects. Of one that has none, nothing is held. */
static enum verdict buffer_hold_by_format(PyObject *buf, int access, Py_buffer *view)
{
	if (PyObject_GetBuffer(buf, view, PyBUF_ND | PyBUF_FORMAT | access))
		return buffer_is_refused() ? UNKNOWN : FAILED;
	if (!view->format || !strchr(view->format, 'O'))
		return HELD;
	PyBuffer_Release(view);
	return UNKNOWN;
}

static enum verdict buffer_look(PyObject *buf, int access, Py_buffer *view)
{
	enum verdict verdict = UNKNOWN;

	if (PyBytes_CheckExact(buf) || PyByteArray_CheckExact(buf))
		return FREE_OF_OBJECTS;
	if (!PyMemoryView_Check(buf))
		verdict = buffer_says_plain(buf);
	return verdict == UNKNOWN ? buffer_hold_by_format(buf, access, view) : verdict;
}

/* Call a function of adma/_core/buffers.py. It raises, or returns nothing of interest. */
static bool buffer_judge(const char *function, PyObject *buf, const char *call, const char *name, bool fill)
{
	PyObject *module = PyImport_ImportModule("adma._core.buffers");
	PyObject *result =
		module ? PyObject_CallMethod(module, function, "OsOs", buf, call, fill ? Py_True : Py_False, name)
		       : NULL;
	bool ok = result != NULL;

	Py_XDECREF(result);
	Py_XDECREF(module);
	return ok;
}

void buffer_move(Py_buffer *to, const Py_buffer *from)
{
	*to = *from;
	if (from->shape == &from->len)
		to->shape = &to->len;
	if (from->strides == &from->itemsize)
		to->strides = &to->itemsize;
}

int buffer_hold_range(PyObject *buf, bool fill, Py_buffer *view)
{
	int access = fill ? PyBUF_WRITABLE : PyBUF_SIMPLE;

	switch (buffer_look(buf, access, view)) {
	case HELD:
		return 1;
	case FAILED:
		return -1;
	case UNKNOWN:
		return 0;
	case FREE_OF_OBJECTS:
		break;
	}
	if (!PyObject_GetBuffer(buf, view, access))
		return 1;
	return buffer_is_refused() ? 0 : -1;
}

bool buffer_hold(PyObject *buf, const char *call, bool fill, Py_buffer *view)
{
	return buffer_hold_named(buf, call, "buf", fill, view);
}

bool buffer_hold_named(PyObject *buf, const char *call, const char *name, bool fill, Py_buffer *view)
{
	int access = fill ? PyBUF_WRITABLE : PyBUF_SIMPLE;

	switch (buffer_look(buf, access, view)) {
	case HELD:
		return true;
	case FAILED:
		return false;
	case UNKNOWN:
		if (!buffer_judge("refuse_objects", buf, call, name, fill))
			return false;
		/* fall through */
	case FREE_OF_OBJECTS:
		break;
	}
	if (!PyObject_GetBuffer(buf, view, access))
		return true;
	if (buffer_is_refused() && buffer_judge("refuse", buf, call, name, fill))
		PyErr_Format(PyExc_BufferError, "%s(buf): %s does not lend its memory", call, name);
	return false;
}
