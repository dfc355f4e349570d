/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copy_request.h - one copy inside this process: the core's copy, and the two buffers that it touches, in one object.
 *
 * A copy that was posted is *kept* until it is done, whoever else drops it: it has a reference to itself. What is kept
 * is listed, for a forked child and for the end of the interpreter.
 *
 * The buffers of a copy that failed with EIO may still be written by a device: they and their request stay for ever.
 */
#ifndef ADMA_BINDING_COPY_REQUEST_H
#define ADMA_BINDING_COPY_REQUEST_H

#include "adma_copy.h"
#include "base/list.h"
#include "binding/python.h"

/* What adma_hold.owner says of a copy. (OPERATION_OWNS is 1.) */
#define COPY_REQUEST_OWNS 2

struct copy_request {
	PyObject_HEAD struct adma_copy copy;
	Py_buffer dst, src;    /* valid while `lends` */
	PyObject *dims;        /* owns the memory that the plan of a strided copy refers to, or NULL */
	struct adma_list kept;
	PyObject *weakrefs;
	int64_t nbytes;        /* once a caller has seen that it is done without an error; or -1 */
	bool lends;
	bool made;             /* the call made the copy itself: there never was a `copy` */
};

static inline struct copy_request *copy_request_of(PyObject *object)
{
	return (struct copy_request *)object;
}

static inline struct copy_request *copy_request_of_hold(void *hold)
{
	return adma_container_of(hold, struct copy_request, copy); /* the hold is the copy's first member */
}

/* Is the engine through with it? What was copied is seen. */
static inline bool copy_request_is_done(const struct copy_request *request)
{
	return request->made || adma_copy_done(&request->copy);
}

/* A new one of this type, without buffers. NULL: an exception is set. */
struct copy_request *copy_request_new(PyTypeObject *type);

/* It owns both buffers from now on. */
void copy_request_lend(struct copy_request *request, const Py_buffer *dst, const Py_buffer *src);

/* Before it is posted. */
void copy_request_keep(struct copy_request *request);

/*
 * Give the buffers back to their owners. The copy is done, or was never posted. Twice is no error. This may drop the
 * last reference.
 */
void copy_request_let_go(struct copy_request *request);

/* The same if it is done: true. */
bool copy_request_let_go_if_done(struct copy_request *request);

/* Py_tp_dealloc of the type. */
void copy_request_dealloc(PyObject *self);

/* ---- functions of the module ---- */

/* In a forked child: let go of all buffers, since the engine touches none of them here. */
PyObject *copy_request_after_fork(PyObject *module, PyObject *nothing);

/* How many copies are done and still hold buffers: for tests. */
PyObject *copy_request_count_finished(PyObject *module, PyObject *nothing);

/* A list of all that were posted and did not let go of their buffers. */
PyObject *copy_request_list(PyObject *module, PyObject *nothing);

#endif
