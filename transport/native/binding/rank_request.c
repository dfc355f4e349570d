/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_request.c - the requests of adma.mpi; see rank_request.h. */
#include "binding/rank_request.h"

#include <string.h>
#include <structmember.h>

#include "base/list.h"
#include "binding/arguments.h"
#include "binding/rank_arrival.h"
#include "binding/rank_pickle.h"
#include "shm/layout.h"

#define SPARES_MAX 256 /* a window of requests */
#define FEW 64         /* so many are waited for without memory for them */

struct rank_request {
	PyObject_HEAD struct operation *op; /* NULL: it has a handle, or is null */
	struct ranks *ranks;                /* of the operation */
	PyObject *comm;
	PyObject *handle; /* NULL: it has an operation, or is null */
	PyObject *weakrefs;
	struct adma_list take; /* in ranks_takes */
	enum tagged_what what;
	bool anybody;
};

static PyTypeObject *rank_request_type;
static PyObject *rank_request_base;

/* Guarded by the GIL. */
static struct rank_request *spares[SPARES_MAX];
static int spare_count;

static inline struct rank_request *rank_request_of(PyObject *object)
{
	return (struct rank_request *)object;
}

/* ---- the receives of objects that Python does not know ---- */

static void take_list(struct rank_request *request)
{
	if (!adma_list_listed(&request->take))
		adma_list_push_front(&ranks_takes, &request->take);
}

/* ---- life ---- */

static struct rank_request *rank_request_allocate(void)
{
	struct rank_request *request = spare_count ? spares[--spare_count] : PyObject_Malloc(sizeof(*request));

	if (!request)
		return (struct rank_request *)PyErr_NoMemory();
	memset(request, 0, sizeof(*request));
	(void)PyObject_Init((PyObject *)request, rank_request_type);
	return request;
}

PyObject *rank_request_new(struct ranks *ranks, PyObject *comm, struct operation *op, enum tagged_what what,
			   bool anybody)
{
	struct rank_request *request = rank_request_allocate();

	if (!request) {
		Py_DECREF((PyObject *)op);
		return NULL;
	}
	Py_INCREF((PyObject *)ranks);
	Py_INCREF(comm);
	request->op = op;
	request->ranks = ranks;
	request->comm = comm;
	request->what = what;
	request->anybody = anybody;
	adma_list_init(&request->take);
	if (what == TAGGED_TAKE)
		take_list(request);
	return (PyObject *)request;
}

/* It has no operation any more. Returns that, with its reference. */
static struct operation *rank_request_part(struct rank_request *request)
{
	struct operation *op = request->op;
	PyObject *ranks = (PyObject *)request->ranks, *comm = request->comm;

	adma_list_remove(&request->take);
	request->op = NULL;
	request->ranks = NULL;
	request->comm = NULL;
	Py_XDECREF(ranks);
	Py_XDECREF(comm);
	return op;
}

