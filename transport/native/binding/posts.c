/* SPDX-License-Identifier: BSD-3-Clause */
/* posts.c - iwrite(), iread() and isend(): a post, and the request for it; see posts.h. */
#include "binding/posts.h"

#include "binding/arguments.h"
#include "binding/caller.h"
#include "binding/interpreter.h"
#include "binding/interruption.h"
#include "binding/pickling.h"
#include "binding/request.h"
#include "binding/vector.h"
#include "shm/layout.h"

#define POSTS_LOOK_EVERY 64 /* posts; then it is looked whether there is a progress thread */

bool posts_prepare(struct endpoint *endpoint, uint64_t n)
{
	bool wanted;

	if (!adma_wants_slot(endpoint->chan, n))
		return true;
	BINDING_WITHOUT_GIL(wanted = adma_wants_bulk(endpoint->chan, n));
	return !wanted || endpoint_bring_segment(endpoint, n);
}

bool posts_look(struct endpoint *endpoint)
{
	PyObject *result;

	if (endpoint->posts++ % POSTS_LOOK_EVERY || !adma_progress_error())
		return true;
	result = PyObject_CallMethod((PyObject *)endpoint, "tell_of_no_progress", NULL);
	Py_XDECREF(result);
	return result;
}

int posts_put(struct endpoint *endpoint, struct operation *op)
{
	int rc;

	operation_keep(op, endpoint);
	rc = adma_try_post_one(endpoint->chan, &op->req);
	if (rc == -ADMA_E_BUSY)
		BINDING_WITHOUT_GIL(rc = adma_post_one(endpoint->chan, &op->req));
	if (rc || operation_is_done(op))
		operation_release(op);
	interpreter_let_go();
	return rc;
}

static PyObject *posts_post(PyObject *self, struct endpoint *endpoint, struct operation *op)
{
	int rc = posts_put(endpoint, op);

	if (rc) {
		op->nbytes = 0; /* there is no result that anybody could look at */
		Py_DECREF((PyObject *)op);
		return endpoint_raise(endpoint, rc, 0, NULL);
	}
	if (!posts_look(endpoint) || PyErr_CheckSignals())
		return interruption_take_back(caller_of(self), op);
	return (PyObject *)op;
}

static PyObject *posts_call(PyObject *self, bool read, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"buf"};
	const char *call = read ? "iread" : "iwrite";
	struct endpoint *endpoint = read ? caller_reader(self) : caller_endpoint(self);
	PyObject *buf = NULL;
	struct operation *op;
	struct vector *vector;
	Py_buffer view;

	if (!endpoint || !arguments_parse(call, args, nargs, kwnames, 1, 1, names, &buf) ||
	    !vector_hold(buf, call, read, &view, &vector))
		return NULL;
	op = read || posts_prepare(endpoint, (uint64_t)view.len)
		     ? operation_new(request_type, read, ADMA_BYTES, ADMA_REQ_TELL)
		     : NULL;
	if (!op) {
		PyBuffer_Release(&view);
		vector_release(vector);
		return NULL;
	}
	operation_lend(op, &view);
	op->vector = vector;
	return posts_post(self, endpoint, op);
}

/* Post a pickle, which is one message. */
static PyObject *posts_post_pickle(PyObject *self, PyObject *body)
{
	struct endpoint *endpoint = caller_endpoint(self);
	struct operation *op;
	Py_buffer view;

	if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE))
		return NULL;
	op = posts_prepare(endpoint, (uint64_t)view.len)
		     ? operation_new(request_type, false, ADMA_OBJECT, ADMA_REQ_TELL)
		     : NULL;
	if (!op) {
		PyBuffer_Release(&view);
		return NULL;
	}
	operation_lend(op, &view);
	return posts_post(self, endpoint, op);
}

PyObject *posts_isend(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"obj"};
	PyObject *object = NULL, *body, *parts, *request;

	if (!caller_endpoint(self) || !arguments_parse("isend", args, nargs, kwnames, 1, 1, names, &object))
		return NULL;
	body = pickling_dump(object, &parts);
	if (!body)
		return NULL;
	request = parts ? PyObject_CallMethod(caller_of(self)->blocking, "isend", "OO", body, parts)
			: posts_post_pickle(self, body);
	Py_DECREF(body);
	Py_XDECREF(parts);
	return request;
}

PyObject *posts_iwrite(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return posts_call(self, false, args, nargs, kwnames);
}

PyObject *posts_iread(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return posts_call(self, true, args, nargs, kwnames);
}
