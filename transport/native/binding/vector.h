/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vector.h - a list of buffers that make up one message.
 *
 * The message is gathered into memory of its own before it is written, and spread from there once it was read: each end
 * copies it once more than it would copy one buffer. So the members of a write are free when its call has posted it, and those
 * of a read are held until it is done.
 */
#ifndef ADMA_BINDING_VECTOR_H
#define ADMA_BINDING_VECTOR_H

#include "binding/python.h"

struct vector; /* the members of a read, held */

/*
 * As buffer_hold(), also for a list or a tuple of buffers. To be filled by a read, *vector is what the message has to be spread over;
 * otherwise it is NULL, and vector_spread() and vector_release() do nothing. False: an exception is set, and nothing is held.
 */
bool vector_hold(PyObject *buf, const char *call, bool fill, Py_buffer *view, struct vector **vector);

/* Copy the first n bytes of the message at p to the members, in their order. */
void vector_spread(const struct vector *vector, const void *p, uint64_t n);

/* Give the members back to their owners. This may run code of Python's. */
void vector_release(struct vector *vector);

#endif
