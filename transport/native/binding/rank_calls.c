/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_calls.c - the compiled calls of communicators: bytes; see rank_calls.h. Objects are in rank_objects.c. */
#include "binding/rank_calls.h"

#include "binding/rank_call.h"
#include "binding/rank_objects.h"
#include "binding/rank_request.h"
#include "binding/specification.h"
#include "binding/tagged.h"

/* ---- sends ---- */

/* Post what a call sends. NULL: an exception is set, or the call is not for here. */
static struct operation *send_post(const struct rank_call *call, PyObject *spec, PyObject *dest, PyObject *tag,
				   uint8_t flags)
{
	const struct rank *rank;
	uint64_t wire, nbytes;
	Py_buffer view;

	if (!call->ranks)
		return NULL;
	rank = ranks_dest(call->ranks, dest);
	if (!rank || !ranks_tag(call->ranks, tag, &wire) || specification_hold(spec, false, &view, &nbytes) <= 0)
		return NULL;
	return tagged_send(call->ranks, rank, wire, &view, nbytes, flags);
}

static const char *const send_names[] = {"buf", "dest", "tag", "timeout"};
static const struct rank_call_form send_form = {send_names, 3, 4, 2}, isend_form = {send_names, 3, 3, 2};

static PyObject *rank_calls_Send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"Send", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *op;

	if (!rank_call_begin(&call, &send_form, values))
		return NULL;
	op = send_post(&call, values[0], values[1], values[2], TAGGED_NOW);
	if (!op)
		return rank_call_pass_on(&call);
	if (tagged_wait(call.ranks, &op, 1, false) < 0) {
		tagged_withdraw(call.ranks, op);
		return rank_call_end(&call, NULL);
	}
	if (!operation_is_done(op) || !tagged_settle(op))
		return rank_call_end(&call, tagged_leave(self, op, TAGGED_SEND, false, NULL, call.name));
	Py_DECREF((PyObject *)op);
	return rank_call_end(&call, Py_NewRef(Py_None));
}

static PyObject *rank_calls_Isend(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"Isend", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *op;

	if (!rank_call_begin(&call, &isend_form, values))
		return NULL;
	op = send_post(&call, values[0], values[1], values[2], TAGGED_LATER);
	if (!op)
		return rank_call_pass_on(&call);
	return rank_call_end(&call, rank_request_new(call.ranks, self, op, TAGGED_SEND, false));
}

/* ---- receives ---- */

/* Post what a call receives. NULL: an exception is set, or the call is not for here. */
static struct operation *receive_post(const struct rank_call *call, PyObject *spec, PyObject *source, PyObject *tag,
				      bool *anybody, uint8_t flags)
{
	struct ranks_from from;
	uint64_t nbytes;
	Py_buffer view;

	if (!call->ranks || !ranks_from(call->ranks, source, tag, &from) ||
	    specification_hold(spec, true, &view, &nbytes) <= 0)
		return NULL;
	*anybody = from.anybody;
	return tagged_receive(call->ranks, &from, &view, nbytes, flags);
}

/* It is done, unless only Python can wait on. Tells the status, lets go of the operation, and ends the call. */
static PyObject *receive_end(struct rank_call *call, struct operation *op, bool anybody, PyObject *status)
{
	int told =
		operation_is_done(op) && !op->req.error ? tagged_tell(call->ranks, status, op, op->req.done_bytes) : 0;

	if (!told)
		return rank_call_end(call, tagged_leave(call->comm, op, TAGGED_RECEIVE, anybody, status, call->name));
	(void)tagged_settle(op);
	Py_DECREF((PyObject *)op);
	return rank_call_end(call, told < 0 ? NULL : Py_NewRef(Py_None));
}

static const char *const recv_names[] = {"buf", "source", "tag", "status", "timeout"};
static const struct rank_call_form recv_form = {recv_names, 4, 5, 1}, irecv_form = {recv_names, 3, 3, 1};

static PyObject *rank_calls_Recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"Recv", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *op;
	bool anybody;

	if (!rank_call_begin(&call, &recv_form, values))
		return NULL;
	op = receive_post(&call, values[0], values[1], values[2], &anybody, TAGGED_NOW);
	if (!op)
		return rank_call_pass_on(&call);
	if (tagged_wait(call.ranks, &op, 1, anybody) < 0) {
		tagged_withdraw(call.ranks, op);
		return rank_call_end(&call, NULL);
	}
	return receive_end(&call, op, anybody, values[3]);
}

static PyObject *rank_calls_Irecv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"Irecv", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *op;
	bool anybody;

	if (!rank_call_begin(&call, &irecv_form, values))
		return NULL;
	op = receive_post(&call, values[0], values[1], values[2], &anybody, TAGGED_LATER);
	if (!op)
		return rank_call_pass_on(&call);
	return rank_call_end(&call, rank_request_new(call.ranks, self, op, TAGGED_RECEIVE, anybody));
}

/* ---- both at once ---- */

/* Both are done, unless only Python can wait on. */
static PyObject *both_end(struct rank_call *call, struct operation *const ops[2], bool anybody, PyObject *status)
{
	PyObject *result;

	if (operation_is_done(ops[0]) && !ops[0]->req.error && operation_is_done(ops[1]) && !ops[1]->req.error) {
		(void)tagged_settle(ops[0]);
		Py_DECREF((PyObject *)ops[0]);
		return receive_end(call, ops[1], anybody, status);
	}
	result = PyObject_CallMethod(ranks_python.rest, "finish_both", "OOOOOs", call->comm, (PyObject *)ops[0],
				     (PyObject *)ops[1], anybody ? Py_True : Py_False, status ? status : Py_None,
				     call->name);
	Py_DECREF((PyObject *)ops[0]);
	Py_DECREF((PyObject *)ops[1]);
	return rank_call_end(call, result);
}

