/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_pickle.c - is MPI.pickle Python's own pickling? See rank_pickle.h. */
#include "binding/rank_pickle.h"

static PyObject *mpi_pickle, *standard_dumps, *standard_loads, *get_referents; /* for ever */

PyObject *rank_pickle_by(PyObject *module, PyObject *args)
{
	PyObject *gc;

	(void)module;
	if (!PyArg_ParseTuple(args, "OOO", &mpi_pickle, &standard_dumps, &standard_loads))
		return NULL;
	Py_INCREF(mpi_pickle);
	Py_INCREF(standard_dumps);
	Py_INCREF(standard_loads);
	gc = PyImport_ImportModule("gc");
	get_referents = gc ? PyObject_GetAttrString(gc, "get_referents") : NULL;
	Py_XDECREF(gc);
	return get_referents ? Py_NewRef(Py_None) : NULL;
}

static bool list_has(PyObject *list, const PyObject *item)
{
	for (Py_ssize_t i = PyList_Size(list); i-- > 0;)
		if (PyList_GetItem(list, i) == item)
			return true;
	return false;
}

/* Does MPI.pickle use Python's functions? It does not show them. But it holds them, and the collector tells what it holds. */
static bool pickle_has_standard_functions(void)
{
	PyObject *held = PyObject_CallFunctionObjArgs(get_referents, mpi_pickle, NULL);
	bool standard =
		held && PyList_CheckExact(held) && list_has(held, standard_dumps) && list_has(held, standard_loads);

	Py_XDECREF(held);
	return standard;
}

/* With protocol 5. What goes wrong here is no exception: Python does it then, and meets it as well. */
bool rank_pickle_is_standard(void)
{
	static PyObject *name;
	PyObject *protocol;
	bool standard;

	if (!name)
		name = PyUnicode_InternFromString("PROTOCOL");
	protocol = mpi_pickle && name ? PyObject_GetAttr(mpi_pickle, name) : NULL;
	standard = protocol && PyLong_CheckExact(protocol) && PyLong_AsLong(protocol) == 5 &&
		   pickle_has_standard_functions();
	Py_XDECREF(protocol);
	if (!standard)
		PyErr_Clear();
	return standard;
}

PyObject *rank_pickle_load(PyObject *body)
{
	return PyObject_CallFunctionObjArgs(standard_loads, body, NULL);
}
