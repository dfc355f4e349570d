/* SPDX-License-Identifier: BSD-3-Clause */
/* persistent.c - persistent requests; see persistent.h. */
#include "binding/persistent.h"

#include <errno.h>

#include "api/message.h"
#include "binding/arguments.h"
#include "binding/blocking.h"
#include "binding/buffer.h"
#include "binding/caller.h"
#include "binding/deadline.h"
#include "binding/interpreter.h"
#include "binding/posts.h"
#include "binding/request.h"
#include "binding/wait_loop.h"
#include "shm/layout.h"

/* A wait looks so often before it lets go of the GIL: to let go of it and to take it back takes longer than that. */
#define PERSISTENT_LOOKS 32

enum persistent_state {
	PERSISTENT_IDLE,     /* it was never started, or has failed and was told so */
	PERSISTENT_DEFERRED, /* a read that is not posted yet */
	PERSISTENT_POSTED,   /* `op` is what was posted; it may be done */
	PERSISTENT_FAILED,   /* it could not be posted: `error` */
	PERSISTENT_DONE,     /* `nbytes` */
};

struct persistent {
	PyObject_HEAD struct endpoint *endpoint; /* a reference */
	struct deferred deferred;                /* is the endpoint's, while it is deferred */
	Py_buffer view;                          /* is held for as long as this lives */
	struct operation *op;                    /* a reference, or NULL */
	enum persistent_state state;
	int64_t error; /* a result of the core */
	int64_t nbytes;
	bool read;
};

static PyTypeObject *persistent_type;

static struct persistent *persistent_of(PyObject *self)
{
	return (struct persistent *)self;
}

static const char *persistent_verb(const struct persistent *self)
{
	return self->read ? "read" : "write";
}

/* ---- posting ---- */

static void persistent_undefer(struct persistent *self)
{
	if (self->endpoint->deferred == &self->deferred)
		self->endpoint->deferred = NULL;
}

static void persistent_fail(struct persistent *self, int64_t error)
{
	self->state = PERSISTENT_FAILED;
	self->error = error;
}

/* An operation that holds the buffer by itself, since it may outlive this request. NULL: an exception is set. */
static struct operation *persistent_operation(const struct persistent *self)
{
	int access = self->read ? PyBUF_WRITABLE : PyBUF_SIMPLE;
	struct operation *op;
	Py_buffer view;

	if (PyObject_GetBuffer(self->view.obj, &view, access))
		return NULL;
	op = operation_new(request_type, self->read, ADMA_BYTES, ADMA_REQ_TELL);
	if (op)
		operation_lend(op, &view);
	else
		PyBuffer_Release(&view);
	return op;
}

/* Post it. False: an exception is set, and it is idle. */
static bool persistent_post(struct persistent *self)
{
	struct operation *op;
	int rc;

	persistent_undefer(self);
	self->state = PERSISTENT_IDLE;
	if (!self->read && !posts_prepare(self->endpoint, (uint64_t)self->view.len))
		return false;
	op = persistent_operation(self);
	if (!op)
		return false;
	rc = posts_put(self->endpoint, op);
	if (rc) {
		op->nbytes = 0; /* there is no result that anybody could look at */
		Py_DECREF((PyObject *)op);
		(void)endpoint_raise(self->endpoint, rc, 0, NULL);
		return false;
	}
	self->op = op;
	self->state = PERSISTENT_POSTED;
	return posts_look(self->endpoint);
}

/* See struct deferred. What it fails with is the error of this request. */
static void persistent_post_deferred(struct deferred *deferred)
{
	struct persistent *self = adma_container_of(deferred, struct persistent, deferred);
	PyObject *type, *value, *trace;
	struct operation *op;
	int rc;

	persistent_undefer(self);
	PyErr_Fetch(&type, &value, &trace);
	op = persistent_operation(self);
	rc = op ? posts_put(self->endpoint, op) : -ENOMEM;
	if (rc) {
		persistent_fail(self, rc);
		if (op)
			op->nbytes = 0; /* there is no result that anybody could look at */
		Py_XDECREF((PyObject *)op);
	} else {
		self->op = op;
		self->state = PERSISTENT_POSTED;
	}
	PyErr_Restore(type, value, trace); /* in place of one for which there was no memory */
}

/* ---- starting ---- */

