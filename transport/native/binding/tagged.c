/* SPDX-License-Identifier: BSD-3-Clause */
/* tagged.c - sends and receives of compiled calls of communicators; see tagged.h. */
#include "binding/tagged.h"

#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "binding/buffer.h"
#include "binding/interpreter.h"
#include "binding/wait_loop.h"
#include "progress/progress.h"
#include "shm/layout.h"

#define TAGGED_BUDGET_NS 1000000 /* for how long it is copied before somebody looks at signals */

/* ---- posts ---- */

/* One that has its buffer, but for the bytes beyond `n`. NULL: an exception is set, and the buffer is let go. */
static struct operation *tagged_new(bool read, uint8_t flags, const Py_buffer *view, uint64_t n)
{
	struct operation *op = operation_new(operation_type, read, ADMA_TAGGED, flags);
	Py_buffer held;

	if (!op) {
		buffer_move(&held, view);
		PyBuffer_Release(&held);
		return NULL;
	}
	operation_lend(op, view);
	op->req.length = op->req.total = n;
	return op;
}

static int tagged_post_send(struct adma_worker *worker, struct adma_req *req)
{
	int rc = adma_worker_try_send(worker, req);

	if (rc == -ADMA_E_BUSY)
		BINDING_WITHOUT_GIL(rc = adma_worker_send(worker, req));
	return rc;
}

static int tagged_post_receive(struct adma_worker *worker, struct adma_req *req)
{
	int rc = adma_worker_try_receive(worker, req);

	if (rc == -ADMA_E_BUSY)
		BINDING_WITHOUT_GIL(rc = adma_worker_receive(worker, req));
	return rc;
}

/* It was posted, or not. Returns it, or NULL. */
static struct operation *tagged_posted(struct operation *op, int rc)
{
	if (rc || operation_is_done(op))
		operation_release(op);
	if (!rc)
		return op;
	op->nbytes = 0; /* there is no result that anybody could look at */
	Py_DECREF((PyObject *)op);
	return NULL;
}

/* Has the worker the memory that a send needs? Python makes it otherwise, and can only do that before the send. */
static bool tagged_has_segment(const struct ranks *ranks, const struct rank *dest, uint64_t n)
{
	bool wanted;

	if (n <= ADMA_EAGER_MAX)
		return true;
	BINDING_WITHOUT_GIL(wanted = adma_worker_wants_bulk(ranks_worker(ranks), dest->number, n));
	return !wanted;
}

struct operation *tagged_send(struct ranks *ranks, const struct rank *dest, uint64_t tag, const Py_buffer *view,
			      uint64_t n, uint8_t flags)
{
	struct adma_worker *worker = ranks_worker(ranks);
	struct operation *op = tagged_new(false, flags, view, n);

	if (!op)
		return NULL;
	if (!tagged_has_segment(ranks, dest, n)) {
		operation_release(op);
		Py_DECREF((PyObject *)op);
		return NULL;
	}
	op->req.source = dest->number;
	op->req.tag = (uint64_t)dest->context << RANKS_TAG_BITS | tag;
	operation_keep(op, ranks->endpoint);
	op = tagged_posted(op, tagged_post_send(worker, &op->req));
	if (op)
		ranks_count();
	return op;
}

static struct operation *tagged_expect(struct ranks *ranks, const struct ranks_from *from, struct operation *op)
{
	op->req.source = from->number;
	op->req.tag = from->tag;
	op->req.mask = from->mask;
	operation_keep(op, ranks->endpoint);
	return tagged_posted(op, tagged_post_receive(ranks_worker(ranks), &op->req));
}

struct operation *tagged_receive(struct ranks *ranks, const struct ranks_from *from, const Py_buffer *view, uint64_t n,
				 uint8_t flags)
{
	struct operation *op = tagged_new(true, flags | ADMA_REQ_CONSUME, view, n);

	return op ? tagged_expect(ranks, from, op) : NULL;
}

struct operation *tagged_take(struct ranks *ranks, const struct ranks_from *from, uint8_t flags)
{
	struct operation *op = operation_new(operation_type, true, ADMA_TAGGED, flags | ADMA_REQ_TAKE);

	return op ? tagged_expect(ranks, from, op) : NULL;
}

struct operation *tagged_receive_taken(struct ranks *ranks, struct operation *take, const Py_buffer *view)
{
	struct operation *op = tagged_new(true, TAGGED_NOW, view, (uint64_t)view->len);
	struct adma_worker *worker = ranks_worker(ranks);
	int rc;

