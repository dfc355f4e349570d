/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank_objects.c - the compiled calls of communicators: objects; see rank_objects.h.
 *
 * An object without large buffers is one message, its pickle. It is received as every object is: a receive takes the message
 * whole, which tells how long it is, and then it is received into memory of its size.
 */
#include "binding/rank_objects.h"

#include "binding/pickling.h"
#include "binding/rank_call.h"
#include "binding/rank_request.h"
#include "binding/tagged.h"

#define PICKLE_LONG \
	(1 << 20) /* a longer one is Python's, which tells if there is no memory for it, and receives it all the same */

static PyObject *mpi_pickle, *standard_dumps, *standard_loads, *get_referents; /* for ever */

PyObject *rank_objects_pickle_by(PyObject *module, PyObject *args)
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

/* ---- is pickling the standard one? ---- */

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
static bool pickle_is_standard(void)
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

/* ---- sends ---- */

/* It has buffers that travel by themselves. Returns what the call returns. */
static PyObject *send_parts(struct rank_call *call, PyObject *body, PyObject *parts, PyObject *const *values)
{
	PyObject *result = PyObject_CallMethod(ranks_python.rest, "send_parts", "OOOOOs", call->comm, body, parts,
					       values[1], values[2] ? values[2] : Py_None, call->name);

	return rank_call_end(call, result);
}

/* Post the pickle. NULL: an exception is set, or Python has to. */
static struct operation *send_body(struct rank_call *call, PyObject *body, const struct rank *rank, uint64_t wire,
				   uint8_t flags)
{
	Py_buffer view;

	if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE))
		return NULL;
	return tagged_send(call->ranks, rank, wire, &view, (uint64_t)view.len, flags);
}

/* Pickle and post. The operation; or NULL, and then *result is what the call returns: the call has ended. */
static struct operation *send_object(struct rank_call *call, PyObject *const *values, uint8_t flags, PyObject **result)
{
	const struct rank *rank = call->ranks ? ranks_dest(call->ranks, values[1]) : NULL;
	PyObject *body, *parts = NULL;
	struct operation *op = NULL;
	uint64_t wire;

	if (!rank || !ranks_tag(call->ranks, values[2], &wire) || !pickle_is_standard()) {
		*result = rank_call_pass_on(call);
		return NULL;
	}
	body = pickling_dump(values[0], &parts);
	if (body && !parts)
		op = send_body(call, body, rank, wire, flags);
	if (!body || (!op && PyErr_Occurred()))
		*result = rank_call_end(call, NULL);
	else if (!op) /* also what the worker refuses: Python has the pickle, and sends it or tells why not */
		*result = send_parts(call, body, parts ? parts : Py_None, values);
	Py_XDECREF(parts);
	Py_XDECREF(body);
	return op;
}

static const char *const send_names[] = {"obj", "dest", "tag", "timeout"};
static const struct rank_call_form send_form = {send_names, 3, 4, 2}, isend_form = {send_names, 3, 3, 2};

PyObject *rank_objects_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"send", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES], *result;
	struct operation *op;

	if (!rank_call_begin(&call, &send_form, values))
		return NULL;
	op = send_object(&call, values, TAGGED_NOW, &result);
	if (!op)
		return result;
	if (tagged_wait(call.ranks, &op, 1, false) < 0) {
		tagged_withdraw(call.ranks, op);
		return rank_call_end(&call, NULL);
	}
	if (!operation_is_done(op) || !tagged_settle(op))
		return rank_call_end(&call, tagged_leave(self, op, TAGGED_SEND, false, NULL, call.name));
	Py_DECREF((PyObject *)op);
	return rank_call_end(&call, Py_NewRef(Py_None));
}

PyObject *rank_objects_isend(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"isend", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES], *result;
	struct operation *op;

	if (!rank_call_begin(&call, &isend_form, values))
		return NULL;
	op = send_object(&call, values, TAGGED_LATER, &result);
	if (!op)
		return result;
	return rank_call_end(&call, rank_request_new(call.ranks, self, op, TAGGED_SEND, false));
}

/* ---- receives ---- */

