/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_objects.c - the compiled calls of communicators: objects; see rank_objects.h. */
#include "binding/rank_objects.h"

#include "binding/pickling.h"
#include "binding/rank_arrival.h"
#include "binding/rank_call.h"
#include "binding/rank_pickle.h"
#include "binding/rank_request.h"
#include "binding/tagged.h"

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

	if (!rank || !ranks_tag(call->ranks, values[2], &wire) || !rank_pickle_is_standard()) {
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
	    rank_pickle_is_standard())
		take = tagged_take(call.ranks, &from, TAGGED_NOW);
	if (!take)
		return rank_call_pass_on(&call);
	if (tagged_wait(call.ranks, &take, 1, from.anybody) < 0) {
		rank_arrival_abandon(&call, take);
		return rank_call_end(&call, NULL);
	}
	if (operation_is_done(take) && rank_arrival_is_plain(&call, take, values[3]))
		return rank_arrival_end(&call, take, values[3]);
	return rank_call_end(&call, tagged_leave(self, take, TAGGED_TAKE, from.anybody, values[3], call.name));
}

static const struct rank_call_form irecv_form = {recv_names, 3, 3, 0};

PyObject *rank_objects_irecv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"irecv", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *take = NULL;
	struct ranks_from from;

	if (!rank_call_begin(&call, &irecv_form, values))
		return NULL;
	if (call.ranks && ranks_from(call.ranks, values[1], values[2], &from) && rank_pickle_is_standard())
		take = tagged_take(call.ranks, &from, TAGGED_LATER);
	if (!take)
		return rank_call_pass_on(&call);
	return rank_call_end(&call, rank_request_new(call.ranks, self, take, TAGGED_TAKE, from.anybody));
}