/* It is done with a message of so many bytes, or has failed, or is still to be done: then -ADMA_E_PENDING. */
static void persistent_take(struct persistent *self, int64_t result)
{
	persistent_undefer(self);
	if (result < 0) {
		persistent_fail(self, result);
		self->nbytes = result == -ADMA_E_TOOLONG ? (int64_t)adma_needed() : 0;
		return;
	}
	self->state = PERSISTENT_DONE;
	self->nbytes = result;
}

/* May a read wait to be posted until somebody could see it? */
static bool persistent_may_defer(const struct persistent *self)
{
	return !self->endpoint->exposed && !self->endpoint->deferred &&
	       !adma_wants_slot(self->endpoint->chan, (uint64_t)self->view.len);
}

static bool persistent_start_read(struct persistent *self)
{
	struct endpoint *endpoint = self->endpoint;
	int64_t n;

	endpoint_post_deferred(endpoint);
	n = adma_try_read_now(endpoint->chan, ADMA_BYTES, self->view.buf, (uint64_t)self->view.len);
	if (n != -ADMA_E_PENDING && n != -ADMA_E_BUSY) {
		persistent_take(self, n);
		return true;
	}
	if (!persistent_may_defer(self))
		return persistent_post(self);
	self->state = PERSISTENT_DEFERRED;
	endpoint->deferred = &self->deferred;
	return true;
}

static bool persistent_start_write(struct persistent *self)
{
	int result = blocking_publish(self->endpoint->chan, ADMA_BYTES, self->view.buf, (uint64_t)self->view.len);

	if (result == -ADMA_E_PENDING)
		return persistent_post(self);
	persistent_take(self, result ? result : (int64_t)self->view.len);
	return true;
}

/* ---- ending ---- */

/* Raise why it failed; it is idle then. Returns -1. */
static int64_t persistent_raise(struct persistent *self)
{
	self->state = PERSISTENT_IDLE;
	if (self->error == -ADMA_E_TOOLONG)
		adma_set_needed((uint64_t)self->nbytes);
	(void)endpoint_raise(self->endpoint, self->error, (uint64_t)self->view.len, NULL);
	return -1;
}

/* What was posted is done: its bytes; -1: it failed, and an exception is set. */
static int64_t persistent_settle(struct persistent *self)
{
	struct operation *op = self->op;
	int64_t nbytes = request_settle(op);

	self->op = NULL;
	self->state = nbytes < 0 ? PERSISTENT_IDLE : PERSISTENT_DONE;
	self->nbytes = nbytes;
	Py_DECREF((PyObject *)op);
	return nbytes;
}

/* Is nothing of it to be waited for? */
static bool persistent_is_over(const struct persistent *self)
{
	return self->state != PERSISTENT_DEFERRED && (self->state != PERSISTENT_POSTED || operation_is_done(self->op));
}

/* It is over: its bytes; -1: an exception is set. */
static int64_t persistent_result(struct persistent *self)
{
	switch (self->state) {
	case PERSISTENT_DONE:
		return self->nbytes;
	case PERSISTENT_POSTED:
		return persistent_settle(self);
	case PERSISTENT_FAILED:
		return persistent_raise(self);
	case PERSISTENT_IDLE:
	case PERSISTENT_DEFERRED:
		break;
	}
	PyErr_Format(PyExc_ValueError, "this %s was not started: call start() first", persistent_verb(self));
	return -1;
}

/* A deferred read: look for its message for a moment. It is over then, or posted. False: an exception is set. */
static bool persistent_await(struct persistent *self, const struct deadline *deadline)
{
	struct adma_chan *chan = self->endpoint->chan;
	void *p = self->view.buf;
	uint64_t space = (uint64_t)self->view.len;
	int64_t n = -ADMA_E_PENDING;

	for (int looks = deadline->now ? 1 : PERSISTENT_LOOKS; looks && n == -ADMA_E_PENDING; looks--)
		n = adma_try_read_now(chan, ADMA_BYTES, p, space);
	if (n == -ADMA_E_PENDING || n == -ADMA_E_BUSY)
		return persistent_post(self);
	persistent_take(self, n);
	return true;
}

/* ---- methods ---- */

