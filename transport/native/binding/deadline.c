/* SPDX-License-Identifier: BSD-3-Clause */
/* deadline.c - the `timeout` of a call; see deadline.h. */
#include "binding/deadline.h"

#include "base/clock.h"
#include "progress/progress.h"

#define DEADLINE_FOREVER 1e6 /* seconds; adma/arguments.py tells what more than that means */

/* What adma/arguments.py says of a timeout that is no plain number, or not a sensible one. */
static bool deadline_by_python(struct deadline *deadline, const char *call)
{
	PyObject *module = PyImport_ImportModule("adma.arguments");
	PyObject *moment = module ? PyObject_CallMethod(module, "deadline_of", "Os", deadline->timeout, call) : NULL;
	double seconds = moment ? PyFloat_AsDouble(moment) : -1;

	Py_XDECREF(module);
	Py_XDECREF(moment);
	if (PyErr_Occurred())
		return false;
	deadline->ns = (int64_t)(seconds * 1e9);
	return true;
}

/* Seconds of a plain number that is a sensible time; below 0: it is none. */
static double deadline_seconds(PyObject *timeout)
{
	int overflow = 0;
	double seconds;

	if (PyFloat_CheckExact(timeout))
		seconds = PyFloat_AsDouble(timeout);
	else if (PyLong_CheckExact(timeout))
		seconds = (double)PyLong_AsLongAndOverflow(timeout, &overflow);
	else
		return -1;
	return !overflow && seconds >= 0 && seconds < DEADLINE_FOREVER ? seconds : -1; /* also not a number */
}

bool deadline_begin(struct deadline *deadline, PyObject *timeout, const char *call)
{
	double seconds;
	int64_t now;

	*deadline = (struct deadline){.timeout = timeout, .ns = ADMA_NEVER};
	if (timeout == Py_None)
		return true;
	now = adma_now();
	seconds = deadline_seconds(timeout);
	if (seconds >= 0)
		deadline->ns = now + (int64_t)(seconds * 1e9);
	else if (deadline_by_python(deadline, call))
		now = adma_now(); /* it began to count later */
	else
		return false;
	deadline->now = deadline->ns <= now;
	deadline->brief = deadline->ns - now <= DEADLINE_MOMENT_NS;
	return true;
}

PyObject *deadline_object(const struct deadline *deadline)
{
	if (deadline->ns == ADMA_NEVER)
		Py_RETURN_NONE;
	return PyFloat_FromDouble((double)deadline->ns / 1e9);
}

bool deadline_of_object(PyObject *moment, int64_t *ns)
{
	double seconds;

	*ns = ADMA_NEVER;
	if (moment == Py_None)
		return true;
	seconds = PyFloat_AsDouble(moment);
	*ns = (int64_t)(seconds * 1e9);
	return seconds >= 0 || !PyErr_Occurred();
}
