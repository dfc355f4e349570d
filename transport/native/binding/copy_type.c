/* SPDX-License-Identifier: BSD-3-Clause */
/* copy_type.c - the type of requests for copies; see copy_type.h. */
#include "binding/copy_type.h"

#include <stdarg.h>
#include <structmember.h>

#include "base/clock.h"
#include "binding/arguments.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "progress/progress.h"

#define COPY_TYPE_SLICE_NS 5000000 /* for how long a call copies and sleeps before it looks at signals */

PyTypeObject *copy_type;
/* Guarded by the GIL. `copy_cast` makes a copy for cffi of an address. */
static PyObject *copy_base, *copy_cast, *copy_engine, *copy_ready;

PyObject *copy_type_call(const char *name, const char *format, ...)
{
	PyObject *function = PyObject_GetAttrString(copy_base, name), *args = NULL, *result = NULL;
	va_list values;

	va_start(values, format);
	if (function)
		args = Py_VaBuildValue(format, values);
	va_end(values);
	if (args)
		result = PyObject_Call(function, args, NULL);
	Py_XDECREF(args);
	Py_XDECREF(function);
	return result;
}

bool copy_type_prepare(void)
{
	PyObject *ready = PyObject_GetAttr(copy_engine, copy_ready);
	PyObject *nothing = NULL;
	bool done = ready == Py_True;

	if (ready && !done)
		nothing = PyObject_CallMethod(copy_engine, "prepare", NULL);
	Py_XDECREF(ready);
	Py_XDECREF(nothing);
	return done || nothing;
}

/* ---- results ---- */

/* It is done, and a caller has seen that. This takes no lock. */
static void copy_note_seen(struct copy_request *request)
{
	if (!__atomic_load_n(&request->copy.times.seen, __ATOMIC_RELAXED))
		(void)adma_copy_check(&request->copy);
}

int64_t copy_type_settle(struct copy_request *request)
{
	PyObject *nothing;

	if (request->nbytes >= 0)
		return request->nbytes;
	copy_note_seen(request);
	copy_request_let_go(request);
	if (!request->copy.error)
		return request->nbytes = (int64_t)request->copy.plan.bytes;
	nothing = copy_type_call("_raise", "(O)", (PyObject *)request);
	Py_XDECREF(nothing);
	return -1;
}

/* ---- waiting ---- */

int64_t copy_type_slice(int64_t deadline_ns)
{
	int64_t left;

	if (deadline_ns == ADMA_NEVER)
		return COPY_TYPE_SLICE_NS;
	left = deadline_ns - adma_now();
	left = left > 0 ? left : 0;
	return left < COPY_TYPE_SLICE_NS ? left : COPY_TYPE_SLICE_NS;
}

/* Wait for a moment. What is left to wait is Python's, which looks at signals, and judges. */
static bool copy_wait(struct copy_request *request, const struct deadline *deadline)
{
	PyObject *moment, *nothing;
	int rc;

	if (copy_request_is_done(request))
		return true;
	BINDING_WITHOUT_GIL(rc = adma_copy_wait_one(&request->copy, copy_type_slice(deadline->ns)));
	if (rc == 1)
		return true;
	moment = deadline_object(deadline);
	nothing = moment ? copy_type_call("_wait_on", "(OiOO)", (PyObject *)request, rc, moment, deadline->timeout)
			 : NULL;
	Py_XDECREF(moment);
	Py_XDECREF(nothing);
	return nothing;
}

bool copy_type_wait(struct copy_request *request, PyObject *timeout)
{
	struct deadline deadline;

	if (!deadline_begin(&deadline, timeout, "wait"))
		return false;
	if (request->nbytes >= 0)
		return true;
	if (!copy_wait(request, &deadline))
		return false;
	interpreter_let_go();
	return true;
}

/* ---- methods ---- */