static PyObject *persistent_start(PyObject *object, PyObject *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (!persistent_is_over(self)) {
		PyErr_Format(PyExc_RuntimeError, "start(): this %s is pending, and owns its buffer; wait for it first",
			     persistent_verb(self));
		return NULL;
	}
	if ((self->state == PERSISTENT_POSTED || self->state == PERSISTENT_FAILED) && persistent_result(self) < 0)
		return NULL;
	interpreter_let_go();
	if (!(self->read ? persistent_start_read(self) : persistent_start_write(self)))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *persistent_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	struct persistent *self = persistent_of(object);
	PyObject *timeout = Py_None;
	struct deadline deadline;
	int64_t nbytes;
	int found;

	if (!arguments_parse("wait", args, nargs, kwnames, 0, 1, (const char *const[]){"timeout"}, &timeout) ||
	    !deadline_begin(&deadline, timeout, "wait"))
		return NULL;
	if (self->state == PERSISTENT_DEFERRED && !persistent_await(self, &deadline))
		return NULL;
	if (!persistent_is_over(self)) {
		struct operation *op = self->op;

		Py_INCREF((PyObject *)op); /* another thread may see that it is done */
		found = wait_loop_run_one(self->endpoint->chan, &op->req, deadline.ns);
		Py_DECREF((PyObject *)op);
		if (found < 0)
			return NULL;
		if (!found)
			return PyObject_CallMethod(object, "_late", "O", timeout);
	}
	nbytes = persistent_result(self);
	return nbytes < 0 ? NULL : PyLong_FromLongLong(nbytes);
}

static PyObject *persistent_check(PyObject *object, PyObject *nothing)
{
	struct persistent *self = persistent_of(object);
	struct deadline now = {.timeout = Py_None, .now = true};

	(void)nothing;
	if (self->state == PERSISTENT_DEFERRED && !persistent_await(self, &now))
		return NULL;
	if (!persistent_is_over(self)) {
		struct operation *op = self->op;
		int state;

		Py_INCREF((PyObject *)op);
		BINDING_WITHOUT_GIL(state = adma_check(self->endpoint->chan, &op->req));
		Py_DECREF((PyObject *)op);
		if (!persistent_is_over(self)) {
			interpreter_let_go();
			if (state < 0)
				return endpoint_raise(self->endpoint, state, 0, NULL);
			Py_RETURN_FALSE;
		}
	}
	if (persistent_result(self) < 0)
		return NULL;
	Py_RETURN_TRUE;
}

static PyObject *persistent_let_go(PyObject *object, PyObject *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (self->op)
		(void)operation_let_go_if_done(self->op);
	Py_RETURN_NONE;
}

static PyObject *persistent_seen(PyObject *object, PyObject *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (self->op && operation_is_done(self->op))
		operation_observe(self->op);
	Py_RETURN_NONE;
}

static PyObject *persistent_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	(void)type, (void)args, (void)kwargs;
	return PyErr_Format(PyExc_TypeError, "persistent requests are made by read_init() and write_init()");
}

static void persistent_dealloc(PyObject *object)
{
	struct persistent *self = persistent_of(object);
	PyTypeObject *type = Py_TYPE(object);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
	struct operation *op;
	Py_buffer view;

	if (self->state == PERSISTENT_DEFERRED) /* what was started happens, whoever drops it */
		persistent_post_deferred(&self->deferred);
	op = self->op;
	buffer_move(&view, &self->view);
	Py_XDECREF((PyObject *)op);
	PyBuffer_Release(&view);
	Py_DECREF((PyObject *)self->endpoint);
	release(object);
	Py_DECREF((PyObject *)type);
}

/* ---- what the base class asks for ---- */

/* Whoever asks for them may wait for them in another way, so a deferred read is posted. */
static PyObject *persistent_get_operations(PyObject *object, void *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (self->state == PERSISTENT_DEFERRED)
		persistent_post_deferred(&self->deferred);
	return self->op ? PyTuple_Pack(1, (PyObject *)self->op) : PyTuple_New(0);
}

static PyObject *persistent_get_done(PyObject *object, void *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (self->state == PERSISTENT_DEFERRED)
		persistent_post_deferred(&self->deferred);
	return PyBool_FromLong(persistent_is_over(self));
}

static PyObject *persistent_get_endpoint(PyObject *object, void *nothing)
{
	(void)nothing;
	return Py_NewRef((PyObject *)persistent_of(object)->endpoint);
}

static PyObject *persistent_get_verb(PyObject *object, void *nothing)
{
	(void)nothing;
	return PyUnicode_FromString(persistent_verb(persistent_of(object)));
}

static PyObject *persistent_get_nbytes(PyObject *object, void *nothing)
{
	struct persistent *self = persistent_of(object);

	(void)nothing;
	if (self->state != PERSISTENT_DONE)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(self->nbytes);
}