static void rank_request_dealloc(PyObject *self)
{
	struct rank_request *request = rank_request_of(self);
	PyTypeObject *type = Py_TYPE(self);
	PyObject *op, *handle;

	if (request->weakrefs)
		PyObject_ClearWeakRefs(self);
	adma_list_remove(&request->take); /* nobody may find it any more, as Python may run now */
	if (request->op && request->what == TAGGED_TAKE)
		rank_arrival_keep(request->comm, request->op);
	op = (PyObject *)rank_request_part(request);
	handle = request->handle;
	request->handle = NULL;
	if (type == rank_request_type && spare_count < SPARES_MAX)
		spares[spare_count++] = request;
	else if (type == rank_request_type)
		PyObject_Free(request);
	else
		((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF((PyObject *)type);
	Py_XDECREF(op); /* what was posted goes on */
	Py_XDECREF(handle);
}

/* ---- the handle ---- */

/* What it refers to, for Python, which goes on with its operation from now on. */
static PyObject *rank_request_get_handle(PyObject *self, void *nothing)
{
	struct rank_request *request = rank_request_of(self);
	PyObject *handle, *before;

	(void)nothing;
	if (request->handle)
		return Py_NewRef(request->handle);
	handle = PyObject_CallMethod(ranks_python.rest, "handle_of", "OOiO", request->comm ? request->comm : Py_None,
				     request->op ? (PyObject *)request->op : Py_None, (int)request->what,
				     request->anybody ? Py_True : Py_False);
	if (!handle || request->handle) { /* another thread was quicker */
		Py_XDECREF(handle);
		return request->handle ? Py_NewRef(request->handle) : NULL;
	}
	request->handle = Py_NewRef(handle);
	before = (PyObject *)rank_request_part(request);
	Py_XDECREF(before);
	return handle;
}

PyObject *rank_requests_adopt(PyObject *module, PyObject *nothing)
{
	struct adma_list *first;

	(void)module, (void)nothing;
	while ((first = adma_list_first(&ranks_takes))) {
		PyObject *request = Py_NewRef((PyObject *)adma_container_of(first, struct rank_request, take));
		PyObject *handle = rank_request_get_handle(request, NULL);

		Py_DECREF(request);
		if (!handle)
			return NULL;
		Py_DECREF(handle);
	}
	Py_RETURN_NONE;
}

static int rank_request_set_handle(PyObject *self, PyObject *handle, void *nothing)
{
	struct rank_request *request = rank_request_of(self);
	PyObject *before = request->handle, *op;

	(void)nothing;
	if (!handle) {
		PyErr_SetString(PyExc_AttributeError, "_handle cannot be deleted");
		return -1;
	}
	request->handle = Py_NewRef(handle);
	op = (PyObject *)rank_request_part(request);
	Py_XDECREF(op);
	Py_XDECREF(before);
	return 0;
}

/* A null request, or another one for what a request of adma's or of MPI's refers to. */
static PyObject *rank_request_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"request", NULL};
	PyObject *request = Py_None, *self, *handle;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &request))
		return NULL;
	self = type == rank_request_type ? (PyObject *)rank_request_allocate()
					 : ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!self)
		return NULL;
	adma_list_init(&rank_request_of(self)->take);
	if (request == Py_None)
		return self;
	handle = PyObject_CallMethod(ranks_python.rest, "handle_in", "O", request);
	if (!handle)
		Py_CLEAR(self);
	else
		rank_request_of(self)->handle = handle;
	return self;
}

/* ---- one request ---- */

/* Call the method of the base class. */
static PyObject *rank_request_slow(const char *name, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
				   PyObject *kwnames)
{
	return arguments_pass_on(rank_request_base, name, self, args, nargs, kwnames);
}

/* Its status, if that is all it is asked for: one argument, that may be named. False: the call is not for here. */
static bool rank_request_status(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **status)
{
	*status = nargs ? args[0] : Py_None;
	return nargs <= 1 && (!kwnames || !PyTuple_Size(kwnames));
}

/* It is done, without an error. The request is null from now on. */
static void rank_request_finish(struct rank_request *request, struct operation *op)
{
	struct operation *own;

	(void)tagged_settle(op);
	if (request->op != op) /* another thread was quicker */
		return;
	own = rank_request_part(request);
	Py_DECREF((PyObject *)own);
}

/*
 * Fill in the status of an operation that is done, without an error. 1; 0: only Python can; -1: an exception is set. The
 * request is still what it was.
 */
static int rank_request_tell(const struct rank_request *request, const struct operation *op, PyObject *status)
{
	if (request->what == TAGGED_SEND)
		return tagged_tell_nothing(status) ? 1 : -1;
	return request->ranks ? tagged_tell(request->ranks, status, op, op->req.done_bytes) : 0;
}

/* It is done: 1 if that could be told here; 0: Python has to; -1: an exception is set. */
static int rank_request_end(struct rank_request *request, struct operation *op, PyObject *status)
{
	int told = op->req.error ? 0 : rank_request_tell(request, op, status);

	if (told > 0)
		rank_request_finish(request, op);
	return told;
}