static PyObject *copy_method_check(PyObject *self, PyObject *nothing)
{
	struct copy_request *request = copy_request_of(self);

	(void)nothing;
	if (request->nbytes >= 0)
		Py_RETURN_TRUE;
	if (!copy_request_is_done(request)) {
		int rc;

		BINDING_WITHOUT_GIL(rc = adma_copy_check(&request->copy));
		if (!rc)
			Py_RETURN_FALSE;
		if (rc < 0)
			return copy_type_call("_judge", "(i)", rc);
	}
	if (copy_type_settle(request) < 0)
		return NULL;
	Py_RETURN_TRUE;
}

static PyObject *copy_method_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct copy_request *request = copy_request_of(self);
	PyObject *timeout = Py_None;
	int64_t nbytes;

	if (!arguments_parse("wait", args, nargs, kwnames, 0, 1, (const char *const[]){"timeout"}, &timeout) ||
	    !copy_type_wait(request, timeout))
		return NULL;
	nbytes = copy_type_settle(request);
	return nbytes < 0 ? NULL : PyLong_FromLongLong(nbytes);
}

static PyObject *copy_method_let_go(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	copy_request_let_go(copy_request_of(self));
	Py_RETURN_NONE;
}

static PyObject *copy_method_keep(PyObject *self, PyObject *dims)
{
	PyObject *before = copy_request_of(self)->dims;

	Py_INCREF(dims);
	copy_request_of(self)->dims = dims;
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static PyObject *copy_tuple_of(const Py_ssize_t *values, int count)
{
	PyObject *tuple = PyTuple_New(count);

	for (int i = 0; tuple && i < count; i++) {
		PyObject *value = PyLong_FromSsize_t(values[i]);

		if (!value || PyTuple_SetItem(tuple, i, value))
			Py_CLEAR(tuple);
	}
	return tuple;
}

/* What Python has to know of an array. Exporters may leave out the strides of arrays in C order. */
static PyObject *copy_layout_of(const Py_buffer *view)
{
	PyObject *address = PyLong_FromVoidPtr(view->buf), *shape = copy_tuple_of(view->shape, view->ndim);
	PyObject *strides = view->strides ? copy_tuple_of(view->strides, view->ndim) : Py_NewRef(Py_None);

	if (address && shape && strides)
		return Py_BuildValue("(NnnNN)", address, view->len, view->itemsize, shape, strides);
	Py_XDECREF(address);
	Py_XDECREF(shape);
	Py_XDECREF(strides);
	return NULL;
}

static PyObject *copy_method_hold(PyObject *self, PyObject *args)
{
	struct copy_request *request = copy_request_of(self);
	PyObject *to, *from, *one, *other;
	Py_buffer dst, src;

	if (!PyArg_ParseTuple(args, "OO", &to, &from))
		return NULL;
	if (request->lends || adma_list_listed(&request->kept))
		return PyErr_Format(PyExc_RuntimeError, "it has buffers already");
	/* Without a format: NumPy has none for datetime64. */
	if (PyObject_GetBuffer(to, &dst, PyBUF_STRIDES | PyBUF_WRITABLE))
		return NULL;
	if (PyObject_GetBuffer(from, &src, PyBUF_STRIDES)) {
		PyBuffer_Release(&dst);
		return NULL;
	}
	copy_request_lend(request, &dst, &src);
	one = copy_layout_of(&dst);
	other = one ? copy_layout_of(&src) : NULL;
	if (other)
		return Py_BuildValue("(NN)", one, other);
	Py_XDECREF(one);
	return NULL;
}

/* ---- what the base class asks for ---- */

static PyObject *copy_get_copy(PyObject *self, void *nothing)
{
	struct copy_request *request = copy_request_of(self);

	(void)nothing;
	if (request->made)
		Py_RETURN_NONE;
	return PyObject_CallFunction(copy_cast, "K", (unsigned long long)(uintptr_t)&request->copy);
}

static PyObject *copy_get_done(PyObject *self, void *nothing)
{
	(void)nothing;
	return PyBool_FromLong(copy_request_is_done(copy_request_of(self)));
}

static PyObject *copy_get_nbytes(PyObject *self, void *nothing)
{
	int64_t nbytes = copy_request_of(self)->nbytes;

	(void)nothing;
	if (nbytes < 0)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(nbytes);
}

static PyObject *copy_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)type, (void)args, (void)kwargs;
	return PyErr_Format(PyExc_TypeError, "requests for copies are made by icopy()");
}

