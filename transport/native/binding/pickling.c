/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pickling.c - objects as bytes; see pickling.h.
 *
 * To make a pickler takes longer than to pickle a small object. So there is a spare one, which is used again. It remembers
 * nothing of an object that it has pickled.
 */
#include "binding/pickling.h"

#define PICKLING_PROTOCOL 5
/*
 * After so long a pickle the pickler goes. Its memo has grown with the pickle, would stay so large, and is cleared as a whole
 * after each object: a small one would pay for a long one before it. To make another takes 1.5 us, and to pickle so much several
 * times that.
 */
#define PICKLING_SPARE_MAX 1024

struct pickler {
	PyObject *dump, *clear; /* two methods of a pickle.Pickler */
	PyObject *chunks;       /* what it has written, a list of bytes */
	PyObject *parts;        /* the buffers that it has left outside */
};

/* All of this is guarded by the GIL. */
static Py_ssize_t out_of_band_from = PY_SSIZE_T_MAX; /* bytes */
static Py_ssize_t parts_max;
static struct pickler spare; /* nothing, while it is in use: pickling runs code of the program's, and other threads */
static PyObject *pickling_loads;

PyObject *pickling_limits(PyObject *module, PyObject *args)
{
	(void)module;
	if (!PyArg_ParseTuple(args, "nn", &out_of_band_from, &parts_max))
		return NULL;
	Py_RETURN_NONE;
}

/* ---- what a pickler calls ---- */