	if (!op)
		return NULL;
	operation_keep(op, ranks->endpoint);
	BINDING_WITHOUT_GIL(rc = adma_worker_receive_taken(worker, take->req.taken, &op->req));
	return tagged_posted(op, rc);
}

/* ---- ends ---- */

/* A message from anybody often comes soon. Otherwise whoever waits for it also has to learn of the death of each that may send. */
static int tagged_spin(struct adma_wait *wait)
{
	int state;

	BINDING_WITHOUT_GIL(state = adma_drive(wait, -1, TAGGED_BUDGET_NS));
	return state == ADMA_READY;
}

/*
 * The thread also sleeps on the deaths of the ranks. Which of them has died Python finds out, and it does so the first time,
 * too. If it does so in another thread, the descriptor tells nobody else of that death: so this is looked at now and then.
 */
static int tagged_wait_for_anybody(const struct ranks *ranks, struct adma_wait *wait)
{
	int found = 0;

	while (!found && (wait->also = ranks_obituary(ranks)) >= 0) {
		int64_t slice = adma_now() + ADMA_REST_NS;

		found = wait_loop_run(wait, slice);
		if (!found && adma_now() < slice)
			return 0;
	}
	return found || wait->also >= 0 ? found : tagged_spin(wait);
}

static int tagged_wait_for(struct ranks *ranks, struct adma_req **reqs, int count, bool anybody)
{
	struct adma_worker *worker = ranks_worker(ranks);
	struct adma_wait wait = {
		.workers = &worker,
		.nworkers = 1,
		.reqs = reqs,
		.nreqs = count,
		.need = count,
		.also = -1,
	};

	if (!worker)
		return 0;
	return anybody ? tagged_wait_for_anybody(ranks, &wait) : wait_loop_run(&wait, ADMA_NEVER);
}

int tagged_wait(struct ranks *ranks, struct operation *const *ops, int count, bool anybody)
{
	struct adma_req *few[2], **reqs = few;
	int pending = 0, found;

	if (count > 2) {
		reqs = PyMem_Malloc((size_t)count * sizeof(struct adma_req *));
		if (!reqs)
			return PyErr_NoMemory() ? 0 : -1;
	}
	for (int i = 0; i < count; i++)
		if (!operation_is_done(ops[i]))
			reqs[pending++] = &ops[i]->req;
	if (pending)
		found = adma_list_empty(&ranks_takes) ? tagged_wait_for(ranks, reqs, pending, anybody) : 0;
	else
		found = 1;
	if (reqs != few)
		PyMem_Free(reqs);
	return found;
}

void tagged_withdraw(struct ranks *ranks, struct operation *op)
{
	struct adma_worker *worker = ranks_worker(ranks);
	PyObject *type, *value, *trace;

	PyErr_Fetch(&type, &value, &trace);
	if (worker && !operation_is_done(op))
		BINDING_WITHOUT_GIL((void)adma_worker_cancel(worker, &op->req));
	Py_DECREF((PyObject *)op);
	PyErr_Restore(type, value, trace);
}

bool tagged_settle(struct operation *op)
{
	if (op->req.error)
		return false;
	if (op->nbytes < 0) {
		if (!(op->req.flags & ADMA_REQ_DROPPED))
			operation_observe(op);
		op->nbytes = (int64_t)op->req.done_bytes;
	}
	(void)operation_let_go_if_done(op);
	interpreter_let_go();
	return true;
}

PyObject *tagged_leave(PyObject *comm, struct operation *op, enum tagged_what what, bool anybody, PyObject *status,
		       const char *call)
{
	PyObject *result = PyObject_CallMethod(ranks_python.rest, "finish", "OOiOOs", comm, (PyObject *)op, (int)what,
					       anybody ? Py_True : Py_False, status ? status : Py_None, call);

	Py_DECREF((PyObject *)op);
	return result;
}

static bool tagged_fill(PyObject *status, long source, long tag, uint64_t nbytes)
{
	PyObject *nothing =
		PyObject_CallMethod(ranks_python.rest, "tell", "OllK", status, source, tag, (unsigned long long)nbytes);

	Py_XDECREF(nothing);
	return nothing;
}

int tagged_tell(const struct ranks *ranks, PyObject *status, const struct operation *op, uint64_t nbytes)
{
	long source;

	if (!status || status == Py_None)
		return 1;
	source = ranks_source(ranks, op->req.source);
	if (source < 0)
		return 0;
	return tagged_fill(status, source, (long)(op->req.tag & RANKS_TAG_MASK), nbytes) ? 1 : -1;
}

bool tagged_tell_nothing(PyObject *status)
{
	return !status || status == Py_None || tagged_fill(status, ranks_python.any_source, ranks_python.any_tag, 0);
}