/* Is it a send or a receive of bytes that goes its way here, while nothing else has to be looked after? */
static bool rank_request_is_ours(const struct rank_request *request)
{
	return request->op && request->what != TAGGED_TAKE && ranks_worker(request->ranks) && ranks_are_at_rest();
}

/* Wait. 1: it is over; 0: not for here; -1: an exception is set. */
static int rank_request_wait_for(struct rank_request *request, PyObject *status)
{
	struct ranks *ranks = request->ranks;
	struct operation *op = request->op;
	int found;

	if (!rank_request_is_ours(request))
		return 0;
	Py_INCREF((PyObject *)op); /* other threads may be at this request as well, though they should not */
	Py_INCREF((PyObject *)ranks);
	found = tagged_wait(ranks, &op, 1, request->anybody);
	if (found > 0)
		found = rank_request_end(request, op, status);
	Py_DECREF((PyObject *)ranks);
	Py_DECREF((PyObject *)op);
	return found;
}

/* It is an object's, and done. NULL without an exception: Python has to. */
static PyObject *rank_request_take_it(struct rank_request *request, struct ranks *ranks, PyObject *status)
{
	struct rank_call call = {.name = "wait", .comm = request->comm, .ranks = ranks};
	struct operation *op = request->op;
	PyObject *object;

	/* Of a longer one more may have to come, and who is interrupted then still has the request. */
	if (op->req.needed > ADMA_EAGER_MAX || !rank_pickle_is_standard() || !rank_arrival_is_plain(&call, op, status))
		return NULL;
	Py_INCREF((PyObject *)ranks); /* until the call ends */
	Py_INCREF(call.comm);
	object = rank_arrival_end(&call, rank_request_part(request), status);
	Py_DECREF(call.comm);
	return object;
}

/* Wait for an object. NULL without an exception: not for here. */
static PyObject *rank_request_wait_for_object(struct rank_request *request, PyObject *status)
{
	struct ranks *ranks = request->ranks;
	struct operation *op = request->op;
	PyObject *object = NULL;
	int found;

	if (!op || request->what != TAGGED_TAKE || !ranks_worker(ranks) || !ranks_are_at_rest())
		return NULL;
	Py_INCREF((PyObject *)op);
	Py_INCREF((PyObject *)ranks);
	adma_list_remove(&request->take); /* it is this thread that goes on with it */
	found = tagged_wait(ranks, &op, 1, request->anybody);
	if (request->op == op && found > 0)
		object = rank_request_take_it(request, ranks, status);
	if (request->op == op)
		take_list(request);
	Py_DECREF((PyObject *)ranks);
	Py_DECREF((PyObject *)op);
	return object;
}

static PyObject *rank_request_wait_as(PyObject *self, const char *name, PyObject *result, PyObject *const *args,
				      Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *status, *object;
	int found = 0;

	if (rank_request_status(args, nargs, kwnames, &status)) {
		object = rank_request_wait_for_object(rank_request_of(self), status);
		if (object && result == Py_None)
			return object;
		Py_XDECREF(object);
		if (object)
			return Py_NewRef(result);
		found = PyErr_Occurred() ? -1 : rank_request_wait_for(rank_request_of(self), status);
	}
	if (found < 0)
		return NULL;
	return found ? Py_NewRef(result) : rank_request_slow(name, self, args, nargs, kwnames);
}

static PyObject *rank_request_Wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return rank_request_wait_as(self, "Wait", Py_True, args, nargs, kwnames);
}

static PyObject *rank_request_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	return rank_request_wait_as(self, "wait", Py_None, args, nargs, kwnames);
}

/* Make progress until there is nothing to do for now, or this is done. */
static void rank_request_advance(struct adma_worker *worker, const struct operation *op)
{
	while (!operation_is_done(op) && adma_worker_progress(worker) > 0)
		;
}

