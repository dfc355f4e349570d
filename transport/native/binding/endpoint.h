/* SPDX-License-Identifier: BSD-3-Clause */
/* endpoint.h - what operations are posted on: a channel or a worker, as the types of this folder know it. */
#ifndef ADMA_BINDING_ENDPOINT_H
#define ADMA_BINDING_ENDPOINT_H

#include "binding/python.h"

#include "adma.h"

/* What a call has started, and what is posted only when somebody could see whether it was: see persistent.h. */
struct deferred {
	void (*post)(struct deferred *deferred);
};

/*
 * The base of `Endpoint` in adma/messages and of its `Worker`. It keeps the operations that were posted, until they are
 * done and their buffers are let go.
 */
struct endpoint {
	PyObject_HEAD struct adma_chan *chan;  /* NULL: it was closed and freed, or this is no channel */
	struct adma_worker *worker; /* the same for a worker */
	struct adma_list posted; /* of struct operation */
	uint32_t posts;
	struct deferred *deferred; /* is not posted yet, or NULL; not a reference */
	bool exposed; /* a descriptor tells of its messages, or may: nothing is deferred any more */
};

extern PyTypeObject *endpoint_type; /* posted.c makes it */

static inline struct endpoint *endpoint_of(PyObject *object)
{
	return (struct endpoint *)object;
}

/* Somebody is about to look, or to read. */
static inline void endpoint_post_deferred(struct endpoint *endpoint)
{
	if (endpoint->deferred)
		endpoint->deferred->post(endpoint->deferred);
}

/* Raise what a result of the core means: adma/messages/endpoint.py knows. Returns NULL. */
PyObject *endpoint_raise(struct endpoint *endpoint, int64_t code, uint64_t space, PyObject *operation);

/* Make the segment that a write of n bytes needs, if there is one that is not there yet. False: an exception is set. */
bool endpoint_bring_segment(struct endpoint *endpoint, uint64_t n);

#endif
