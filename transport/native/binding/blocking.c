/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * blocking.c - write() and read(); see blocking.h.
 *
 * A message that is done in the call makes no Python object. What has to be waited for is posted on an operation
 * here, and goes on in Python (adma/messages/blocking.py), which looks at signals and deadlines.
 */
#include "binding/blocking.h"

#include "binding/arguments.h"
#include "binding/buffer.h"
#include "binding/caller.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/interruption.h"
#include "binding/request.h"
#include "shm/layout.h"

static bool transfer_begin(struct transfer *transfer, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
			   PyObject *kwnames)
{
	static const char *const names[] = {"buf", "timeout"};
	PyObject *values[] = {NULL, Py_None};

	transfer->caller = caller_of(self);
	transfer->endpoint = caller_endpoint(self);
	if (!transfer->endpoint || !arguments_parse(transfer->verb, args, nargs, kwnames, 1, 2, names, values) ||
	    !deadline_begin(&transfer->deadline, values[1], transfer->verb))
		return false;
	interpreter_let_go();
	return buffer_hold(values[0], transfer->verb, transfer->read, &transfer->view);
}

/* It was done in one call: a signal's exception tells that it happened. */
static PyObject *transfer_done(struct transfer *transfer, int64_t nbytes)
{
	PyBuffer_Release(&transfer->view);
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

/* It is posted and pending, or its caller has little time: Python goes on. */
static PyObject *transfer_go_on(struct transfer *transfer, struct operation *op)
{
	PyObject *deadline, *result;

	deadline = PyErr_CheckSignals() ? NULL : deadline_object(&transfer->deadline);
	result = deadline ? PyObject_CallMethod(transfer->caller->blocking, "go_on", "OOO", (PyObject *)op,
						transfer->deadline.timeout, deadline)
			  : NULL;
	Py_XDECREF(deadline);
	if (!result)
		return interruption_take_back(transfer->caller, op);
	Py_DECREF((PyObject *)op);
	if (transfer->read)
		return result;
	Py_DECREF(result);
	Py_RETURN_NONE;
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
		PyBuffer_Release(&transfer->view);
		return NULL;
	}
	operation_lend(op, &transfer->view);
	if (transfer->deadline.brief)
		return transfer_go_on(transfer, op);
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

	PyBuffer_Release(&transfer->view);
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
	struct adma_chan *chan;
	void *p;
	uint64_t n;
	int64_t result;

	if (!transfer_begin(&transfer, self, args, nargs, kwnames))
		return NULL;
	chan = transfer.endpoint->chan;
	p = transfer.view.buf;
	n = (uint64_t)transfer.view.len;
	result = adma_try_read_now(chan, ADMA_BYTES, p, n);
	if (result == -ADMA_E_BUSY || (result == -ADMA_E_PENDING && !transfer.deadline.now))
		BINDING_WITHOUT_GIL(result = adma_read_now(chan, ADMA_BYTES, p, n, transfer.deadline.now ? 0 : -1));
	if (result >= 0)
		return transfer_done(&transfer, result);
	return result == -ADMA_E_PENDING ? blocking_post(&transfer, ADMA_BYTES) : transfer_fail(&transfer, result);
}
