/* SPDX-License-Identifier: BSD-3-Clause */
/* operation.c - one message under way; see operation.h. */
#include "binding/operation.h"

#include <string.h>
#include <structmember.h>

#include "adma_hold.h"
#include "adma_worker.h"
#include "binding/buffer.h"
#include "binding/vector.h"

#define SPARES_MAX 256 /* so many are kept for the next messages: a window of them, and no more memory than that */

PyTypeObject *operation_type;

/* All of this is guarded by the GIL. */
static struct operation *spares[SPARES_MAX];
static int spare_count;
static struct adma_list all_kept = ADMA_LIST_INIT(all_kept), quarantine = ADMA_LIST_INIT(quarantine);
static PyObject *request_cast; /* makes a request for cffi of an address */

/* ---- life ---- */

static struct operation *operation_allocate(PyTypeObject *type)
{
	struct operation *op = spare_count ? spares[--spare_count] : PyObject_Malloc(sizeof(*op));

	if (!op)
		return (struct operation *)PyErr_NoMemory();
	memset(op, 0, sizeof(*op));
	(void)PyObject_Init((PyObject *)op, type); /* the type is counted, too */
	return op;
}

static void operation_free(struct operation *op)
{
	if (spare_count < SPARES_MAX)
		spares[spare_count++] = op;
	else
		PyObject_Free(op);
}

struct operation *operation_new(PyTypeObject *type, bool read, uint16_t kind, uint8_t flags)
{
	struct operation *op = operation_allocate(type);

	if (!op)
		return NULL;
	adma_list_init(&op->kept);
	adma_list_init(&op->all);
	op->nbytes = -1;
	op->req.hold.owner = OPERATION_OWNS;
	op->req.is_read = read;
	op->req.kind = kind;
	op->req.flags = flags;
	return op;
}

void operation_lend(struct operation *op, const Py_buffer *view)
{
	buffer_move(&op->view, view);
	op->lends = true;
	op->req.address = view->buf;
	op->req.length = (uint64_t)view->len;
	op->req.total = (uint64_t)view->len;
}

void operation_keep(struct operation *op, struct endpoint *endpoint)
{
	Py_INCREF((PyObject *)endpoint);
	op->endpoint = endpoint;
	adma_list_push_back(&endpoint->posted, &op->kept);
	adma_list_push_back(&all_kept, &op->all);
}

static bool operation_is_kept(const struct operation *op)
{
	return adma_list_listed(&op->kept);
}

/* Nobody has it any more, and it is not kept: give its memory back. */
static void operation_bury(struct operation *op)
{
	PyTypeObject *type = Py_TYPE((PyObject *)op);

	adma_holds_remove(&op->req);
	operation_free(op);
	Py_DECREF((PyObject *)type);
}

void operation_release(struct operation *op)
{
	bool lends = op->lends;
	struct vector *vector;
	PyObject *feeder;
	Py_buffer view;

	if (op->req.held) { /* also where the call that posted it had not left it to its endpoint yet */
		adma_list_remove(&op->kept);
		adma_list_push_back(&quarantine, &op->kept);
		adma_holds_remove(&op->req);
		return;
	}
	adma_list_remove(&op->kept);
	adma_list_remove(&op->all);
	adma_holds_remove(&op->req);
	buffer_move(&view, &op->view);
	op->lends = false;
	feeder = op->feeder;
	op->feeder = NULL;
	vector = op->vector;
	op->vector = NULL;
	if (operation_is_done(op) && !op->req.error)
		vector_spread(vector, view.buf, op->req.done_bytes);
	if (op->orphan)
		operation_bury(op);
	if (lends) /* last: this may run code of Python's, and other threads */
		PyBuffer_Release(&view);
	vector_release(vector);
	Py_XDECREF(feeder);
}

/* Call the feeder, if there is one. It raises nothing that concerns the caller. */
static void operation_feed(struct operation *op)
{
	PyObject *type, *value, *trace, *feeder = op->feeder, *result;

	if (!feeder)
		return;
	Py_INCREF(feeder);
	PyErr_Fetch(&type, &value, &trace);
	result = PyObject_CallNoArgs(feeder);
	if (!result)
		PyErr_WriteUnraisable(feeder);
	Py_XDECREF(result);
	PyErr_Restore(type, value, trace);
	Py_DECREF(feeder);
}

bool operation_attend(struct operation *op)
{
	int32_t state = __atomic_load_n(&op->req.state, __ATOMIC_ACQUIRE);

	if (state != ADMA_NEED_STATE && state != ADMA_DONE_STATE)
		return false;
	adma_holds_remove(&op->req); /* the feeder lets others run */
	if (!op->feeder)
		return operation_let_go_if_done(op) || state == ADMA_NEED_STATE;
	operation_feed(op);
	return true;
}

bool operation_let_go_if_done(struct operation *op)
{
	if (operation_is_kept(op) && !operation_is_done(op))
		return false;
	operation_release(op);
	return true;
}

