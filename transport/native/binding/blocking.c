/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blocking.c - write() and read(); see blocking.h.
 *
 * A message that is done in the call makes no Python object. What has to be waited for is posted on an operation. What is
 * seldom needed is Python's (adma/messages/blocking.py): what becomes of a call whose time is over or that is interrupted.
 */
#include "binding/blocking.h"

#include "base/clock.h"
#include "binding/arguments.h"
#include "binding/caller.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/interruption.h"
#include "binding/posts.h"
#include "binding/request.h"
#include "binding/vector.h"
#include "binding/wait_loop.h"
#include "progress/progress.h"
#include "shm/layout.h"

#define BLOCKING_STUCK_NS 1000000000 /* for so long both ends sit in a large write before one says so */

static bool transfer_begin(struct transfer *transfer, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = {"buf", "timeout"};
	PyObject *values[] = {NULL, Py_None};

	transfer->caller = caller_of(self);
	transfer->endpoint = transfer->read ? caller_reader(self) : caller_endpoint(self);
	if (!transfer->endpoint || !arguments_parse(transfer->verb, args, nargs, kwnames, 1, 2, names, values) ||
	    !deadline_begin(&transfer->deadline, values[1], transfer->verb))
		return false;
	interpreter_let_go();
	return vector_hold(values[0], transfer->verb, transfer->read, &transfer->view, &transfer->vector);
}

static void transfer_let_go(struct transfer *transfer)
{
	PyBuffer_Release(&transfer->view);
	vector_release(transfer->vector);
}

/* It was done in one call: a signal's exception tells that it happened. */
static PyObject *transfer_done(struct transfer *transfer, int64_t nbytes)
{
	vector_spread(transfer->vector, transfer->view.buf, (uint64_t)nbytes);
	transfer_let_go(transfer);
	if (PyErr_CheckSignals())
		return interruption_own_up(transfer->caller, transfer->read, ADMA_BYTES, nbytes);
	return transfer->read ? PyLong_FromLongLong(nbytes) : Py_NewRef(Py_None);
}

int blocking_publish(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n)
{
	int result = adma_try_write_now(chan, kind, p, n);

	if (result == -ADMA_E_BUSY)
		BINDING_WITHOUT_GIL(result = adma_write_now(chan, kind, p, n));
	return result;
}

int64_t blocking_take(struct adma_chan *chan, void *p, uint64_t n, bool spins)
{
	int64_t result = adma_try_read_now(chan, ADMA_BYTES, p, n);

	if (result == -ADMA_E_BUSY || (result == -ADMA_E_PENDING && spins))
		BINDING_WITHOUT_GIL(result = adma_read_now(chan, ADMA_BYTES, p, n, spins ? -1 : 0));
	return result;
}

int64_t blocking_run(struct endpoint *endpoint, struct operation *op)
{
	struct adma_chan *chan = endpoint->chan;
	void *p = op->view.buf;
	uint64_t n = (uint64_t)op->view.len;
	int64_t result;

	BINDING_WITHOUT_GIL(result = adma_run(chan, &op->req, p, n));
	if (result != -ADMA_E_BULK)
		return result;
	if (!endpoint_bring_segment(endpoint, n))
		return result;
	BINDING_WITHOUT_GIL(result = adma_run(chan, &op->req, p, n));
	return result;
}

/* ---- waiting ---- */

/* Call a method of adma/messages/blocking.py that returns nothing of interest. False: an exception is set. */
static bool transfer_tell(const struct transfer *transfer, const char *method)
{
	PyObject *nothing = PyObject_CallMethod(transfer->caller->blocking, method, NULL);

	Py_XDECREF(nothing);
	return nothing;
}

/* Its time is over: it is taken back, or goes on while bytes move. False: an exception is set. */
static bool transfer_end_or_go_on(const struct transfer *transfer, struct operation *op)
{
	PyObject *nothing = PyObject_CallMethod(transfer->caller->blocking, "end_or_go_on", "OO", (PyObject *)op,
						transfer->deadline.timeout);

	Py_XDECREF(nothing);
	return nothing;
}

/* Wait for a write. If both ends are stuck in large writes, one of them says so. As wait_loop_run(). */
static int transfer_wait_for_write(const struct transfer *transfer, struct operation *op)
{
	struct adma_chan *chan = transfer->endpoint->chan;
	int64_t moment = adma_now() + BLOCKING_STUCK_NS;
	int found;

	if (transfer->deadline.ns <= moment)
		return wait_loop_run_one(chan, &op->req, transfer->deadline.ns);
	found = wait_loop_run_one(chan, &op->req, moment);
	if (found)
		return found;
	if (!transfer_tell(transfer, "warn_if_stuck"))
		return -1;
	return wait_loop_run_one(chan, &op->req, transfer->deadline.ns);
}

