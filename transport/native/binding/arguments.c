/* SPDX-License-Identifier: BSD-3-Clause */
/* arguments.c - the arguments of a call; see arguments.h. */
#include "binding/arguments.h"

static int arguments_find(PyObject *name, int count, const char *const names[])
{
	for (int i = 0; i < count; i++)
		if (!PyUnicode_CompareWithASCIIString(name, names[i]))
			return i;
	return -1;
}

static bool arguments_by_name(const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int count,
			      const char *const names[], PyObject **values)
{
	Py_ssize_t given = PyTuple_Size(kwnames);

	for (Py_ssize_t i = 0; i < given; i++) {
		PyObject *name = PyTuple_GetItem(kwnames, i);
		int at = arguments_find(name, count, names);

		if (at < 0) {
			PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", call, name);
			return false;
		}
		if (at < nargs) {
			PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", call, names[at]);
			return false;
		}
		values[at] = args[nargs + i];
	}
	return true;
}

bool arguments_parse(const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int required,
		     int count, const char *const names[], PyObject **values)
{
	if (nargs > count) {
		PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)", call, count, nargs);
		return false;
	}
	for (Py_ssize_t i = 0; i < nargs; i++)
		values[i] = args[i];
	if (kwnames && !arguments_by_name(call, args, nargs, kwnames, count, names, values))
		return false;
	for (int i = 0; i < required; i++) {
		if (values[i])
			continue;
		PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", call, names[i]);
		return false;
	}
	return true;
}

/* The arguments as a tuple, after `first` unless that is NULL. */
static PyObject *arguments_tuple(PyObject *first, PyObject *const *args, Py_ssize_t nargs)
{
	Py_ssize_t at = 0;
	PyObject *tuple = PyTuple_New(nargs + (first != NULL));

	if (!tuple)
		return NULL;
	if (first)
		(void)PyTuple_SetItem(tuple, at++, Py_NewRef(first));
	for (Py_ssize_t i = 0; i < nargs; i++)
		(void)PyTuple_SetItem(tuple, at++, Py_NewRef(args[i]));
	return tuple;
}

/* Those that were named, as a dictionary. */
static PyObject *arguments_named(PyObject *const *named, PyObject *kwnames)
{
	PyObject *dict = PyDict_New();
	Py_ssize_t count = kwnames ? PyTuple_Size(kwnames) : 0;

	for (Py_ssize_t i = 0; dict && i < count; i++)
		if (PyDict_SetItem(dict, PyTuple_GetItem(kwnames, i), named[i]))
			Py_CLEAR(dict);
	return dict;
}

PyObject *arguments_pass_on(PyObject *object, const char *name, PyObject *first, PyObject *const *args,
			    Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *callable = PyObject_GetAttrString(object, name);
	PyObject *tuple = callable ? arguments_tuple(first, args, nargs) : NULL;
	PyObject *dict = tuple ? arguments_named(args + nargs, kwnames) : NULL;
	PyObject *result = dict ? PyObject_Call(callable, tuple, dict) : NULL;

	Py_XDECREF(dict);
	Py_XDECREF(tuple);
	Py_XDECREF(callable);
	return result;
}