void operation_observe(struct operation *op)
{
	struct adma_chan *chan = op->endpoint ? op->endpoint->chan : NULL;
	struct adma_worker *worker = op->endpoint ? op->endpoint->worker : NULL;

	if (worker) {
		if (adma_worker_try_observe(worker, &op->req))
			BINDING_WITHOUT_GIL(adma_worker_observe(worker, &op->req));
	} else if (adma_try_observe(chan, &op->req)) {
		BINDING_WITHOUT_GIL(adma_observe(chan, &op->req));
	}
}

/* A result that nobody will look at must not keep fileno() readable, nor a buffer. */
static void operation_drop(struct operation *op)
{
	if (op->nbytes < 0 && op->endpoint)
		operation_observe(op);
	(void)operation_let_go_if_done(op);
}

static void operation_dealloc(PyObject *self)
{
	struct operation *op = operation_of(self);
	struct endpoint *endpoint = op->endpoint;

	if (op->weakrefs)
		PyObject_ClearWeakRefs(self);
	operation_drop(op);
	Py_CLEAR(op->cast);
	/* From here on the GIL is held: it is an orphan, or it is gone. */
	op->endpoint = NULL;
	if (operation_is_kept(op))
		op->orphan = true;
	else
		operation_bury(op);
	Py_XDECREF((PyObject *)endpoint);
}

void operation_release_posted(struct adma_list *posted)
{
	struct adma_list *first;

	while ((first = adma_list_first(posted)))
		operation_release(adma_container_of(first, struct operation, kept));
}

PyObject *operation_end_quarantine(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	adma_list_for_each_entry(op, &quarantine, struct operation, kept)
		op->req.held = 0;
	operation_release_posted(&quarantine);
	Py_RETURN_NONE;
}

PyObject *operation_after_fork(PyObject *module, PyObject *nothing)
{
	struct adma_list *first;

	(void)module, (void)nothing;
	while ((first = adma_list_first(&all_kept))) {
		adma_list_remove(first); /* what is quarantined is left where it is */
		operation_release(adma_container_of(first, struct operation, all));
	}
	Py_RETURN_NONE;
}

PyObject *operation_cast_by(PyObject *module, PyObject *cast)
{
	(void)module;
	Py_INCREF(cast); /* for ever */
	request_cast = cast;
	Py_RETURN_NONE;
}

PyObject *operation_count_finished(PyObject *module, PyObject *nothing)
{
	long count = 0;

	(void)module, (void)nothing;
	adma_list_for_each_entry(op, &all_kept, struct operation, all)
		count += operation_is_done(op) && op->lends;
	return PyLong_FromLong(count);
}

/* ---- what Python sees ---- */

/* May the core touch its buffer? Requests are operations, and so a program can reach these methods. */
static bool operation_refuse_pending(const struct operation *op, const char *call)
{
	if (!operation_is_kept(op) || operation_is_done(op) || op->req.state == ADMA_IDLE_STATE)
		return false;
	(void)PyErr_Format(PyExc_RuntimeError, "%s(): it is pending, and owns its buffer", call);
	return true;
}

static PyObject *operation_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"buf", "read", "kind", "flags", "call", NULL};
	int read = 0, kind = 0, flags = 0;
	const char *call = NULL;
	PyObject *buf;
	struct operation *op;
	Py_buffer view;

	if (type != operation_type) /* its memory is one of the spares */
		return PyErr_Format(PyExc_TypeError, "Operation cannot be the base of another class");
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$piiz", names, &buf, &read, &kind, &flags, &call))
		return NULL;
	op = operation_new(type, read, (uint16_t)kind, (uint8_t)flags);
	if (!op || (buf == Py_None && !call))
		return (PyObject *)op;
	/* Without a call it is our own. Bytes that nobody has seen yet are filled, too. */
	if (call ? !buffer_hold(buf, call, read, &view) : PyObject_GetBuffer(buf, &view, PyBUF_SIMPLE)) {
		Py_DECREF((PyObject *)op);
		return NULL;
	}
	operation_lend(op, &view);
	return (PyObject *)op;
}

static PyObject *operation_aim(PyObject *self, PyObject *buf)
{
	struct operation *op = operation_of(self);
	Py_buffer view, before;
	bool lent;

	if (PyObject_GetBuffer(buf, &view, PyBUF_SIMPLE))
		return NULL;
	lent = op->lends; /* only now: to lend a buffer may run code of Python's */
	if (lent && operation_refuse_pending(op, "aim")) {
		PyBuffer_Release(&view);
		return NULL;
	}
	buffer_move(&before, &op->view);
	if (op->req.state == ADMA_IDLE_STATE) {
		operation_lend(op, &view);
	} else { /* the core reads its request, which supply() changes under the lock */
		buffer_move(&op->view, &view);
		op->lends = true;
	}
	if (lent)
		PyBuffer_Release(&before);
	Py_RETURN_NONE;
}

