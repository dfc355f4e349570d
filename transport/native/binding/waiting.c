/* SPDX-License-Identifier: BSD-3-Clause */
/* waiting.c - waiting for many requests at once; see waiting.h. */
#include "binding/waiting.h"

#include <errno.h>

#include "base/clock.h"
#include "binding/copy_type.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/request.h"
#include "binding/wait_loop.h"
#include "progress/progress.h"

#define WAITING_CHANS_MAX 8 /* more are Python's, which looks them up */

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

/* Wait until `need` of the copies are done. As wait_loop_run(). */
static int waiting_for_copies(const struct waiting *waiting, uint64_t need, int64_t deadline)
{
	for (;;) {
		PyObject *nothing;
		int rc;

		BINDING_WITHOUT_GIL(
			rc = adma_copy_wait(waiting->copies, waiting->ncopies, need, copy_type_slice(deadline)));
		if (rc == 1)
			return 1;
		if (rc < 0) {
			nothing = copy_type_call("_judge", "(i)", rc); /* raises */
			Py_XDECREF(nothing);
			return -1;
		}
		if (PyErr_CheckSignals())
			return -1;
		if (deadline != ADMA_NEVER && adma_now() >= deadline)
			return 0;
	}
}

/* Wait for all that is pending. Copies first: no other process has to do anything for them. As wait_loop_run(). */
static int waiting_for_all(struct waiting *waiting, int64_t deadline)
{
	int found = waiting->ncopies ? waiting_for_copies(waiting, waiting->ncopies, deadline) : 1;

	if (found > 0 && waiting->wait.nreqs)
		found = wait_loop_run(&waiting->wait, deadline);
	return found;
}

/* Wait for one of so many. As wait_loop_run(); or -ENOTSUP, as waiting_run(). */
static int waiting_for_one(struct waiting *waiting, Py_ssize_t count, int64_t deadline)
{
	if ((Py_ssize_t)waiting->ncopies + waiting->wait.nreqs < count)
		return 1; /* one is done, and the others may never be */
	if (waiting->ncopies && waiting->wait.nreqs)
		return -ENOTSUP;
	if (waiting->ncopies)
		return waiting_for_copies(waiting, 1, deadline);
	waiting->wait.need = 1;
	return wait_loop_run(&waiting->wait, deadline);
}

/*
 * Wait for all of a list, or for one. 1: that is done; 0: the deadline has passed; -1: an exception is set; -ENOTSUP: this is
 * no matter for here.
 */
static int waiting_run(PyObject *list, Py_ssize_t count, bool all, int64_t deadline)
{
	struct waiting waiting = {.wait = {.chans = waiting.chans, .also = -1}};
	void **room = PyMem_Malloc(2 * (size_t)count * sizeof(*room) + 1);
	int found = -ENOTSUP;

	if (!room)
		return found;
	waiting.copies = (struct adma_copy **)room;
	waiting.wait.reqs = (struct adma_req **)room + count;
	if (waiting_collect(&waiting, list, count))
		found = all ? waiting_for_all(&waiting, deadline) : waiting_for_one(&waiting, count, deadline);
	PyMem_Free(room);
	return found;
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

/* A copy of a list, because other threads may change theirs. NULL: it is none; or an exception is set. */
static PyObject *waiting_list(PyObject *reqs, Py_ssize_t *count)
{
	PyObject *list = PyList_CheckExact(reqs) || PyTuple_CheckExact(reqs) ? PySequence_List(reqs) : NULL;

	*count = list ? PyList_Size(list) : 0;
	return list;
}

/* None, unless an exception is set. */
static PyObject *waiting_leave_to_python(void)
{
	if (PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

PyObject *waiting_all(PyObject *module, PyObject *args)
{
	PyObject *reqs, *moment, *list, *results = NULL;
	int64_t deadline;
	Py_ssize_t count;

	(void)module;
	if (!PyArg_ParseTuple(args, "OO", &reqs, &moment) || !deadline_of_object(moment, &deadline))
		return NULL;
	list = waiting_list(reqs, &count);
	/* Where one failed, the loop of Python's knows what has to be done before that is told. */
	if (list && waiting_run(list, count, true, deadline) > 0 && waiting_went_well(list, count))
		results = waiting_results(list, count);
	Py_XDECREF(list);
	return results ? results : waiting_leave_to_python();
}

/* ---- one of them, or more ---- */

static bool waiting_is_done(PyObject *item)
{
	if (copy_type_check_exact(item))
		return copy_request_is_done(copy_request_of(item));
	return operation_is_done(operation_of(item));
}

/* Are all of them requests that are known here? */
static bool waiting_knows(PyObject *list, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = PyList_GetItem(list, i);

		if (!copy_type_check_exact(item) && !request_check_exact(item))
			return false;
	}
	return count > 0;
}

/* A program is told that it is done. It holds no buffer any more. */
static void waiting_tell(PyObject *item)
{
	struct operation *op;

	if (copy_type_check_exact(item)) {
		(void)copy_request_let_go_if_done(copy_request_of(item));
		return;
	}
	op = operation_of(item);
	if (op->nbytes < 0)
		operation_observe(op);
	(void)operation_let_go_if_done(op);
}

/* The indices of those that are done. NULL: an exception is set. */
static PyObject *waiting_done(PyObject *list, Py_ssize_t count)
{
	PyObject *indices = PyList_New(0);

	for (Py_ssize_t i = 0; indices && i < count; i++) {
		PyObject *index = waiting_is_done(PyList_GetItem(list, i)) ? PyLong_FromSsize_t(i) : NULL;

		if (index ? PyList_Append(indices, index) : !!PyErr_Occurred())
			Py_CLEAR(indices);
		Py_XDECREF(index);
	}
	return indices;
}

/* The same, once there is one. An empty list: the deadline has passed before. NULL: as that, or it is left to Python. */
static PyObject *waiting_first(PyObject *list, Py_ssize_t count, int64_t deadline)
{
	PyObject *indices = waiting_done(list, count);

	if (!indices || PyList_Size(indices))
		return indices;
	Py_DECREF(indices);
	return waiting_run(list, count, false, deadline) < 0 ? NULL : waiting_done(list, count);
}

/* Tell the program of those that are done. Lets go of buffers, so that code of the program may run. */
static void waiting_tell_all(PyObject *list, PyObject *indices)
{
	Py_ssize_t count = PyList_Size(indices);

	for (Py_ssize_t i = 0; i < count; i++)
		waiting_tell(PyList_GetItem(list, PyLong_AsSsize_t(PyList_GetItem(indices, i))));
	interpreter_let_go();
}

PyObject *waiting_some(PyObject *module, PyObject *args)
{
	PyObject *reqs, *timeout, *list, *indices = NULL;
	struct deadline deadline;
	const char *call;
	Py_ssize_t count;

	(void)module;
	if (!PyArg_ParseTuple(args, "OOs", &reqs, &timeout, &call))
		return NULL;
	list = waiting_list(reqs, &count);
	if (list && waiting_knows(list, count) && deadline_begin(&deadline, timeout, call))
		indices = waiting_first(list, count, deadline.ns);
	if (indices)
		waiting_tell_all(list, indices);
	Py_XDECREF(list);
	return indices ? indices : waiting_leave_to_python();
}