PyObject *copy_type_new(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	return (PyObject *)copy_request_new(copy_type);
}

static PyMethodDef copy_methods[] = {
	{"check", copy_method_check, METH_NOARGS,
	 PyDoc_STR("check($self)\n--\n\n"
		   "Is it done? Makes no system call. (Paper, table 1: adma_checkcopy.)\n\n"
		   "Raises `Cancelled`, or OSError: the engine could not make the copy.")},
	{"wait", BINDING_FAST(copy_method_wait), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("wait($self, timeout=None)\n--\n\n"
		   "Wait until it is done; returns its bytes. (Paper, table 1: adma_waitcopy.)\n\n"
		   "The calling thread helps to copy, unless the engine is configured otherwise. `timeout`\n"
		   "is in seconds; None means no limit. After a TimeoutError, or the exception of a signal\n"
		   "handler, the request is still pending and owns its buffers. Raises as `check` does.")},
	{"_let_go", copy_method_let_go, METH_NOARGS,
	 PyDoc_STR("Give the buffers back to their owners. The engine is through with them.")},
	{"_keep", copy_method_keep, METH_O, PyDoc_STR("It owns the memory that its plan refers to, from now on.")},
	{"_hold", copy_method_hold, METH_VARARGS,
	 PyDoc_STR("Hold dst and src, of any strides; of each the address, bytes, bytes of an element, shape\n"
		   "and strides. The strides are None for an array that tells none.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef copy_getset[] = {
	{"_copy", copy_get_copy, NULL,
	 PyDoc_STR("The core's copy, for cffi, valid as long as this object; None: the call made it itself."), NULL},
	{"_done", copy_get_done, NULL, PyDoc_STR("Is it done, as far as can be seen without making progress?"), NULL},
	{"_nbytes", copy_get_nbytes, NULL,
	 PyDoc_STR("Its bytes, once it was seen to be done without an error; or None."), NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef copy_members[] = {
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct copy_request, weakrefs), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot copy_held_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("The core's copy, and the two buffers that it touches.")},
	{Py_tp_new, copy_create},
	{Py_tp_dealloc, copy_request_dealloc},
	{0, NULL},
};

/* The first base: with it no object is a matter of the collector's, as those of Python's classes are. */
static PyType_Spec copy_held_spec = {
	.name = "adma._core._messages.HeldCopy",
	.basicsize = sizeof(struct copy_request),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = copy_held_slots,
};

static PyType_Slot copy_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("A copy under way inside this process, which `icopy` posted.")},
	{Py_tp_new, copy_create},
	{Py_tp_dealloc, copy_request_dealloc},
	{Py_tp_methods, copy_methods},
	{Py_tp_getset, copy_getset},
	{Py_tp_members, copy_members},
	{0, NULL},
};

static PyType_Spec copy_spec = {
	.name = "adma._core._messages.EngineRequest",
	.basicsize = sizeof(struct copy_request),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = copy_slots,
};

PyObject *copy_type_on(PyObject *module, PyObject *base)
{
	PyObject *held, *bases;

	if (copy_type)
		return PyErr_Format(PyExc_RuntimeError, "the type of requests for copies was made already");
	held = PyType_FromModuleAndSpec(module, &copy_held_spec, NULL);
	bases = held ? PyTuple_Pack(2, held, base) : NULL;
	copy_type = bases ? (PyTypeObject *)PyType_FromModuleAndSpec(module, &copy_spec, bases) : NULL;
	Py_XDECREF(bases);
	Py_XDECREF(held);
	copy_engine = PyObject_GetAttrString(base, "_engine");
	copy_ready = PyUnicode_InternFromString("ready");
	if (!copy_type || !copy_engine || !copy_ready)
		return NULL;
	Py_INCREF(base); /* all for ever */
	copy_base = base;
	return Py_NewRef((PyObject *)copy_type);
}

PyObject *copy_type_cast_by(PyObject *module, PyObject *cast)
{
	(void)module;
	Py_INCREF(cast); /* for ever */
	copy_cast = cast;
	Py_RETURN_NONE;
}