static PyMethodDef persistent_methods[] = {
	{"start", persistent_start, METH_NOARGS,
	 PyDoc_STR("start($self)\n--\n\n"
		   "Start it: the buffer is written as it is now, or filled by the next message.\n\n"
		   "RuntimeError: it was started before, and is pending. BlockingIOError: as many requests are\n"
		   "outstanding as `max_outstanding` allows. If it failed before, and nobody was told, that error is\n"
		   "raised, and it is not started.")},
	{"check", persistent_check, METH_NOARGS,
	 PyDoc_STR("check($self)\n--\n\n"
		   "Is it done? Never blocks, but may copy for a moment. Raises the error with which it failed.\n\n"
		   "ValueError: it was not started.")},
	{"wait", BINDING_FAST(persistent_wait), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("wait($self, timeout=None)\n--\n\n"
		   "Wait until it is done; returns the message's bytes. After that it may be started again.\n\n"
		   "`timeout` is in seconds; None means no limit. After a TimeoutError, or the exception of\n"
		   "a signal handler, it is still pending and owns its buffer. Raises the error with which it\n"
		   "failed, once; ValueError: it was not started.")},
	{"_seen", persistent_seen, METH_NOARGS, PyDoc_STR("A call has reported it as done: a program was told.")},
	{"_let_go", persistent_let_go, METH_NOARGS, PyDoc_STR("Give back what was held for this start alone.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef persistent_getset[] = {
	{"_done", persistent_get_done, NULL, PyDoc_STR("Is it done, as far as can be seen without making progress?"),
	 NULL},
	{"_operations", persistent_get_operations, NULL, PyDoc_STR("What was posted, if anything."), NULL},
	{"_endpoint", persistent_get_endpoint, NULL, PyDoc_STR("The end of the channel on which it is started."), NULL},
	{"_verb", persistent_get_verb, NULL, PyDoc_STR("What it does, for people: \"read\" or \"write\"."), NULL},
	{"_nbytes", persistent_get_nbytes, NULL,
	 PyDoc_STR("The message's bytes, once it was seen to be done without an error; or None."), NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot persistent_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("A write or a read of one buffer that is started again and again.")},
	{Py_tp_new, persistent_create},
	{Py_tp_dealloc, persistent_dealloc},
	{Py_tp_methods, persistent_methods},
	{Py_tp_getset, persistent_getset},
	{0, NULL},
};

static PyType_Spec persistent_spec = {
	.name = "adma._core._messages.BufferStarter",
	.basicsize = sizeof(struct persistent),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = persistent_slots,
};

PyObject *persistent_type_on(PyObject *module, PyObject *base)
{
	PyObject *bases;

	(void)module;
	if (persistent_type) {
		PyErr_SetString(PyExc_RuntimeError, "the type of persistent requests was made already");
		return NULL;
	}
	bases = PyTuple_Pack(1, base);
	if (!bases)
		return NULL;
	persistent_type = (PyTypeObject *)PyType_FromSpecWithBases(&persistent_spec, bases);
	Py_DECREF(bases);
	Py_XINCREF((PyObject *)persistent_type);
	return (PyObject *)persistent_type;
}

static PyObject *persistent_init(PyObject *channel, const char *call, bool read, PyObject *const *args,
				 Py_ssize_t nargs, PyObject *kwnames)
{
	static const char *const names[] = {"buf"};
	struct endpoint *endpoint = caller_endpoint(channel);
	allocfunc allocate;
	struct persistent *self;
	PyObject *buf = NULL;
	Py_buffer view;

	if (!endpoint || !arguments_parse(call, args, nargs, kwnames, 1, 1, names, &buf) ||
	    !buffer_hold(buf, call, read, &view))
		return NULL;
	allocate = (allocfunc)PyType_GetSlot(persistent_type, Py_tp_alloc);
	self = persistent_of(allocate(persistent_type, 0));
	if (!self) {
		PyBuffer_Release(&view);
		return NULL;
	}
	Py_INCREF((PyObject *)endpoint);
	self->endpoint = endpoint;
	self->deferred.post = persistent_post_deferred;
	self->read = read;
	buffer_move(&self->view, &view);
	return (PyObject *)self;
}

PyObject *persistent_read_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return persistent_init(self, "read_init", true, args, nargs, kwnames);
}

PyObject *persistent_write_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return persistent_init(self, "write_init", false, args, nargs, kwnames);
}