/* 1: it is over; 0: it is not; -1: an exception is set; 2: not for here. */
static int rank_request_test_it(struct rank_request *request, PyObject *status)
{
	struct operation *op = request->op;
	int found = 0;

	if (!rank_request_is_ours(request) || !adma_list_empty(&ranks_takes))
		return 2;
	Py_INCREF((PyObject *)op);
	if (!operation_is_done(op)) {
		struct adma_worker *worker = ranks_worker(request->ranks);

		BINDING_WITHOUT_GIL(rank_request_advance(worker, op));
	}
	if (operation_is_done(op)) {
		found = rank_request_end(request, op, status);
		found = found ? found : 2;
	}
	Py_DECREF((PyObject *)op);
	return found;
}

static PyObject *rank_request_Test(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *status;
	int found = rank_request_status(args, nargs, kwnames, &status)
			    ? rank_request_test_it(rank_request_of(self), status)
			    : 2;

	if (found < 0)
		return NULL;
	return found < 2 ? PyBool_FromLong(found) : rank_request_slow("Test", self, args, nargs, kwnames);
}

static PyObject *rank_request_test(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	PyObject *status;
	int found = rank_request_status(args, nargs, kwnames, &status)
			    ? rank_request_test_it(rank_request_of(self), status)
			    : 2;

	if (found < 0)
		return NULL;
	if (found < 2)
		return PyTuple_Pack(2, found ? Py_True : Py_False, Py_None);
	return rank_request_slow("test", self, args, nargs, kwnames);
}

/* ---- all of several ---- */

/* Lists and tuples, of requests and of statuses. */
static bool are_items(PyObject *items)
{
	return PyList_CheckExact(items) || PyTuple_CheckExact(items);
}

static Py_ssize_t items_count(PyObject *items)
{
	return PyList_CheckExact(items) ? PyList_Size(items) : PyTuple_Size(items);
}

static PyObject *item_of(PyObject *items, Py_ssize_t i)
{
	return PyList_CheckExact(items) ? PyList_GetItem(items, i) : PyTuple_GetItem(items, i);
}

/*
 * The operation of a request that is for here, or NULL. `anybody`: the communicator of those from anybody. Of several only
 * Python can tell who has died.
 */
static struct operation *item_operation(PyObject *item, struct ranks **ranks, struct ranks **anybody)
{
	struct rank_request *request = rank_request_of(item);

	if (!Py_IS_TYPE(item, rank_request_type) || !request->op || request->what == TAGGED_TAKE)
		return NULL;
	*ranks = request->ranks;
	if (!request->anybody || operation_is_done(request->op))
		return request->op;
	if (*anybody && *anybody != request->ranks)
		return NULL;
	*anybody = request->ranks;
	return request->op;
}

/* Collect the operations, with references. False: one of the requests is not for here. */
static bool all_collect(PyObject *requests, struct operation **ops, Py_ssize_t count, struct ranks **ranks,
			struct ranks **anybody, Py_ssize_t *collected)
{
	for (*collected = 0; *collected < count; ++*collected) {
		struct operation *op = item_operation(item_of(requests, *collected), ranks, anybody);

		if (!op)
			return false;
		Py_INCREF((PyObject *)op);
		ops[*collected] = op;
	}
	return ranks_worker(*ranks) && ranks_are_at_rest();
}

/* They are done. Do the requests still have these operations, of which none has failed? */
static bool all_went_well(PyObject *requests, struct operation *const *ops, Py_ssize_t count)
{
	if (items_count(requests) != count)
		return false;
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = item_of(requests, i);

		if (!Py_IS_TYPE(item, rank_request_type) || rank_request_of(item)->op != ops[i] || ops[i]->req.error)
			return false;
	}
	return true;
}

/*
 * Fill in a status for each, of operations that are done, without an error. 1; 0: only Python can; -1: an exception is set.
 * The requests are still what they were.
 */
static int all_tell(PyObject *requests, struct operation *const *ops, Py_ssize_t count, PyObject *statuses)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item, *status;
		int told;

		if (items_count(requests) != count || items_count(statuses) <= i)
			return 0; /* to tell a status may have run code of the program's */
		item = item_of(requests, i);
		status = item_of(statuses, i);
		if (!Py_IS_TYPE(item, rank_request_type) || rank_request_of(item)->op != ops[i])
			return 0;
		Py_INCREF(item);
		Py_INCREF(status);
		told = rank_request_tell(rank_request_of(item), ops[i], status);
		Py_DECREF(status);
		Py_DECREF(item);
		if (told <= 0)
			return told;
	}
	return 1;
}