static const char *const both_names[] = {"sendbuf", "dest",    "sendtag", "recvbuf",
					 "source",  "recvtag", "status",  "timeout"};
static const struct rank_call_form both_form = {both_names, 7, 8, 2};

/* The receive is posted, and Python has to send: it waits for both. Steals the reference to the receive. */
static PyObject *both_leave_send(struct rank_call *call, struct operation *receive, bool anybody,
				 PyObject *const *values)
{
	PyObject *result;

	if (PyErr_Occurred()) {
		tagged_withdraw(call->ranks, receive);
		return rank_call_end(call, NULL);
	}
	result = PyObject_CallMethod(ranks_python.rest, "send_beside", "OOOOOOOs", call->comm, (PyObject *)receive,
				     anybody ? Py_True : Py_False, values[0], values[1],
				     values[2] ? values[2] : Py_None, values[6] ? values[6] : Py_None, call->name);
	Py_DECREF((PyObject *)receive);
	return rank_call_end(call, result);
}

/* Is the destination one for here? It is looked at before the receive is posted. */
static bool both_may_send(const struct rank_call *call, PyObject *const *values)
{
	uint64_t wire;

	return call->ranks && ranks_dest(call->ranks, values[1]) && ranks_tag(call->ranks, values[2], &wire);
}

static PyObject *rank_calls_Sendrecv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct rank_call call = {"Sendrecv", self, args, nargs, kwnames, NULL};
	PyObject *values[RANK_CALL_VALUES];
	struct operation *ops[2];
	bool anybody;

	if (!rank_call_begin(&call, &both_form, values))
		return NULL;
	ops[1] = values[3] && both_may_send(&call, values)
			 ? receive_post(&call, values[3], values[4], values[5], &anybody, TAGGED_NOW)
			 : NULL;
	if (!ops[1])
		return rank_call_pass_on(&call);
	ops[0] = send_post(&call, values[0], values[1], values[2], TAGGED_NOW);
	if (!ops[0])
		return both_leave_send(&call, ops[1], anybody, values);
	if (tagged_wait(call.ranks, ops, 2, anybody) < 0) {
		tagged_withdraw(call.ranks, ops[0]);
		tagged_withdraw(call.ranks, ops[1]);
		return rank_call_end(&call, NULL);
	}
	return both_end(&call, ops, anybody, values[6]);
}

/* ---- the type ---- */

static PyMethodDef rank_calls_methods[] = {
	{"Send", BINDING_FAST(rank_calls_Send), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Send($self, /, buf, dest, tag=0, *, timeout=None)\n--\n\n"
		   "Send a buffer, and wait until it may be used again.")},
	{"Recv", BINDING_FAST(rank_calls_Recv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Recv($self, /, buf, source=ANY_SOURCE, tag=ANY_TAG, status=None, *, timeout=None)\n\n"
		   "Receive into a buffer.")},
	{"Isend", BINDING_FAST(rank_calls_Isend), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Isend($self, /, buf, dest, tag=0)\n--\n\nBegin to send a buffer.")},
	{"Irecv", BINDING_FAST(rank_calls_Irecv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Irecv($self, /, buf, source=ANY_SOURCE, tag=ANY_TAG)\n\nBegin to receive into a buffer.")},
	{"Sendrecv", BINDING_FAST(rank_calls_Sendrecv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Sendrecv($self, /, sendbuf, dest, sendtag=0, recvbuf=None, source=ANY_SOURCE,\n"
		   "recvtag=ANY_TAG, status=None, *, timeout=None)\n\nSend and receive.")},
	{"send", BINDING_FAST(rank_objects_send), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("send($self, /, obj, dest, tag=0, *, timeout=None)\n--\n\nSend an object.")},
	{"isend", BINDING_FAST(rank_objects_isend), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("isend($self, /, obj, dest, tag=0)\n--\n\n"
		   "Begin to send an object. It is pickled now; its large buffers must stay as they are.")},
	{"irecv", BINDING_FAST(rank_objects_irecv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("irecv($self, /, buf=None, source=ANY_SOURCE, tag=ANY_TAG)\n\n"
		   "Begin to receive an object of any size. `buf` is mpi4py's, and not needed.")},
	{"recv", BINDING_FAST(rank_objects_recv), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("recv($self, /, buf=None, source=ANY_SOURCE, tag=ANY_TAG, status=None, *, timeout=None)\n\n"
		   "Receive an object of any size. `buf` is mpi4py's, and not needed.")},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot rank_calls_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("The calls of communicators that are compiled, before those in Python.")},
	{Py_tp_methods, rank_calls_methods},
	{0, NULL},
};

/* It has no data, so that it can be a base beside mpi4py's classes. */
static PyType_Spec rank_calls_spec = {
	.name = "adma._core._messages.RankCalls",
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = rank_calls_slots,
};

bool rank_calls_type_make(PyObject *module)
{
	PyObject *type = PyType_FromModuleAndSpec(module, &rank_calls_spec, NULL);

	return type && !PyModule_AddType(module, (PyTypeObject *)type); /* the reference is kept for ever */
}
