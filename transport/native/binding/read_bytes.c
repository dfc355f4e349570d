/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read_bytes.c - read_bytes(); see read_bytes.h.
 *
 * A small message is read in one call, as read() does. The others are for Python (adma/messages/blocking.py), which makes
 * a buffer of the size of the message once there is one.
 */
#include "binding/read_bytes.h"

#include "binding/arguments.h"
#include "binding/caller.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "shm/layout.h"

/* How long a message may be that is read here. -1: that is for Python to judge. */
static int64_t read_bytes_space(PyObject *max_bytes)
{
	int overflow = 0;
	long long limit;

	if (max_bytes == Py_None)
		return ADMA_EAGER_MAX;
	if (!PyLong_CheckExact(max_bytes))
		return -1;
	limit = PyLong_AsLongLongAndOverflow(max_bytes, &overflow);
	if (overflow || limit < 0)
		return -1;
	return limit < ADMA_EAGER_MAX ? limit : ADMA_EAGER_MAX;
}

/*
 * Read a small message that is there, or comes soon. What it waits for stays in the ring until signals were looked at, since
 * their exceptions would lose it. Only an empty message fits into no space, and is taken at once. -ADMA_E_PENDING: nothing
 * was done.
 */
static int64_t read_bytes_now(struct adma_chan *chan, const struct deadline *deadline, char *p, uint64_t space)
{
	int64_t n = adma_try_read_now(chan, ADMA_BYTES, p, space);

	if (n != -ADMA_E_BUSY && (n != -ADMA_E_PENDING || deadline->now))
		return n;
	BINDING_WITHOUT_GIL(n = adma_read_now(chan, ADMA_BYTES, p, 0, deadline->now ? 0 : -1));
	if (n == -ADMA_E_KIND || n >= 0)
		return n;
	if (PyErr_CheckSignals())
		return -ADMA_E_PENDING;
	n = adma_try_read_now(chan, ADMA_BYTES, p, space);
	return n == -ADMA_E_BUSY ? -ADMA_E_PENDING : n;
}

static PyObject *read_bytes_later(struct caller *caller, const struct deadline *deadline, PyObject *max_bytes)
{
	PyObject *moment = deadline_object(deadline), *found = NULL;

	if (moment)
		found = PyObject_CallMethod(caller->blocking, "read_bytes", "OOO", deadline->timeout, moment,
					    max_bytes);
	Py_XDECREF(moment);
	return found;
}

PyObject *read_bytes(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"max_bytes", "timeout"};
	PyObject *values[] = {Py_None, Py_None};
	struct caller *caller = caller_of(self);
	struct deadline deadline;
	char p[ADMA_EAGER_MAX];
	int64_t n, space;

	if (!caller_reader(self) || !arguments_parse("read_bytes", args, nargs, kwnames, 0, 2, names, values) ||
	    !deadline_begin(&deadline, values[1], "read_bytes"))
		return NULL;
	interpreter_let_go();
	if (PyErr_CheckSignals()) /* before anything is taken */
		return NULL;
	space = read_bytes_space(values[0]);
	if (space < 0)
		return read_bytes_later(caller, &deadline, values[0]);
	n = read_bytes_now(caller->endpoint->chan, &deadline, p, (uint64_t)space);
	if (PyErr_Occurred())
		return NULL;
	if (n >= 0)
		return PyBytes_FromStringAndSize(p, (Py_ssize_t)n);
	/* What is too long for here, or is not there, is judged with the limit as it was given. */
	if (n == -ADMA_E_PENDING || n == -ADMA_E_TOOLONG)
		return read_bytes_later(caller, &deadline, values[0]);
	return endpoint_raise(caller->endpoint, n, 0, NULL);
}
