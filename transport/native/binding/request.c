/* SPDX-License-Identifier: BSD-3-Clause */
/* request.c - requests for messages under way; see request.h. */
#include "binding/request.h"

#include "binding/arguments.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/wait_loop.h"
#include "shm/layout.h"

PyTypeObject *request_type;
static PyObject *request_base;

/* Call a method of the base class, as Python's super() would. Steals the reference to `argument`, which may be NULL. */
static PyObject *request_super(const char *name, PyObject *self, PyObject *argument)
{
	PyObject *method = PyObject_GetAttrString(request_base, name);
	PyObject *result = method ? PyObject_CallFunctionObjArgs(method, self, argument, NULL) : NULL;

	Py_XDECREF(method);
	Py_XDECREF(argument);
	return result;
}

int64_t request_settle(struct operation *op)
{
	PyObject *result;

	if (op->nbytes >= 0)
		return op->nbytes;
	operation_observe(op); /* this takes the lock of the channel. So what is read below was written before */
	(void)operation_let_go_if_done(op);
	interpreter_let_go();
	if (!op->req.error)
		return op->nbytes = (int64_t)op->req.done_bytes;
	result = request_super("_settle", (PyObject *)op, NULL); /* raises */
	Py_XDECREF(result);
	return -1;
}

/* ---- methods ---- */

static struct adma_chan *request_chan(const struct operation *op)
{
	return op->endpoint ? op->endpoint->chan : NULL;
}

static PyObject *request_check(PyObject *self, PyObject *nothing)
{
	struct operation *op = operation_of(self);
	struct adma_chan *chan = request_chan(op);

	(void)nothing;
	if (op->nbytes >= 0)
		Py_RETURN_TRUE;
	if (!operation_is_done(op)) {
		int state;

		BINDING_WITHOUT_GIL(state = adma_check(chan, &op->req));
		if (!operation_is_done(op)) {
			interpreter_let_go();
			if (state < 0)
				return endpoint_raise(op->endpoint, state, 0, NULL);
			Py_RETURN_FALSE;
		}
	}
	if (request_settle(op) < 0)
		return NULL;
	Py_RETURN_TRUE;
}

static PyObject *request_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct operation *op = operation_of(self);
	PyObject *timeout = Py_None;
	struct deadline deadline;
	int64_t nbytes;

	if (!arguments_parse("wait", args, nargs, kwnames, 0, 1, (const char *const[]){"timeout"}, &timeout) ||
	    !deadline_begin(&deadline, timeout, "wait"))
		return NULL;
	if (op->nbytes < 0 && !operation_is_done(op)) {
		int found = wait_loop_run_one(request_chan(op), &op->req, deadline.ns);

		if (found < 0)
			return NULL;
		if (!found) {
			Py_INCREF(timeout);
			return request_super("_late", self, timeout);
		}
	}
	nbytes = request_settle(op);
	return nbytes < 0 ? NULL : PyLong_FromLongLong(nbytes);
}

static PyObject *request_seen(PyObject *self, PyObject *nothing)
{
	struct operation *op = operation_of(self);

	(void)nothing;
	if (op->nbytes < 0 && operation_is_done(op))
		operation_observe(op);
	Py_RETURN_NONE;
}

static PyObject *request_let_go(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	(void)operation_let_go_if_done(operation_of(self));
	Py_RETURN_NONE;
}

static PyObject *request_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)type, (void)args, (void)kwargs;
	return PyErr_Format(PyExc_TypeError, "requests are made by the calls of a channel: iread() and iwrite()");
}

/* ---- what the base class asks for ---- */

static PyObject *request_get_done(PyObject *self, void *nothing)
{
	(void)nothing;
	return PyBool_FromLong(operation_is_done(operation_of(self)));
}

static PyObject *request_get_operations(PyObject *self, void *nothing)
{
	(void)nothing;
	return PyTuple_Pack(1, self);
}

static PyObject *request_get_endpoint(PyObject *self, void *nothing)
{
	PyObject *endpoint = (PyObject *)operation_of(self)->endpoint;

	(void)nothing;
	if (!endpoint)
		endpoint = Py_None;
	Py_INCREF(endpoint);
	return endpoint;
}

