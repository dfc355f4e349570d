/* SPDX-License-Identifier: BSD-3-Clause */
/* arguments.h - the arguments of a call, by position or by name. */
#ifndef ADMA_BINDING_ARGUMENTS_H
#define ADMA_BINDING_ARGUMENTS_H

#include "binding/python.h"

/*
 * Sort the arguments of a method of METH_FASTCALL | METH_KEYWORDS into values[], borrowed, by their names. The first
 * `required` of the `count` have to be given; the others keep what values[] has. False: a TypeError is set, in Python's
 * own words.
 */
bool arguments_parse(const char *call, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int required,
		     int count, const char *const names[], PyObject **values);

/*
 * Call what `object` has by this name with the arguments of a call, after `first` unless that is NULL: Python does what is not
 * for here.
 */
PyObject *arguments_pass_on(PyObject *object, const char *name, PyObject *first, PyObject *const *args,
			    Py_ssize_t nargs, PyObject *kwnames);

#endif