static PyObject *operation_supply(PyObject *self, PyObject *nothing)
{
	struct operation *op = operation_of(self);
	struct adma_chan *chan = op->endpoint ? op->endpoint->chan : NULL;
	int rc;

	(void)nothing;
	BINDING_WITHOUT_GIL(rc = adma_supply(chan, &op->req, op->view.buf, (uint64_t)op->view.len));
	return PyLong_FromLong(rc);
}

static PyObject *operation_keep_method(PyObject *self, PyObject *endpoint)
{
	if (!PyObject_TypeCheck(endpoint, endpoint_type))
		return PyErr_Format(PyExc_TypeError, "keep(endpoint): an Endpoint");
	if (!operation_is_kept(operation_of(self))) {
		PyObject *before = (PyObject *)operation_of(self)->endpoint;

		operation_keep(operation_of(self), endpoint_of(endpoint));
		Py_XDECREF(before);
	}
	Py_RETURN_NONE;
}

static PyObject *operation_tell(PyObject *self, PyObject *nothing)
{
	struct operation *op = operation_of(self);
	struct adma_chan *chan = op->endpoint ? op->endpoint->chan : NULL;
	int done;

	(void)nothing;
	if (!operation_is_kept(op))
		Py_RETURN_NONE;
	BINDING_WITHOUT_GIL(done = adma_tell(chan, &op->req));
	if (done)
		(void)operation_let_go_if_done(op);
	Py_RETURN_NONE;
}

static PyObject *operation_feed_by(PyObject *self, PyObject *feeder)
{
	struct operation *op = operation_of(self);
	PyObject *before = op->feeder;

	Py_INCREF(feeder);
	op->feeder = feeder;
	Py_XDECREF(before);
	Py_RETURN_NONE;
}

static PyObject *operation_release_method(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	if (operation_refuse_pending(operation_of(self), "release"))
		return NULL;
	operation_release(operation_of(self));
	Py_RETURN_NONE;
}

static PyObject *operation_let_go_method(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	return PyBool_FromLong(operation_let_go_if_done(operation_of(self)));
}

static PyObject *operation_get_req(PyObject *self, void *nothing)
{
	struct operation *op = operation_of(self);
	PyObject *cast;

	(void)nothing;
	if (!op->cast) {
		cast = PyObject_CallFunction(request_cast, "K", (unsigned long long)(uintptr_t)&op->req);
		if (!cast || op->cast) /* another thread was quicker */
			return cast;
		op->cast = cast;
	}
	return Py_NewRef(op->cast);
}

static PyObject *operation_get_done(PyObject *self, void *nothing)
{
	(void)nothing;
	return PyBool_FromLong(operation_is_done(operation_of(self)));
}

static PyObject *operation_get_lends(PyObject *self, void *nothing)
{
	(void)nothing;
	return PyBool_FromLong(operation_of(self)->lends);
}

static PyMethodDef operation_methods[] = {
	{"aim", operation_aim, METH_O, PyDoc_STR("Say which buffer the message is in, or will be in. It is held.")},
	{"supply", operation_supply, METH_NOARGS,
	 PyDoc_STR("Let an open read that met its message go on with the buffer it was aimed at: 0, or an error.")},
	{"keep", operation_keep_method, METH_O,
	 PyDoc_STR("Before it is posted on this endpoint: stay there until the buffer was given back.")},
	{"tell", operation_tell, METH_NOARGS,
	 PyDoc_STR("The call that posted it leaves it pending: from now on others look after the buffer.")},
	{"feed_by", operation_feed_by, METH_O,
	 PyDoc_STR("Before it is posted: what to call when the core asks for a buffer, and when it is done.")},
	{"release", operation_release_method, METH_NOARGS,
	 PyDoc_STR("Give the buffer back to its owner. The operation is done, or was never posted.")},
	{"let_go_if_done", operation_let_go_method, METH_NOARGS,
	 PyDoc_STR("Give the buffer back to its owner, if the core is through with it: True.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef operation_getset[] = {
	{"req", operation_get_req, NULL, PyDoc_STR("The core's request, for cffi; valid as long as this object."),
	 NULL},
	{"done", operation_get_done, NULL, PyDoc_STR("Will the core not touch the buffer any more?"), NULL},
	{"lends", operation_get_lends, NULL, PyDoc_STR("Does it hold a buffer?"), NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef operation_members[] = {
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct operation, weakrefs), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot operation_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("One message under way: the core's request, and the buffer that it may touch.")},
	{Py_tp_new, operation_create},
	{Py_tp_dealloc, operation_dealloc},
	{Py_tp_methods, operation_methods},
	{Py_tp_getset, operation_getset},
	{Py_tp_members, operation_members},
	{0, NULL},
};

static PyType_Spec operation_spec = {
	.name = "adma._core._messages.Operation",
	.basicsize = sizeof(struct operation),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = operation_slots,
};

bool operation_types_make(PyObject *module)
{
	operation_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &operation_spec, NULL);
	return operation_type && !PyModule_AddType(module, operation_type);
}
