/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * persistent.h - persistent requests: a write or a read of one buffer, which is started again and again.
 *
 * To start one makes no object and holds no buffer anew. A small message that can be written, or is there to be read, is
 * done in the call that starts it. A read of a small message that is not there is *deferred*: it is posted only when another
 * call could see whether it was. Until then it costs nothing, and the wait for it is that of a read().
 *
 * One read of an endpoint is deferred at most. What could see it are other calls for messages of that endpoint, all that
 * asks for its core channel (`chan`), and descriptors that tell of messages: where one was made nothing is deferred.
 */
#ifndef ADMA_BINDING_PERSISTENT_H
#define ADMA_BINDING_PERSISTENT_H

#include "binding/endpoint.h"

/* The methods read_init() and write_init() of a channel; calls.c has their texts. */
PyObject *persistent_read_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *persistent_write_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* ---- function of the module ---- */

/* The type, which derives from this class of Python's. */
PyObject *persistent_type_on(PyObject *module, PyObject *base);

#endif