static void all_finish(PyObject *requests, struct operation *const *ops, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count && i < items_count(requests); i++) {
		PyObject *item = item_of(requests, i);

		if (!item || !Py_IS_TYPE(item, rank_request_type) || rank_request_of(item)->op != ops[i])
			continue; /* to let a buffer go may have run code of the program's */
		Py_INCREF(item);
		rank_request_finish(rank_request_of(item), ops[i]);
		Py_DECREF(item);
	}
}

/* 1: they are all over; 0: not for here; -1: an exception is set. */
static int all_wait(PyObject *requests, struct operation **ops, Py_ssize_t count, PyObject *statuses)
{
	struct ranks *ranks = NULL, *anybody = NULL;
	Py_ssize_t collected;
	int found = 0;

	if (all_collect(requests, ops, count, &ranks, &anybody, &collected)) {
		if (anybody)
			ranks = anybody;
		Py_INCREF((PyObject *)ranks);
		found = tagged_wait(ranks, ops, (int)count, anybody != NULL);
		Py_DECREF((PyObject *)ranks);
	}
	if (found > 0) {
		found = all_went_well(requests, ops, count);
		if (found && statuses)
			found = all_tell(requests, ops, count, statuses);
		if (found > 0)
			all_finish(requests, ops, count);
	}
	for (Py_ssize_t i = 0; i < collected; i++)
		Py_DECREF((PyObject *)ops[i]);
	return found;
}

static const char *const all_names[] = {"requests", "statuses", "timeout"};

/*
 * The arguments of a call for here: lists or tuples, the second of which has a status for each request or is NULL.
 * 1; 0: not for here; -1: an exception is set.
 */
static int all_arguments(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			 PyObject **requests, PyObject **statuses)
{
	PyObject *values[3] = {NULL};

	if (nargs > 2) /* Python tells, in its words */
		return 0;
	if (!arguments_parse(name, args, nargs, kwnames, 1, 3, all_names, values))
		return -1;
	*requests = values[0];
	*statuses = values[1] == Py_None ? NULL : values[1];
	if ((values[2] && values[2] != Py_None) || !are_items(*requests))
		return 0;
	return !*statuses || (are_items(*statuses) && items_count(*statuses) >= items_count(*requests));
}

/* The same for the arguments of a call. */
static int all_run(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, Py_ssize_t *count)
{
	struct operation *few[FEW], **ops = few;
	PyObject *requests, *statuses;
	int found = all_arguments(name, args, nargs, kwnames, &requests, &statuses);

	if (found <= 0)
		return found;
	*count = items_count(requests);
	if (*count < 1 || *count > INT32_MAX)
		return 0;
	if (*count > FEW)
		ops = PyMem_Malloc((size_t)*count * sizeof(struct operation *));
	if (!ops)
		return PyErr_NoMemory() ? 0 : -1;
	found = all_wait(requests, ops, *count, statuses);
	if (ops != few)
		PyMem_Free(ops);
	return found;
}

static PyObject *rank_request_Waitall(PyObject *type, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	Py_ssize_t count;
	int found = all_run("Waitall", args, nargs, kwnames, &count);

	(void)type;
	if (found < 0)
		return NULL;
	return found ? Py_NewRef(Py_True) : arguments_pass_on(rank_request_base, "Waitall", NULL, args, nargs, kwnames);
}

static PyObject *rank_request_waitall(PyObject *type, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
	Py_ssize_t count;
	int found = all_run("waitall", args, nargs, kwnames, &count);
	PyObject *list;

	(void)type;
	if (found < 0)
		return NULL;
	if (!found)
		return arguments_pass_on(rank_request_base, "waitall", NULL, args, nargs, kwnames);
	list = PyList_New(count);
	for (Py_ssize_t i = 0; list && i < count; i++)
		(void)PyList_SetItem(list, i, Py_NewRef(Py_None));
	return list;
}