/* Wait for what is posted. False: an exception is set. */
static bool transfer_wait(const struct transfer *transfer, struct operation *op)
{
	struct adma_chan *chan = transfer->endpoint->chan;
	int found;

	if (transfer->read) {
		found = wait_loop_run_one(chan, &op->req, transfer->deadline.ns);
		return found > 0 || (!found && transfer_end_or_go_on(transfer, op));
	}
	BINDING_WITHOUT_GIL(adma_blocked(chan, 1));
	found = transfer_wait_for_write(transfer, op);
	if (!found)
		found = transfer_end_or_go_on(transfer, op) ? 1 : -1;
	BINDING_WITHOUT_GIL(adma_blocked(chan, -1));
	return found > 0;
}

/* It is posted and pending: wait. */
static PyObject *transfer_go_on(const struct transfer *transfer, struct operation *op)
{
	int64_t nbytes = -1;

	if (!PyErr_CheckSignals() && (operation_is_done(op) || transfer_wait(transfer, op)))
		nbytes = request_settle(op);
	if (nbytes < 0 || PyErr_CheckSignals())
		return interruption_take_back(transfer->caller, op);
	Py_DECREF((PyObject *)op);
	return transfer->read ? PyLong_FromLongLong(nbytes) : Py_NewRef(Py_None);
}

/* Post it, and look at the clock before anything else: its caller has little time. */
static PyObject *transfer_post_briefly(const struct transfer *transfer, struct operation *op)
{
	struct endpoint *endpoint = transfer->endpoint;
	int rc;

	if (PyErr_CheckSignals() || (!transfer->read && !posts_prepare(endpoint, op->req.length)))
		return interruption_take_back(transfer->caller, op);
	rc = posts_put(endpoint, op);
	if (rc)
		(void)endpoint_raise(endpoint, rc, 0, NULL);
	if (rc || !posts_look(endpoint))
		return interruption_take_back(transfer->caller, op);
	return transfer_go_on(transfer, op);
}

/* A result of adma_run() that is final. */
static PyObject *transfer_finish(struct transfer *transfer, struct operation *op, int64_t result)
{
	uint64_t space = (uint64_t)op->view.len;

	operation_release(op);
	if (result >= 0)
		op->nbytes = result;
	interpreter_let_go();
	if (result < 0) {
		(void)endpoint_raise(transfer->endpoint, result, space, (PyObject *)op);
		Py_DECREF((PyObject *)op);
		return NULL;
	}
	if (PyErr_CheckSignals())
		return interruption_take_back(transfer->caller, op);
	Py_DECREF((PyObject *)op);
	return transfer->read ? PyLong_FromLongLong(result) : Py_NewRef(Py_None);
}

PyObject *blocking_post(struct transfer *transfer, uint16_t kind)
{
	struct operation *op = operation_new(request_type, transfer->read, kind, ADMA_REQ_BLOCKING);
	int64_t result;

	if (!op) {
		transfer_let_go(transfer);
		return NULL;
	}
	operation_lend(op, &transfer->view);
	op->vector = transfer->vector;
	if (transfer->deadline.brief)
		return transfer_post_briefly(transfer, op);
	result = blocking_run(transfer->endpoint, op);
	if (PyErr_Occurred())
		return interruption_take_back(transfer->caller, op);
	if (result != -ADMA_E_PENDING)
		return transfer_finish(transfer, op, result);
	operation_keep(op, transfer->endpoint);
	return transfer_go_on(transfer, op);
}

static PyObject *transfer_fail(struct transfer *transfer, int64_t result)
{
	uint64_t space = (uint64_t)transfer->view.len;

	transfer_let_go(transfer);
	return endpoint_raise(transfer->endpoint, result, space, NULL);
}

PyObject *blocking_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct transfer transfer = {.verb = "write"};
	uint64_t n;
	int result;

	if (!transfer_begin(&transfer, self, args, nargs, kwnames))
		return NULL;
	n = (uint64_t)transfer.view.len;
	result = blocking_publish(transfer.endpoint->chan, ADMA_BYTES, transfer.view.buf, n);
	if (!result)
		return transfer_done(&transfer, (int64_t)n);
	return result == -ADMA_E_PENDING ? blocking_post(&transfer, ADMA_BYTES) : transfer_fail(&transfer, result);
}

PyObject *blocking_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct transfer transfer = {.read = true, .verb = "read"};
	int64_t result;

	if (!transfer_begin(&transfer, self, args, nargs, kwnames))
		return NULL;
	result = blocking_take(transfer.endpoint->chan, transfer.view.buf, (uint64_t)transfer.view.len,
			       !transfer.deadline.now);
	if (result >= 0)
		return transfer_done(&transfer, result);
	return result == -ADMA_E_PENDING ? blocking_post(&transfer, ADMA_BYTES) : transfer_fail(&transfer, result);
}
