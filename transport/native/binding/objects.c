/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * objects.c - send() and recv(); see objects.h.
 *
 * A small object is one message, which is written and read in one call, as bytes are. All others are for Python
 * (adma/messages/blocking.py, incoming.py).
 */
#include "binding/objects.h"

#include "binding/arguments.h"
#include "binding/blocking.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/interruption.h"
#include "binding/pickling.h"
#include "binding/request.h"
#include "shm/layout.h"

/* ---- send ---- */

/* Write the pickle in one call. 0: it is published; -ADMA_E_PENDING: not now; or an error of the core. */
static int objects_write(struct adma_chan *chan, PyObject *body)
{
	char *p;
	Py_ssize_t n;

	if (PyBytes_AsStringAndSize(body, &p, &n))
		return -ADMA_E_PENDING;
	return blocking_publish(chan, ADMA_OBJECT, p, (uint64_t)n);
}

/* All of it is one message, which is too long for one call. */
static PyObject *objects_post_pickle(struct caller *caller, PyObject *body, const struct deadline *deadline)
{
	struct transfer transfer = {
		.caller = caller, .endpoint = caller->endpoint, .deadline = *deadline, .verb = "send"};

	if (PyObject_GetBuffer(body, &transfer.view, PyBUF_SIMPLE))
		return NULL;
	return blocking_post(&transfer, ADMA_OBJECT);
}

static PyObject *objects_post_parts(struct caller *caller, PyObject *body, PyObject *parts,
				    const struct deadline *deadline)
{
	PyObject *moment = deadline_object(deadline), *sent = NULL;

	if (moment)
		sent = PyObject_CallMethod(caller->blocking, "send", "OOOO", body, parts, deadline->timeout, moment);
	Py_XDECREF(moment);
	return sent;
}

static PyObject *objects_post(struct caller *caller, PyObject *body, PyObject *parts, const struct deadline *deadline)
{
	int result;

	if (parts)
		return objects_post_parts(caller, body, parts, deadline);
	result = objects_write(caller->endpoint->chan, body);
	if (!result)
		return PyErr_CheckSignals() ? interruption_own_up(caller, false, ADMA_OBJECT, PyBytes_Size(body))
					    : Py_NewRef(Py_None);
	if (result != -ADMA_E_PENDING)
		return endpoint_raise(caller->endpoint, result, 0, NULL);
	return objects_post_pickle(caller, body, deadline);
}

PyObject *objects_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"obj", "timeout"};
	PyObject *values[] = {NULL, Py_None}, *body, *parts, *result;
	struct deadline deadline;

	if (!caller_endpoint(self) || !arguments_parse("send", args, nargs, kwnames, 1, 2, names, values) ||
	    !deadline_begin(&deadline, values[1], "send"))
		return NULL;
	interpreter_let_go();
	body = pickling_dump(values[0], &parts);
	if (!body)
		return NULL;
	result = objects_post(caller_of(self), body, parts, &deadline);
	Py_DECREF(body);
	Py_XDECREF(parts);
	return result;
}

/* ---- recv ---- */

/* Is there an object of which a part has come, or of which another thread is taking one? -1: an exception is set. */
static int objects_any_begun(struct caller *caller)
{
	static PyObject *name;
	PyObject *incoming;
	int any;

	if (!name)
		name = PyUnicode_InternFromString("incoming");
	incoming = name ? PyObject_GetAttr(caller->receiver, name) : NULL;
	any = incoming ? incoming != Py_None : -1;
	Py_XDECREF(incoming);
	return any;
}

/*
 * Read a small object that is there, or comes soon: its bytes, -ADMA_E_PENDING, or an error of the core. What it waits
 * for stays in the ring until signals were looked at, since their exceptions would lose it. PyErr_Occurred() tells.
 */
static int64_t objects_read(struct adma_chan *chan, const struct deadline *deadline, char p[ADMA_EAGER_MAX])
{
	int64_t spin_ns = deadline->now ? 0 : -1;
	int64_t n = adma_try_read_now(chan, ADMA_OBJECT, p, ADMA_EAGER_MAX);

	while (n == -ADMA_E_BUSY || (n == -ADMA_E_PENDING && spin_ns)) {
		BINDING_WITHOUT_GIL(n = adma_read_now(chan, ADMA_OBJECT, p, 0, spin_ns));
		spin_ns = 0;
		if (PyErr_CheckSignals())
			return -ADMA_E_PENDING;
		if (n == -ADMA_E_TOOLONG) /* it is there */
			n = adma_try_read_now(chan, ADMA_OBJECT, p, ADMA_EAGER_MAX);
	}
	return n;
}