/* Its file: each chunk is kept as it is now. */
static PyObject *pickling_write(PyObject *chunks, PyObject *chunk)
{
	PyObject *bytes = PyBytes_CheckExact(chunk) ? Py_NewRef(chunk) : PyBytes_FromObject(chunk);
	int rc = bytes ? PyList_Append(chunks, bytes) : -1;

	Py_XDECREF(bytes);
	return rc ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef pickling_write_def = {"write", pickling_write, METH_O, NULL};

static Py_ssize_t pickling_nbytes(PyObject *view)
{
	PyObject *nbytes = PyObject_GetAttrString(view, "nbytes");
	Py_ssize_t result = nbytes ? PyLong_AsSsize_t(nbytes) : -1;

	Py_XDECREF(nbytes);
	return result;
}

/* What pickle asks of each buffer: shall it be pickled with the rest? Otherwise it joins the parts. */
static PyObject *pickling_in_band(PyObject *parts, PyObject *buffer)
{
	PyObject *raw = PyObject_CallMethod(buffer, "raw", NULL);
	Py_ssize_t nbytes;
	int rc;

	if (!raw) {
		if (!PyErr_ExceptionMatches(PyExc_BufferError))
			return NULL;
		PyErr_Clear(); /* it is not contiguous: pickle copies it */
		Py_RETURN_TRUE;
	}
	nbytes = pickling_nbytes(raw);
	if (nbytes < 0 || nbytes < out_of_band_from || PyList_Size(parts) >= parts_max) {
		Py_DECREF(raw);
		return nbytes < 0 ? NULL : Py_NewRef(Py_True);
	}
	rc = PyList_Append(parts, raw);
	Py_DECREF(raw);
	return rc ? NULL : Py_NewRef(Py_False);
}

static PyMethodDef pickling_in_band_def = {"in_band", pickling_in_band, METH_O, NULL};

/* ---- picklers ---- */

static void pickler_drop(struct pickler *pickler)
{
	Py_CLEAR(pickler->dump);
	Py_CLEAR(pickler->clear);
	Py_CLEAR(pickler->chunks);
	Py_CLEAR(pickler->parts);
}

/* Call something that a module has. */
static PyObject *pickling_call(const char *module_name, const char *name, PyObject *args, PyObject *kwargs)
{
	PyObject *module = PyImport_ImportModule(module_name);
	PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL;
	PyObject *result = function ? PyObject_Call(function, args, kwargs) : NULL;

	Py_XDECREF(function);
	Py_XDECREF(module);
	return result;
}

/* An object whose write() appends to the chunks. */
static PyObject *pickler_file(PyObject *chunks)
{
	PyObject *write = PyCFunction_NewEx(&pickling_write_def, chunks, NULL);
	PyObject *none = PyTuple_New(0), *kwargs = write ? Py_BuildValue("{s:O}", "write", write) : NULL;
	PyObject *file = none && kwargs ? pickling_call("types", "SimpleNamespace", none, kwargs) : NULL;

	Py_XDECREF(kwargs);
	Py_XDECREF(none);
	Py_XDECREF(write);
	return file;
}

/* A pickle.Pickler that writes to the chunks and asks about buffers. */
static PyObject *pickler_object(struct pickler *pickler)
{
	PyObject *file = pickler_file(pickler->chunks);
	PyObject *callback = PyCFunction_NewEx(&pickling_in_band_def, pickler->parts, NULL);
	PyObject *args = file && callback ? Py_BuildValue("(OiOO)", file, PICKLING_PROTOCOL, Py_True, callback) : NULL;
	PyObject *object = args ? pickling_call("pickle", "Pickler", args, NULL) : NULL;

	Py_XDECREF(args);
	Py_XDECREF(callback);
	Py_XDECREF(file);
	return object;
}

/* False: an exception is set. */
static bool pickler_make(struct pickler *pickler)
{
	PyObject *object;

	pickler->chunks = PyList_New(0);
	pickler->parts = PyList_New(0);
	object = pickler->chunks && pickler->parts ? pickler_object(pickler) : NULL;
	if (object) {
		pickler->dump = PyObject_GetAttrString(object, "dump");
		pickler->clear = PyObject_GetAttrString(object, "clear_memo");
	}
	Py_XDECREF(object);
	return pickler->dump && pickler->clear;
}

/* Take what a list has, of which others know: a new list, or NULL. */
static PyObject *pickler_take(PyObject *list)
{
	Py_ssize_t count = PyList_Size(list);
	PyObject *taken = PyList_GetSlice(list, 0, count);

	if (taken && PyList_SetSlice(list, 0, count, NULL))
		Py_CLEAR(taken);
	return taken;
}

static PyObject *pickler_join(PyObject *chunks)
{
	PyObject *nothing = PyBytes_FromStringAndSize(NULL, 0);
	PyObject *body = nothing ? PyObject_CallMethod(nothing, "join", "O", chunks) : NULL;

	Py_XDECREF(nothing);
	return body;
}

/* What it has written, as one. Most of the time it is one. */
static PyObject *pickler_body(const struct pickler *pickler)
{
	Py_ssize_t count = PyList_Size(pickler->chunks);
	PyObject *body = count == 1 ? Py_NewRef(PyList_GetItem(pickler->chunks, 0)) : pickler_join(pickler->chunks);

	if (body && PyList_SetSlice(pickler->chunks, 0, count, NULL))
		Py_CLEAR(body);
	return body;
}

static PyObject *pickler_run(const struct pickler *pickler, PyObject *object, PyObject **parts)
{
	PyObject *nothing = PyObject_CallFunctionObjArgs(pickler->dump, object, NULL);
	PyObject *body = nothing ? pickler_body(pickler) : NULL;

	Py_XDECREF(nothing);
	if (!body || !PyList_Size(pickler->parts))
		return body;
	*parts = pickler_take(pickler->parts);
	if (!*parts)
		Py_CLEAR(body);
	return body;
}

/* It has pickled something: use it again, unless another one was kept meanwhile. Clearing may run code of the program's. */
static void pickler_keep(struct pickler *pickler)
{
	PyObject *nothing = PyObject_CallNoArgs(pickler->clear);

	if (!nothing)
		PyErr_Clear(); /* it goes */
	if (nothing && !spare.dump)
		spare = *pickler;
	else
		pickler_drop(pickler);
	Py_XDECREF(nothing);
}

PyObject *pickling_dump(PyObject *object, PyObject **parts)
{
	struct pickler pickler = spare;
	PyObject *body = NULL;

	spare = (struct pickler){NULL, NULL, NULL, NULL};
	*parts = NULL;
	if (pickler.dump || pickler_make(&pickler))
		body = pickler_run(&pickler, object, parts);
	if (body && PyBytes_Size(body) <= PICKLING_SPARE_MAX)
		pickler_keep(&pickler);
	else
		pickler_drop(&pickler);
	return body;
}

PyObject *pickling_dump_object(PyObject *module, PyObject *object)
{
	PyObject *parts, *body = pickling_dump(object, &parts);

	(void)module;
	if (body && !parts)
		parts = PyList_New(0);
	if (body && parts)
		return Py_BuildValue("(NN)", body, parts);
	Py_XDECREF(body);
	return NULL;
}

/* ---- unpickling ---- */

bool pickling_prepare_to_load(void)
{
	PyObject *module;

	if (pickling_loads)
		return true;
	module = PyImport_ImportModule("pickle");
	if (module)
		pickling_loads = PyObject_GetAttrString(module, "loads");
	Py_XDECREF(module);
	return pickling_loads;
}

PyObject *pickling_load(const char *p, Py_ssize_t n)
{
	PyObject *body = PyBytes_FromStringAndSize(p, n);
	PyObject *object = body ? PyObject_CallFunctionObjArgs(pickling_loads, body, NULL) : NULL;

	Py_XDECREF(body);
	return object;
}
