/* SPDX-License-Identifier: BSD-3-Clause */
/* waiting.c - waiting for many requests at once; see waiting.h. */
#include "binding/waiting.h"

#include "binding/interpreter.h"
#include "binding/request.h"

#define WAITING_BUDGET_NS 5000000 /* for how long a call copies before it looks at signals */
#define WAITING_CHANS_MAX 8       /* a wait for more channels than that is no matter of a moment */

struct waiting {
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

/* Collect what is pending. False: there is something else among them than plain requests of open channels. */
static bool waiting_collect(struct waiting *waiting, PyObject *list, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = PyList_GetItem(list, i);
		struct operation *op = operation_of(item);

		if (!request_check_exact(item))
			return false;
		if (op->nbytes >= 0 || operation_is_done(op))
			continue;
		if (!op->endpoint || !waiting_add_chan(waiting, op->endpoint->chan))
			return false;
		waiting->wait.reqs[waiting->wait.nreqs++] = &op->req;
	}
	return true;
}

/*
 * Drive what is pending for a moment. False: it is not done by then, or this is no matter for here; or the exception of
 * a signal's handler is set.
 */
static bool waiting_drive(PyObject *list, Py_ssize_t count)
{
	struct waiting waiting = {.wait = {.chans = waiting.chans, .also = -1}};
	int state = ADMA_READY;

	waiting.wait.reqs = PyMem_Malloc((size_t)count * sizeof(*waiting.wait.reqs) + 1);
	if (!waiting.wait.reqs || !waiting_collect(&waiting, list, count)) {
		PyMem_Free(waiting.wait.reqs);
		return false;
	}
	waiting.wait.need = waiting.wait.nreqs;
	if (waiting.wait.nreqs)
		BINDING_WITHOUT_GIL(state = adma_drive(&waiting.wait, -1, WAITING_BUDGET_NS));
	if (state != ADMA_READY && PyErr_CheckSignals()) /* the core expects a caller to come back, which will not */
		BINDING_WITHOUT_GIL(adma_give_up(&waiting.wait));
	PyMem_Free(waiting.wait.reqs);
	return state == ADMA_READY;
}

/* Has none of them failed? They are all done. */
static bool waiting_went_well(PyObject *list, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		struct operation *op = operation_of(PyList_GetItem(list, i));

		if (op->nbytes < 0 && op->req.error)
			return false;
	}
	return true;
}

static PyObject *waiting_results(PyObject *list, Py_ssize_t count)
{
	PyObject *results = PyList_New(count);

	for (Py_ssize_t i = 0; results && i < count; i++) {
		int64_t nbytes = request_settle(operation_of(PyList_GetItem(list, i)));
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
