/* SPDX-License-Identifier: BSD-3-Clause */
/* posted.c - the type of endpoints: it keeps what was posted; see posted.h. */
#include "binding/posted.h"

#include "binding/operation.h"

static PyObject *endpoint_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	PyObject *self = allocate(type, 0);

	(void)args, (void)kwargs;
	if (self)
		adma_list_init(&endpoint_of(self)->posted);
	return self;
}

static void endpoint_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	operation_release_posted(&endpoint_of(self)->posted); /* its channel or worker is freed, or never was */
	release(self);
	Py_DECREF((PyObject *)type);
}

static PyObject *endpoint_aim(PyObject *self, PyObject *address)
{
	void *chan = PyLong_AsVoidPtr(address);

	if (!chan && PyErr_Occurred())
		return NULL;
	endpoint_of(self)->chan = chan;
	Py_RETURN_NONE;
}

static PyObject *endpoint_serve(PyObject *self, PyObject *address)
{
	void *worker = PyLong_AsVoidPtr(address);

	if (!worker && PyErr_Occurred())
		return NULL;
	endpoint_of(self)->worker = worker;
	Py_RETURN_NONE;
}

static PyObject *endpoint_reap(PyObject *self, PyObject *nothing)
{
	adma_list_for_each_safe(at, after, &endpoint_of(self)->posted) {
		struct operation *op = adma_container_of(at, struct operation, kept);

		if (!operation_is_done(op))
			continue;
		operation_release(op);
		after = endpoint_of(self)->posted.next; /* what releases a buffer may have changed the list */
	}
	(void)nothing;
	Py_RETURN_NONE;
}

static PyObject *endpoint_release_all(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	operation_release_posted(&endpoint_of(self)->posted);
	Py_RETURN_NONE;
}

static PyObject *endpoint_post_deferred_method(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	endpoint_post_deferred(endpoint_of(self));
	Py_RETURN_NONE;
}

static PyObject *endpoint_expose(PyObject *self, PyObject *nothing)
{
	endpoint_of(self)->exposed = true;
	return endpoint_post_deferred_method(self, nothing);
}

static PyMethodDef endpoint_methods[] = {
	{"aim", endpoint_aim, METH_O, PyDoc_STR("Say where the core's channel is; 0: there is none any more.")},
	{"post_deferred", endpoint_post_deferred_method, METH_NOARGS,
	 PyDoc_STR("Post the read that was started and is not posted yet, before anybody could see that.")},
	{"expose", endpoint_expose, METH_NOARGS,
	 PyDoc_STR("A descriptor will tell of messages: from now on reads are posted as they are started.")},
	{"serve", endpoint_serve, METH_O, PyDoc_STR("The same of the core's worker.")},
	{"reap", endpoint_reap, METH_NOARGS, PyDoc_STR("Let go of what is done, also where nobody looked at it.")},
	{"release_all", endpoint_release_all, METH_NOARGS,
	 PyDoc_STR("Let go of everything: the core's channel or worker is gone.")},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot endpoint_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("What operations are posted on. It keeps them until they are done.")},
	{Py_tp_new, endpoint_create},
	{Py_tp_dealloc, endpoint_dealloc},
	{Py_tp_methods, endpoint_methods},
	{0, NULL},
};

static PyType_Spec endpoint_spec = {
	.name = "adma._core._messages.Endpoint",
	.basicsize = sizeof(struct endpoint),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = endpoint_slots,
};

bool posted_type_make(PyObject *module)
{
	endpoint_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &endpoint_spec, NULL);
	return endpoint_type && !PyModule_AddType(module, endpoint_type);
}
