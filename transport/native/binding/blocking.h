/* SPDX-License-Identifier: BSD-3-Clause */
/* blocking.h - the methods write() and read() of a channel; calls.c has their texts. */
#ifndef ADMA_BINDING_BLOCKING_H
#define ADMA_BINDING_BLOCKING_H

#include "binding/caller.h"
#include "binding/deadline.h"
#include "binding/operation.h"

/* A call that writes or reads one message, and waits for that. */
struct transfer {
	struct caller *caller;
	struct endpoint *endpoint;
	struct deadline deadline;
	Py_buffer view; /* is held */
	struct vector *vector; /* what a message that was read is spread over, or NULL */
	bool read;
	const char *verb;
};

/*
 * Post a message that cannot be done in one call, and wait. Lets go of the buffer. Returns what the call returns: None
 * for a write, the length for a read, or NULL.
 */
PyObject *blocking_post(struct transfer *transfer, uint16_t kind);

/* Write a small message in one call: see adma_write_now(). Lets go of the GIL only where another thread has the lock. */
int blocking_publish(struct adma_chan *chan, uint16_t kind, const void *p, uint64_t n);

/*
 * Read a small message of bytes in one call: see adma_read_now(). `spins`: look for a moment, without the GIL, for one that
 * is not there yet. Otherwise as blocking_publish().
 */
int64_t blocking_take(struct adma_chan *chan, void *p, uint64_t n, bool spins);

/*
 * Post an operation that has its buffer, and drive it for a moment: see adma_run(). An exception may be set, because a
 * segment that it needs could not be made; then it was not posted.
 */
int64_t blocking_run(struct endpoint *endpoint, struct operation *op);

PyObject *blocking_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *blocking_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
