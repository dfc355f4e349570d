/* SPDX-License-Identifier: BSD-3-Clause */
/* caller.h - a channel, as the calls that carry messages know it. */
#ifndef ADMA_BINDING_CALLER_H
#define ADMA_BINDING_CALLER_H

#include "binding/endpoint.h"

struct caller {
	PyObject_HEAD struct endpoint *endpoint; /* NULL before __init__() */
	PyObject *blocking;        /* goes on with what cannot be done in one call: adma/messages/blocking.py */
	PyObject *receiver;        /* and with objects: adma/messages/incoming.py */
	bool unpickles;            /* the peer's objects may be unpickled */
};

static inline struct caller *caller_of(PyObject *object)
{
	return (struct caller *)object;
}

/* The endpoint; NULL: an exception is set, because the channel was not made as it should be. */
static inline struct endpoint *caller_endpoint(PyObject *self)
{
	struct endpoint *endpoint = caller_of(self)->endpoint;

	if (!endpoint)
		PyErr_SetString(PyExc_RuntimeError, "this channel was not made by adma: use connect() or listen()");
	return endpoint;
}

/* The same for calls that read: what was started before is posted before. */
static inline struct endpoint *caller_reader(PyObject *self)
{
	struct endpoint *endpoint = caller_endpoint(self);

	if (endpoint)
		endpoint_post_deferred(endpoint);
	return endpoint;
}

#endif