/* Take a small object that is there, or comes soon. *done: the result is final. */
static PyObject *objects_take(struct caller *caller, const struct deadline *deadline, bool *done)
{
	char p[ADMA_EAGER_MAX];
	int64_t n = objects_read(caller->endpoint->chan, deadline, p);

	*done = n != -ADMA_E_PENDING || PyErr_Occurred();
	if (!*done || PyErr_Occurred())
		return NULL;
	return n < 0 ? endpoint_raise(caller->endpoint, n, 0, NULL) : pickling_load(p, (Py_ssize_t)n);
}

/* An operation for an object of n bytes, which fills `incoming`'s buffer. NULL: an exception is set. */
static struct operation *objects_reserve(PyObject *incoming, uint64_t n)
{
	PyObject *body = n < PY_SSIZE_T_MAX / 2 ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n) : PyErr_NoMemory();
	struct operation *op = body ? operation_new(request_type, true, ADMA_OBJECT, ADMA_REQ_BLOCKING) : NULL;
	Py_buffer view;

	if (op && !PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)) {
		operation_lend(op, &view); /* nobody else has seen these bytes, so they may be filled */
		if (!PyObject_SetAttrString(incoming, "head", (PyObject *)op) &&
		    !PyObject_SetAttrString(incoming, "head_buffer", body)) {
			Py_DECREF(body);
			return op;
		}
	}
	Py_XDECREF((PyObject *)op);
	Py_XDECREF(body);
	return NULL;
}

PyObject *objects_read_large(PyObject *module, PyObject *args)
{
	PyObject *incoming, *endpoint;
	struct adma_message message;
	struct operation *op;
	int64_t result;
	bool posted;
	int rc;

	(void)module;
	if (!PyArg_ParseTuple(args, "OO!", &incoming, endpoint_type, &endpoint))
		return NULL;
	BINDING_WITHOUT_GIL(rc = adma_peek(endpoint_of(endpoint)->chan, &message));
	if (rc || !message.present || message.kind != ADMA_OBJECT || message.parts)
		Py_RETURN_FALSE;
	op = objects_reserve(incoming, message.nbytes);
	if (!op)
		return NULL;
	op->req.needed = message.nbytes;
	result = blocking_run(endpoint_of(endpoint), op);
	if (result == -ADMA_E_PENDING)
		operation_keep(op, endpoint_of(endpoint));
	posted = op->req.state != ADMA_IDLE_STATE;
	Py_DECREF((PyObject *)op); /* `incoming` has it */
	return PyBool_FromLong(posted);
}

/* All that takes longer. `into`: arrays that the object is received into, or NULL. */
static PyObject *objects_receive(struct caller *caller, const struct deadline *deadline, PyObject *max_bytes,
				 PyObject *into)
{
	const char *method = into ? "receive_into" : "receive_within";
	PyObject *moment = deadline_object(deadline), *object;

	if (!moment)
		return NULL;
	object = PyObject_CallMethod(caller->receiver, method, into ? "OOO" : "OO", moment, max_bytes, into);
	Py_DECREF(moment);
	return object;
}

static bool objects_may_unpickle(struct caller *caller, PyObject *allow)
{
	PyObject *result;
	int allowed = caller->unpickles ? 1 : PyObject_IsTrue(allow);

	if (allowed)
		return allowed > 0; /* otherwise an exception is set */
	result = PyObject_CallMethod(caller->receiver, "refuse_to_unpickle", NULL);
	Py_XDECREF(result);
	return false;
}

PyObject *objects_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"timeout", "max_bytes", "allow_pickle", "into"};
	PyObject *values[] = {Py_None, Py_None, Py_False, Py_None}, *object;
	struct deadline deadline;
	int begun = 1;
	bool done;

	if (nargs > 2)
		return PyErr_Format(PyExc_TypeError, "recv() takes at most 2 positional arguments (%zd given)", nargs);
	if (!caller_reader(self) || !arguments_parse("recv", args, nargs, kwnames, 0, 4, names, values) ||
	    !deadline_begin(&deadline, values[0], "recv") || !objects_may_unpickle(caller_of(self), values[2]))
		return NULL;
	interpreter_let_go();
	if (!pickling_prepare_to_load())
		return NULL;
	if (values[3] != Py_None)
		return objects_receive(caller_of(self), &deadline, values[1], values[3]);
	if (values[1] == Py_None)
		begun = objects_any_begun(caller_of(self));
	if (begun < 0 || PyErr_CheckSignals()) /* before anything is taken */
		return NULL;
	if (!begun) {
		object = objects_take(caller_of(self), &deadline, &done);
		if (done)
			return object;
	}
	return objects_receive(caller_of(self), &deadline, values[1], NULL);
}