/* An exception is set, and nobody gets the message that a take took: Python receives it all the same. Steals the reference. */
static void recv_abandon(struct rank_call *call, struct operation *take)
{
	PyObject *type, *value, *trace, *nothing;

	Py_INCREF((PyObject *)take);
	tagged_withdraw(call->ranks, take);
	if (operation_is_done(take) && !take->req.error && take->req.taken) {
		PyErr_Fetch(&type, &value, &trace);
		nothing = PyObject_CallMethod(ranks_python.rest, "keep", "OO", call->comm, (PyObject *)take);
		if (!nothing)
			PyErr_Clear();
		Py_XDECREF(nothing);
		PyErr_Restore(type, value, trace);
	}
	Py_DECREF((PyObject *)take);
}

/* Receive the message of a take into bytes. False: an exception is set. Steals the reference to the take. */
static bool recv_into(struct rank_call *call, struct operation *take, const Py_buffer *view)
{
	struct operation *op = tagged_receive_taken(call->ranks, take, view);

	if (!op) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_ConnectionError, "the worker was closed");
		recv_abandon(call, take);
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
static PyObject *recv_body(struct rank_call *call, struct operation *take)
{
	PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)take->req.needed);
	Py_buffer view;

	/* Bytes that nobody has seen yet may be filled. */
	if (!body || PyObject_GetBuffer(body, &view, PyBUF_SIMPLE))
		recv_abandon(call, take);
	else if (recv_into(call, take, &view))
		return body;
	Py_XDECREF(body);
	return NULL;
}

/* The object of a pickle; one of no bytes is None. What goes wrong is told as other failures of messages. */
static PyObject *recv_load(struct rank_call *call, PyObject *body)
{
	PyObject *object, *type, *value, *trace, *nothing;

	if (!PyBytes_Size(body))
		return Py_NewRef(Py_None);
	object = PyObject_CallFunctionObjArgs(standard_loads, body, NULL);
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

/* Is this an object for here: a pickle that is not long, and without parts? */
static bool recv_is_plain(const struct operation *take)
{
	return !take->req.error && take->req.taken && !(take->req.tag & RANKS_OBJECT) &&
	       take->req.needed <= PICKLE_LONG;
}

/* Can the status, if there is one, be told of this message? */
static bool recv_knows(const struct rank_call *call, const struct operation *take, const PyObject *status)
{
	return !status || status == Py_None || ranks_source(call->ranks, take->req.source) >= 0;
}

/* The take is done. Steals the reference to it; ends the call. */
static PyObject *recv_end(struct rank_call *call, struct operation *take, PyObject *status)
{
	PyObject *body, *object = NULL;

	(void)tagged_settle(take);
	Py_INCREF((PyObject *)take);
	body = recv_body(call, take);
	if (body && tagged_tell(call->ranks, status, take, take->req.needed) >= 0)
		object = recv_load(call, body);
	Py_XDECREF(body);
	Py_DECREF((PyObject *)take);
	return rank_call_end(call, object);
}

static const char *const recv_names[] = {"buf", "source", "tag", "status", "timeout"};
static const struct rank_call_form recv_form = {recv_names, 4, 5, 0};

PyObject *rank_objects_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"recv", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *take = NULL;
	struct ranks_from from;

	if (!rank_call_begin(&call, &recv_form, values))
		return NULL;
	if (call.ranks && (!values[0] || values[0] == Py_None) && ranks_from(call.ranks, values[1], values[2], &from) &&
	    pickle_is_standard())
		take = tagged_take(call.ranks, &from, TAGGED_NOW);
	if (!take)
		return rank_call_pass_on(&call);
	if (tagged_wait(call.ranks, &take, 1, from.anybody) < 0) {
		recv_abandon(&call, take);
		return rank_call_end(&call, NULL);
	}
	if (operation_is_done(take) && recv_is_plain(take) && recv_knows(&call, take, values[3]))
		return recv_end(&call, take, values[3]);
	return rank_call_end(&call, tagged_leave(self, take, TAGGED_TAKE, from.anybody, values[3], call.name));
}