static PyObject *request_get_verb(PyObject *self, void *nothing)
{
	const struct adma_req *req = &operation_of(self)->req;
	bool object = req->kind == ADMA_OBJECT;

	(void)nothing;
	if (req->is_read)
		return PyUnicode_FromString(object ? "recv" : "read");
	return PyUnicode_FromString(object ? "send" : "write");
}

static PyObject *request_get_nbytes(PyObject *self, void *nothing)
{
	int64_t nbytes = operation_of(self)->nbytes;

	(void)nothing;
	if (nbytes < 0)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(nbytes);
}

static int request_set_nbytes(PyObject *self, PyObject *value, void *nothing)
{
	(void)nothing;
	if (!value) {
		PyErr_SetString(PyExc_AttributeError, "_nbytes cannot be deleted");
		return -1;
	}
	operation_of(self)->nbytes = PyLong_AsLongLong(value);
	return PyErr_Occurred() ? -1 : 0;
}

static PyMethodDef request_methods[] = {
	{"check", request_check, METH_NOARGS,
	 PyDoc_STR("check($self)\n--\n\n"
		   "Is it done? Never blocks, but may copy for a moment. (Paper, table 2: adma_check.)\n\n"
		   "It copies only what is in memory, and leaves the rest to a thread of the library: a\n"
		   "page may be slow to come.\n\n"
		   "Raises the request's own error: `MessageTooLong`, `WrongKind`, `Cancelled`,\n"
		   "`ChannelClosed`, `PeerDied`, or the OSError of a copy that failed.")},
	{"wait", BINDING_FAST(request_wait), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("wait($self, timeout=None)\n--\n\n"
		   "Wait until it is done; returns the message's bytes. (Paper, table 2: adma_wait.)\n\n"
		   "`timeout` is in seconds; None means no limit. After a TimeoutError, or the exception of\n"
		   "a signal handler, the request is still pending and owns its buffer. Raises the\n"
		   "request's own error, as `check` does.")},
	{"_seen", request_seen, METH_NOARGS, PyDoc_STR("A call has reported it as done: a program was told.")},
	{"_let_go", request_let_go, METH_NOARGS, PyDoc_STR("Give the buffer back to its owner, if it is done.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef request_getset[] = {
	{"_done", request_get_done, NULL, PyDoc_STR("Is it done, as far as can be seen without making progress?"),
	 NULL},
	{"_operations", request_get_operations, NULL, PyDoc_STR("The request itself, which is its one operation."),
	 NULL},
	{"_endpoint", request_get_endpoint, NULL, PyDoc_STR("The end of the channel on which it was posted."), NULL},
	{"_verb", request_get_verb, NULL, PyDoc_STR("What it does, for people: \"read\" or \"write\"."), NULL},
	{"_nbytes", request_get_nbytes, request_set_nbytes,
	 PyDoc_STR("The message's bytes, once it was seen to be done without an error; or None."), NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot request_slots[] = {
	{Py_tp_doc,
	 (void *)PyDoc_STR("A read or a write under way, which `Channel.iread` or `Channel.iwrite` posted.")},
	{Py_tp_new, request_create},
	{Py_tp_methods, request_methods},
	{Py_tp_getset, request_getset},
	{0, NULL},
};

static PyType_Spec request_spec = {
	.name = "adma._core._messages.MessageRequest",
	.basicsize = sizeof(struct operation),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = request_slots,
};

PyObject *request_type_on(PyObject *module, PyObject *base)
{
	PyObject *bases;

	if (request_type) {
		PyErr_SetString(PyExc_RuntimeError, "the type of requests was made already");
		return NULL;
	}
	bases = PyTuple_Pack(2, (PyObject *)operation_type, base);
	if (!bases)
		return NULL;
	request_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &request_spec, bases);
	Py_DECREF(bases);
	Py_INCREF(base);
	request_base = base;
	Py_XINCREF((PyObject *)request_type);
	return (PyObject *)request_type;
}
