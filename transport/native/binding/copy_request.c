/* SPDX-License-Identifier: BSD-3-Clause */
/* copy_request.c - one copy inside this process; see copy_request.h. */
#include "binding/copy_request.h"

#include <errno.h>
#include <string.h>

#include "adma_hold.h"
#include "binding/buffer.h"

#define SPARES_MAX 64 /* so many are kept for the next copies */

/* All of this is guarded by the GIL. */
static struct copy_request *spares[SPARES_MAX];
static int spare_count;
static struct adma_list all_kept = ADMA_LIST_INIT(all_kept);

struct copy_request *copy_request_new(PyTypeObject *type)
{
	struct copy_request *request = spare_count ? spares[--spare_count] : PyObject_Malloc(sizeof(*request));

	if (!request)
		return (struct copy_request *)PyErr_NoMemory();
	memset(request, 0, sizeof(*request));
	(void)PyObject_Init((PyObject *)request, type); /* the type is counted, too */
	adma_list_init(&request->kept);
	request->nbytes = -1;
	request->copy.hold.owner = COPY_REQUEST_OWNS;
	return request;
}

void copy_request_lend(struct copy_request *request, const Py_buffer *dst, const Py_buffer *src)
{
	buffer_move(&request->dst, dst);
	buffer_move(&request->src, src);
	request->lends = true;
}

void copy_request_keep(struct copy_request *request)
{
	Py_INCREF((PyObject *)request);
	adma_list_push_back(&all_kept, &request->kept);
}

void copy_request_let_go(struct copy_request *request)
{
	bool kept = adma_list_listed(&request->kept), lends = request->lends;
	Py_buffer dst, src;

	buffer_move(&dst, &request->dst);
	buffer_move(&src, &request->src);
	adma_holds_remove(&request->copy);
	adma_list_remove(&request->kept);
	if (request->copy.error == EIO)
		return; /* for ever */
	request->lends = false;
	if (lends) { /* this may run code of Python's, and other threads */
		PyBuffer_Release(&dst);
		PyBuffer_Release(&src);
	}
	if (kept)
		Py_DECREF((PyObject *)request);
}

bool copy_request_let_go_if_done(struct copy_request *request)
{
	if (!copy_request_is_done(request))
		return false;
	copy_request_let_go(request);
	return true;
}

void copy_request_dealloc(PyObject *self)
{
	struct copy_request *request = copy_request_of(self);
	PyTypeObject *type = Py_TYPE(self);

	if (request->weakrefs)
		PyObject_ClearWeakRefs(self);
	copy_request_let_go(request);
	Py_CLEAR(request->dims);
	if (spare_count < SPARES_MAX)
		spares[spare_count++] = request;
	else
		PyObject_Free(request);
	Py_DECREF((PyObject *)type);
}

PyObject *copy_request_count_finished(PyObject *module, PyObject *nothing)
{
	long count = 0;

	(void)module, (void)nothing;
	adma_list_for_each_entry(request, &all_kept, struct copy_request, kept)
		count += copy_request_is_done(request);
	return PyLong_FromLong(count);
}

PyObject *copy_request_after_fork(PyObject *module, PyObject *nothing)
{
	struct adma_list *first;

	(void)module, (void)nothing;
	while ((first = adma_list_first(&all_kept)))
		copy_request_let_go(adma_container_of(first, struct copy_request, kept));
	Py_RETURN_NONE;
}

PyObject *copy_request_list(PyObject *module, PyObject *nothing)
{
	PyObject *list = PyList_New(0);

	(void)module, (void)nothing;
	/* Nothing else runs meanwhile: an append takes memory, which calls nobody. */
	adma_list_for_each_entry(request, &all_kept, struct copy_request, kept) {
		if (list && PyList_Append(list, (PyObject *)request))
			Py_CLEAR(list);
	}
	return list;
}
