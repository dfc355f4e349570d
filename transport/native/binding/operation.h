/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * operation.h - one message under way: the core's request, and the buffer that it may touch, in one object.
 *
 * An operation that was posted is *kept* by its endpoint until it is done, whoever else drops it: what is posted
 * happens, and its buffer stays for as long. No reference is counted for that. When the last one goes, the
 * operation is an orphan: its memory stays, and is freed when its buffer is let go.
 *
 * The buffers that a stopped peer may still touch are quarantined: they and their operations stay for ever.
 */
#ifndef ADMA_BINDING_OPERATION_H
#define ADMA_BINDING_OPERATION_H

#include "base/list.h"
#include "binding/endpoint.h"

/* What adma_hold.owner says of the request of an operation. */
#define OPERATION_OWNS 1

struct operation {
	PyObject_HEAD struct adma_req req;
	Py_buffer view;            /* valid while `lends` */
	struct endpoint *endpoint; /* a reference; NULL before it is posted, and of an orphan */
	struct adma_list kept;     /* in endpoint->posted, or in the quarantine */
	struct adma_list all;      /* of all that are kept, for a forked child */
	struct vector *vector; /* what the message is spread over once it was read, or NULL. It goes with the buffer */
	PyObject *weakrefs;
	PyObject *cast; /* the request as cffi knows it, once it was asked for; or NULL */
	PyObject *feeder; /* called when the core asks for a buffer, or is done; or NULL. It goes with the buffer */
	int64_t nbytes; /* the message's, once its caller has seen that it is done without an error; or -1 */
	bool lends;
	bool orphan; /* no reference is left */
};

extern PyTypeObject *operation_type;

bool operation_types_make(PyObject *module);

static inline struct operation *operation_of(PyObject *object)
{
	return (struct operation *)object;
}

static inline struct operation *operation_of_hold(void *hold)
{
	return adma_container_of(hold, struct operation, req); /* the hold is the request's first member */
}

/* Is the core through with it? What was written before is seen. */
static inline bool operation_is_done(const struct operation *op)
{
	return __atomic_load_n(&op->req.state, __ATOMIC_ACQUIRE) == ADMA_DONE_STATE;
}

/* A new one of this type, without a buffer. NULL: an exception is set. */
struct operation *operation_new(PyTypeObject *type, bool read, uint16_t kind, uint8_t flags);

/* It owns the buffer from now on, and the message is there. */
void operation_lend(struct operation *op, const Py_buffer *view);

/* Before it is posted. */
void operation_keep(struct operation *op, struct endpoint *endpoint);

/* Give the buffer back to its owner. The operation is done, or was never posted. Twice is no error. */
void operation_release(struct operation *op);

/*
 * The core has listed it (adma_hold.h): its buffer goes if it is done, and one is supplied if it is asked for. False: it
 * is neither yet.
 */
bool operation_attend(struct operation *op);

/* The same if it is done: true. */
bool operation_let_go_if_done(struct operation *op);

/* The caller has seen that it is done, or will never look. */
void operation_observe(struct operation *op);

/* Release all that an endpoint keeps, because the core has let go of them. What is held is quarantined. */
void operation_release_posted(struct adma_list *posted);

/* ---- functions of the module ---- */

/* Release what is quarantined: for tests, which know that nobody touches it any more. */
PyObject *operation_end_quarantine(PyObject *module, PyObject *nothing);

/* In a forked child: let go of all buffers, whatever becomes of them in the parent. */
PyObject *operation_after_fork(PyObject *module, PyObject *nothing);

/* `cast` makes the core's request, as cffi knows it, of its address. */
PyObject *operation_cast_by(PyObject *module, PyObject *cast);

/* How many operations are done and still hold a buffer: for tests. */
PyObject *operation_count_finished(PyObject *module, PyObject *nothing);

#endif
