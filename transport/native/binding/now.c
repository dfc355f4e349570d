/* SPDX-License-Identifier: BSD-3-Clause */
/* now.c - a small message that can be moved at once, and neither an exception nor a request if not; see now.h. */
#include "binding/now.h"

#include "binding/arguments.h"
#include "binding/blocking.h"
#include "binding/caller.h"
#include "binding/interpreter.h"
#include "binding/vector.h"
#include "shm/layout.h"

static bool now_hold(const char *call, bool read, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
		     Py_buffer *view, struct vector **vector)
{
	static const char *const names[] = {"buf"};
	PyObject *buf = NULL;

	if (!arguments_parse(call, args, nargs, kwnames, 1, 1, names, &buf))
		return false;
	interpreter_let_go();
	return vector_hold(buf, call, read, view, vector);
}

PyObject *now_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct endpoint *endpoint = caller_reader(self);
	struct vector *vector;
	Py_buffer view;
	uint64_t space;
	int64_t n;

	if (!endpoint || !now_hold("read", true, args, nargs, kwnames, &view, &vector))
		return NULL;
	space = (uint64_t)view.len;
	n = blocking_take(endpoint->chan, view.buf, space, false);
	if (n >= 0)
		vector_spread(vector, view.buf, (uint64_t)n);
	PyBuffer_Release(&view);
	vector_release(vector);
	if (n == -ADMA_E_PENDING)
		Py_RETURN_NONE;
	return n >= 0 ? PyLong_FromLongLong(n) : endpoint_raise(endpoint, n, space, NULL);
}

PyObject *now_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct endpoint *endpoint = caller_endpoint(self);
	struct vector *vector;
	Py_buffer view;
	int result;

	if (!endpoint || !now_hold("write", false, args, nargs, kwnames, &view, &vector))
		return NULL;
	result = blocking_publish(endpoint->chan, ADMA_BYTES, view.buf, (uint64_t)view.len);
	PyBuffer_Release(&view);
	vector_release(vector);
	if (result && result != -ADMA_E_PENDING)
		return endpoint_raise(endpoint, result, 0, NULL);
	return PyBool_FromLong(!result);
}
