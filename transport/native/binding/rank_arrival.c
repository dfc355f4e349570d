/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_arrival.c - the message of an object, once a receive took it; see rank_arrival.h. */
#include "binding/rank_arrival.h"

#include "binding/rank_pickle.h"
#include "binding/tagged.h"

#define PICKLE_LONG \
	(1 << 20) /* a longer one is Python's, which tells if there is no memory for it, and receives it all the same */

void rank_arrival_keep(PyObject *comm, struct operation *take)
{
	PyObject *type, *value, *trace, *nothing;

	PyErr_Fetch(&type, &value, &trace);
	nothing = PyObject_CallMethod(ranks_python.rest, "keep", "OO", comm, (PyObject *)take);
	if (!nothing)
		PyErr_Clear();
	Py_XDECREF(nothing);
	PyErr_Restore(type, value, trace);
}

void rank_arrival_abandon(struct rank_call *call, struct operation *take)
{
	Py_INCREF((PyObject *)take);
	tagged_withdraw(call->ranks, take);
	if (operation_is_done(take) && !take->req.error && take->req.taken)
		rank_arrival_keep(call->comm, take);
	Py_DECREF((PyObject *)take);
}

/* Receive the message of a take into bytes. False: an exception is set. Steals the reference to the take. */
static bool arrival_into(struct rank_call *call, struct operation *take, const Py_buffer *view)
{
	struct operation *op = tagged_receive_taken(call->ranks, take, view);

	if (!op) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_ConnectionError, "the worker was closed");
		rank_arrival_abandon(call, take);
		return false;
	}
	Py_DECREF((PyObject *)take);
	if (tagged_wait(call->ranks, &op, 1, false) < 0) {
		tagged_withdraw(call->ranks, op);
		return false;
	}
	if (operation_is_done(op) && tagged_settle(op)) {
		Py_DECREF((PyObject *)op);
		return true;
	}
	Py_XDECREF(tagged_leave(call->comm, op, TAGGED_RECEIVE, false, NULL, call->name)); /* raises */
	return !PyErr_Occurred();
}

/* The message of a take, whose reference is stolen. NULL: an exception is set. */
static PyObject *arrival_body(struct rank_call *call, struct operation *take)
{
	PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)take->req.needed);
	Py_buffer view;

	/* Bytes that nobody has seen yet may be filled. */
	if (!body || PyObject_GetBuffer(body, &view, PyBUF_SIMPLE))
		rank_arrival_abandon(call, take);
	else if (arrival_into(call, take, &view))
		return body;
	Py_XDECREF(body);
	return NULL;
}

/* The object of a pickle; one of no bytes is None. What goes wrong is told as other failures of messages. */
static PyObject *arrival_load(struct rank_call *call, PyObject *body)
{
	PyObject *object, *type, *value, *trace, *nothing;

	if (!PyBytes_Size(body))
		return Py_NewRef(Py_None);
	object = rank_pickle_load(body);
	if (object || !PyErr_ExceptionMatches(PyExc_Exception))
		return object;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace)
		(void)PyException_SetTraceback(value, trace);
	nothing = PyObject_CallMethod(ranks_python.rest, "fail", "OO", call->comm, value); /* raises */
	Py_XDECREF(nothing);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(trace);
	return NULL;
}

bool rank_arrival_is_plain(const struct rank_call *call, const struct operation *take, const PyObject *status)
{
	if (take->req.error || !take->req.taken || (take->req.tag & RANKS_OBJECT) || take->req.needed > PICKLE_LONG)
		return false;
	return !status || status == Py_None || ranks_source(call->ranks, take->req.source) >= 0;
}

PyObject *rank_arrival_end(struct rank_call *call, struct operation *take, PyObject *status)
{
	PyObject *body, *object = NULL;

	(void)tagged_settle(take);
	Py_INCREF((PyObject *)take);
	body = arrival_body(call, take);
	if (body && tagged_tell(call->ranks, status, take, take->req.needed) >= 0)
		object = arrival_load(call, body);
	Py_XDECREF(body);
	Py_DECREF((PyObject *)take);
	return rank_call_end(call, object);
}
