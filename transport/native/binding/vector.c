/* SPDX-License-Identifier: BSD-3-Clause */
/* vector.c - a list of buffers that make up one message; see vector.h. */
#include "binding/vector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding/buffer.h"

#define VECTOR_NAME_MAX 32

struct vector {
	Py_ssize_t count; /* members that are held */
	Py_buffer *views;
};

/* A member as memory, to find those that overlap. */
struct vector_span {
	const char *start, *end;
	Py_ssize_t index;
};

static bool vector_is_list(PyObject *buf)
{
	return PyList_Check(buf) || PyTuple_Check(buf);
}

void vector_release(struct vector *vector)
{
	if (!vector)
		return;
	for (Py_ssize_t i = 0; i < vector->count; i++)
		PyBuffer_Release(&vector->views[i]);
	PyMem_Free(vector->views);
	PyMem_Free(vector);
}

/* One that holds nothing yet, with room for so many members. NULL: an exception is set. */
static struct vector *vector_new(Py_ssize_t room)
{
	struct vector *vector = PyMem_Malloc(sizeof(*vector));
	Py_buffer *views = PyMem_Calloc((size_t)room + 1, sizeof(*views));

	if (!vector || !views) {
		PyMem_Free(vector);
		PyMem_Free(views);
		return (struct vector *)PyErr_NoMemory();
	}
	*vector = (struct vector){.views = views};
	return vector;
}

/* Hold all members of a tuple. NULL: an exception is set. */
static struct vector *vector_collect(PyObject *members, const char *call, bool fill)
{
	Py_ssize_t room = PyTuple_Size(members);
	struct vector *vector = vector_new(room);
	char name[VECTOR_NAME_MAX];

	while (vector && vector->count < room) {
		PyObject *member = PyTuple_GetItem(members, vector->count);

		(void)snprintf(name, sizeof(name), "buf[%zd]", vector->count);
		if (!buffer_hold_named(member, call, name, fill, &vector->views[vector->count])) {
			vector_release(vector);
			return NULL;
		}
		vector->count++;
	}
	return vector;
}

static int vector_compare(const void *one, const void *other)
{
	const char *first = ((const struct vector_span *)one)->start;
	const char *second = ((const struct vector_span *)other)->start;

	return (first > second) - (first < second);
}

/* The members that have bytes, by their addresses. Returns how many. */
static Py_ssize_t vector_sort(const struct vector *vector, struct vector_span *spans)
{
	Py_ssize_t count = 0;

	for (Py_ssize_t i = 0; i < vector->count; i++) {
		const Py_buffer *view = &vector->views[i];
		const char *start = view->buf;

		if (view->len)
			spans[count++] = (struct vector_span){.start = start, .end = start + view->len, .index = i};
	}
	qsort(spans, (size_t)count, sizeof(*spans), vector_compare);
	return count;
}

/* Members to be filled share no memory: a part of the message would be overwritten. False: an exception is set. */
static bool vector_check_overlaps(const struct vector *vector, const char *call)
{
	struct vector_span *spans = PyMem_Calloc((size_t)vector->count + 1, sizeof(*spans));
	Py_ssize_t count = spans ? vector_sort(vector, spans) : 0;
	bool ok = spans;

	if (!spans)
		PyErr_NoMemory();
	for (Py_ssize_t i = 1; ok && i < count; i++) {
		if (spans[i].start >= spans[i - 1].end)
			continue;
		PyErr_Format(PyExc_ValueError,
			     "%s(buf): buf[%zd] and buf[%zd] overlap, so a part of the message would be overwritten; "
			     "pass buffers that share no memory",
			     call, spans[i - 1].index, spans[i].index);
		ok = false;
	}
	PyMem_Free(spans);
	return ok;
}

/* Memory for the message. False: an exception is set. */
static bool vector_reserve(const struct vector *vector, Py_buffer *view)
{
	Py_ssize_t total = 0;
	PyObject *bytes;
	bool ok;

	for (Py_ssize_t i = 0; i < vector->count; i++) {
		if (vector->views[i].len > PY_SSIZE_T_MAX - total) {
			PyErr_NoMemory();
			return false;
		}
		total += vector->views[i].len;
	}
	bytes = PyBytes_FromStringAndSize(NULL, total);
	ok = bytes &&
	     !PyObject_GetBuffer(bytes, view, PyBUF_SIMPLE); /* nobody else has seen these bytes: they may be filled */
	Py_XDECREF(bytes);
	return ok;
}

static void vector_gather(const struct vector *vector, char *p)
{
	for (Py_ssize_t i = 0; i < vector->count; i++) {
		const Py_buffer *view = &vector->views[i];

		if (view->len)
			memcpy(p, view->buf, (size_t)view->len);
		p += view->len;
	}
}

void vector_spread(const struct vector *vector, const void *p, uint64_t n)
{
	const char *from = p;

	for (Py_ssize_t i = 0; vector && n && i < vector->count; i++) {
		const Py_buffer *view = &vector->views[i];
		uint64_t bytes = (uint64_t)view->len < n ? (uint64_t)view->len : n;

		if (bytes)
			memcpy(view->buf, from, bytes);
		from += bytes;
		n -= bytes;
	}
}

bool vector_hold(PyObject *buf, const char *call, bool fill, Py_buffer *view, struct vector **vector)
{
	PyObject *members;
	struct vector *held;
	bool ok;

	*vector = NULL;
	if (!vector_is_list(buf))
		return buffer_hold(buf, call, fill, view);
	members = PySequence_Tuple(buf); /* other threads may change a list */
	held = members ? vector_collect(members, call, fill) : NULL;
	Py_XDECREF(members);
	ok = held && (!fill || vector_check_overlaps(held, call)) && vector_reserve(held, view);
	if (ok && fill) {
		*vector = held;
		return true;
	}
	if (ok)
		BINDING_WITHOUT_GIL(vector_gather(held, view->buf));
	vector_release(held);
	return ok;
}