/* ---- the type ---- */

static PyMethodDef rank_request_methods[] = {
	{"Wait", BINDING_FAST(rank_request_Wait), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Wait($self, /, status=None, *, timeout=None)\n--\n\n"
		   "Wait until it is complete; returns True. Adma's own: `timeout`, in seconds.\n\n"
		   "TimeoutError: it goes on. MPI.Exception: it failed.")},
	{"wait", BINDING_FAST(rank_request_wait), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("wait($self, /, status=None, *, timeout=None)\n--\n\n"
		   "Wait until it is complete; returns the object that was received, or None. See `Wait`.")},
	{"Test", BINDING_FAST(rank_request_Test), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("Test($self, /, status=None)\n--\n\nIs it complete?")},
	{"test", BINDING_FAST(rank_request_test), METH_FASTCALL | METH_KEYWORDS,
	 PyDoc_STR("test($self, /, status=None)\n--\n\n"
		   "Is it complete? And the object that was received, or None.")},
	{"Waitall", BINDING_FAST(rank_request_Waitall), METH_FASTCALL | METH_KEYWORDS | METH_CLASS,
	 PyDoc_STR("Waitall($type, /, requests, statuses=None, *, timeout=None)\n--\n\n"
		   "Wait until all are complete; returns True.")},
	{"waitall", BINDING_FAST(rank_request_waitall), METH_FASTCALL | METH_KEYWORDS | METH_CLASS,
	 PyDoc_STR("waitall($type, /, requests, statuses=None, *, timeout=None)\n--\n\n"
		   "See `Waitall`; returns the objects that were received.")},
	{NULL, NULL, 0, NULL},
};

static PyGetSetDef rank_request_getset[] = {
	{"_handle", rank_request_get_handle, rank_request_set_handle, PyDoc_STR("What it refers to: handles.py."),
	 NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef rank_request_members[] = {
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct rank_request, weakrefs), READONLY, NULL},
	{NULL, 0, 0, 0, NULL},
};

/* The data alone. Classes of Python's are ones that the collector looks after; requests need that as little as operations. */
static PyType_Slot rank_request_data_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("What a request has.")},
	{Py_tp_new, rank_request_create},
	{Py_tp_dealloc, rank_request_dealloc},
	{Py_tp_getset, rank_request_getset},
	{Py_tp_members, rank_request_members},
	{0, NULL},
};

static PyType_Spec rank_request_data_spec = {
	.name = "adma._core._messages.RankRequest",
	.basicsize = sizeof(struct rank_request),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = rank_request_data_slots,
};

static PyType_Slot rank_request_slots[] = {
	{Py_tp_doc,
	 (void *)PyDoc_STR("A message under way: wait for it, test it, cancel it. See MPI-4.1, section 3.7.")},
	{Py_tp_new, rank_request_create},
	{Py_tp_dealloc, rank_request_dealloc},
	{Py_tp_methods, rank_request_methods},
	{0, NULL},
};

static PyType_Spec rank_request_spec = {
	.name = "adma.mpi.requests.Request",
	.basicsize = sizeof(struct rank_request),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = rank_request_slots,
};

PyObject *rank_request_type_on(PyObject *module, PyObject *base)
{
	PyObject *data, *bases;

	if (rank_request_type) {
		PyErr_SetString(PyExc_RuntimeError, "the type of requests was made already");
		return NULL;
	}
	data = PyType_FromModuleAndSpec(module, &rank_request_data_spec, NULL);
	bases = data ? PyTuple_Pack(2, base, data) : NULL;
	if (bases)
		rank_request_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &rank_request_spec, bases);
	Py_XDECREF(bases);
	Py_XDECREF(data);
	Py_INCREF(base);
	rank_request_base = base;
	Py_XINCREF((PyObject *)rank_request_type);
	return (PyObject *)rank_request_type;
}
