/* SPDX-License-Identifier: BSD-3-Clause */
/* waiting.c - waiting for many requests at once; see waiting.h. */
#include "binding/waiting.h"

#include "binding/copy_type.h"
#include "binding/interpreter.h"
#include "binding/request.h"

#define WAITING_BUDGET_NS 5000000 /* for how long a call copies before it looks at signals */
#define WAITING_CHANS_MAX 8       /* a wait for more channels than that is no matter of a moment */

/* What is pending. Both arrays have room for all. */
struct waiting {
	struct adma_copy **copies;
	uint64_t ncopies;
	struct adma_chan *chans[WAITING_CHANS_MAX];
	struct adma_wait wait;
};

/* Add the channel of a request, if it is not among them. False: there are too many. */
static bool waiting_add_chan(struct waiting *waiting, struct adma_chan *chan)
{
	for (int i = waiting->wait.nchans - 1; i >= 0; i--)
		if (waiting->chans[i] == chan)
			return true;
	if (!chan || waiting->wait.nchans == WAITING_CHANS_MAX)
		return false;
	waiting->chans[waiting->wait.nchans++] = chan;
	return true;
}

static void waiting_add_copy(struct waiting *waiting, struct copy_request *request)
{
	if (!copy_request_is_done(request))
		waiting->copies[waiting->ncopies++] = &request->copy;
}

/* False: its channel is closed, or there are too many. */
static bool waiting_add_message(struct waiting *waiting, struct operation *op)
{
	if (op->nbytes >= 0 || operation_is_done(op))
		return true;
	if (!op->endpoint || !waiting_add_chan(waiting, op->endpoint->chan))
		return false;
	waiting->wait.reqs[waiting->wait.nreqs++] = &op->req;
	return true;
}

/* Collect what is pending. False: there is something else among them than copies and messages of open channels. */
static bool waiting_collect(struct waiting *waiting, PyObject *list, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = PyList_GetItem(list, i);

		if (copy_type_check_exact(item))
			waiting_add_copy(waiting, copy_request_of(item));
		else if (!request_check_exact(item) || !waiting_add_message(waiting, operation_of(item)))
			return false;
	}
	waiting->wait.need = waiting->wait.nreqs;
	return true;
}

/* Copies first: no other process has to do anything for them. Called without the GIL. */
static bool waiting_run(struct waiting *waiting)
{
	if (waiting->ncopies &&
	    adma_copy_wait(waiting->copies, waiting->ncopies, waiting->ncopies, WAITING_BUDGET_NS) != 1)
		return false;
	return !waiting->wait.nreqs || adma_drive(&waiting->wait, -1, WAITING_BUDGET_NS) == ADMA_READY;
}

/*
 * Drive what is pending for a moment. False: it is not done by then, or this is no matter for here; or the exception of
 * a signal's handler is set.
 */
static bool waiting_drive(PyObject *list, Py_ssize_t count)
{
	struct waiting waiting = {.wait = {.chans = waiting.chans, .also = -1}};
	void **room = PyMem_Malloc(2 * (size_t)count * sizeof(*room) + 1);
	bool done;

	if (!room)
		return false;
	waiting.copies = (struct adma_copy **)room;
	waiting.wait.reqs = (struct adma_req **)room + count;
	done = waiting_collect(&waiting, list, count);
	if (done && (waiting.ncopies || waiting.wait.nreqs)) {
		BINDING_WITHOUT_GIL(done = waiting_run(&waiting));
		if (!done && PyErr_CheckSignals() &&
		    waiting.wait.nchans) /* the core expects a caller to come back, which will not */
			BINDING_WITHOUT_GIL(adma_give_up(&waiting.wait));
	}
	PyMem_Free(room);
	return done;
}

/* The result of one that is done. -1: it failed, and an exception is set. */
static int64_t waiting_settle(PyObject *item)
{
	if (copy_type_check_exact(item)) {
		interpreter_let_go();
		return copy_type_settle(copy_request_of(item));
	}
	return request_settle(operation_of(item));
}

static bool waiting_has_failed(PyObject *item)
{
	if (copy_type_check_exact(item))
		return copy_request_of(item)->copy.error;
	return operation_of(item)->nbytes < 0 && operation_of(item)->req.error;
}

/* Has none of them failed? They are all done. */
static bool waiting_went_well(PyObject *list, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		if (waiting_has_failed(PyList_GetItem(list, i)))
			return false;
	}
	return true;
}

static PyObject *waiting_results(PyObject *list, Py_ssize_t count)
{
	PyObject *results = PyList_New(count);

	for (Py_ssize_t i = 0; results && i < count; i++) {
		int64_t nbytes = waiting_settle(PyList_GetItem(list, i));
		PyObject *number = nbytes < 0 ? NULL : PyLong_FromLongLong(nbytes);

		if (!number || PyList_SetItem(results, i, number))
			Py_CLEAR(results);
	}
	return results;
}

PyObject *waiting_all(PyObject *module, PyObject *reqs)
{
	PyObject *list, *results;
	Py_ssize_t count;

	(void)module;
	if (!PyList_CheckExact(reqs) && !PyTuple_CheckExact(reqs))
		Py_RETURN_NONE;
	list = PySequence_List(reqs); /* a copy: other threads may change theirs */
	if (!list)
		return NULL;
	count = PyList_Size(list);
	/* Where one failed, the loop of Python's knows what has to be done before that is told. */
	results = waiting_drive(list, count) && waiting_went_well(list, count) ? waiting_results(list, count) : NULL;
	Py_DECREF(list);
	if (results || PyErr_Occurred())
		return results;
	Py_RETURN_NONE;
}
