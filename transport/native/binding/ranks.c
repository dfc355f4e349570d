/* SPDX-License-Identifier: BSD-3-Clause */
/* ranks.c - a communicator of adma.mpi, for its compiled calls; see ranks.h. */
#include "binding/ranks.h"

#include "base/list.h"

struct ranks_python ranks_python;
struct adma_list ranks_takes = ADMA_LIST_INIT(ranks_takes);
static PyTypeObject *ranks_type;
static unsigned long long carried; /* guarded by the GIL */
static unsigned int deaths;        /* the same */

struct ranks *ranks_find(PyObject *comm)
{
	static PyObject *name;
	PyObject *dict, *found;

	if (!name)
		name = PyUnicode_InternFromString("_ranks");
	dict = name && ranks_python.rest ? PyObject_GenericGetDict(comm, NULL) : NULL;
	found = dict ? PyDict_GetItemWithError(dict, name) : NULL;
	if (found && Py_IS_TYPE(found, ranks_type) && ranks_of(found)->open && ranks_worker(ranks_of(found))) {
		Py_INCREF(found);
	} else {
		PyErr_Clear();
		found = NULL;
	}
	Py_XDECREF(dict);
	return (struct ranks *)found;
}

void ranks_count(void)
{
	carried++;
}

/* ---- where to, and where from ---- */

/* A plain number of Python's. False: it is something else, or too large. */
static bool ranks_number(PyObject *object, long *number)
{
	int overflow;

	if (!PyLong_CheckExact(object))
		return false;
	*number = PyLong_AsLongAndOverflow(object, &overflow);
	return !overflow;
}

static const struct rank *ranks_at(const struct ranks *ranks, long number)
{
	return number >= 0 && number < ranks->count && ranks->each[number].reached ? &ranks->each[number] : NULL;
}

const struct rank *ranks_dest(const struct ranks *ranks, PyObject *dest)
{
	long number;

	return ranks_number(dest, &number) ? ranks_at(ranks, number) : NULL;
}

bool ranks_tag(const struct ranks *ranks, PyObject *tag, uint64_t *wire)
{
	long number = 0;

	if (tag && (!ranks_number(tag, &number) || number < 0 || number > ranks->tag_max))
		return false;
	*wire = (uint64_t)number;
	return true;
}

bool ranks_from(const struct ranks *ranks, PyObject *source, PyObject *tag, struct ranks_from *from)
{
	const struct rank *rank = NULL;
	long at = ranks_python.any_source, number = ranks_python.any_tag;

	*from = (struct ranks_from){.number = ADMA_ANY_SOURCE, .tag = ranks->context, .mask = RANKS_PLAIN_MASK};
	if (source && !ranks_number(source, &at))
		return false;
	from->anybody = at == ranks_python.any_source;
	if (!from->anybody)
		rank = ranks_at(ranks, at);
	if (from->anybody ? !ranks->anybody : !rank)
		return false;
	if (rank)
		from->number = rank->number;
	if (tag && !ranks_number(tag, &number))
		return false;
	if (number == ranks_python.any_tag)
		from->mask &= ~RANKS_TAG_MASK;
	else if (number < 0 || number > ranks->tag_max)
		return false;
	else
		from->tag |= (uint64_t)number;
	return true;
}

long ranks_source(const struct ranks *ranks, uint32_t number)
{
	for (long rank = 0; rank < ranks->count; rank++)
		if (ranks->each[rank].reached && ranks->each[rank].number == number)
			return rank;
	return -1;
}

int ranks_obituary(const struct ranks *ranks)
{
	return ranks->told == deaths ? ranks->obituary : -1;
}

/* ---- what Python sees ---- */

static PyObject *ranks_create(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"worker", "count", "context", "tag_max", "anybody", NULL};
	PyObject *worker;
	long count, context, tag_max;
	int anybody;
	struct ranks *ranks;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!lllp", names, endpoint_type, &worker, &count, &context,
					 &tag_max, &anybody))
		return NULL;
	ranks = (struct ranks *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
	if (!ranks)
		return NULL;
	ranks->each = PyMem_Calloc((size_t)count + 1, sizeof(*ranks->each));
	if (!ranks->each) {
		Py_DECREF((PyObject *)ranks);
		return PyErr_NoMemory();
	}
	Py_INCREF(worker);
	ranks->endpoint = endpoint_of(worker);
	ranks->count = count;
	ranks->context = (uint64_t)context << RANKS_TAG_BITS;
	ranks->tag_max = tag_max;
	ranks->anybody = anybody;
	ranks->open = true;
	ranks->obituary = -1;
	return (PyObject *)ranks;
}

static void ranks_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);
	struct endpoint *endpoint = ranks_of(self)->endpoint;

	PyMem_Free(ranks_of(self)->each);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_XDECREF((PyObject *)endpoint);
	Py_DECREF((PyObject *)type);
}

static PyObject *ranks_reach(PyObject *self, PyObject *args)
{
	struct ranks *ranks = ranks_of(self);
	unsigned long number, context;
	long rank;

	if (!PyArg_ParseTuple(args, "lkk", &rank, &number, &context))
		return NULL;
	if (rank < 0 || rank >= ranks->count)
		return PyErr_Format(PyExc_IndexError, "reach(): there are ranks 0 to %ld", ranks->count - 1);
	ranks->each[rank] = (struct rank){.number = (uint32_t)number, .context = (uint32_t)context, .reached = true};
	Py_RETURN_NONE;
}

static PyObject *ranks_watch(PyObject *self, PyObject *args)
{
	unsigned int told;
	int fd;

	if (!PyArg_ParseTuple(args, "iI", &fd, &told))
		return NULL;
	ranks_of(self)->obituary = fd;
	ranks_of(self)->told = told;
	Py_RETURN_NONE;
}

static PyObject *ranks_close(PyObject *self, PyObject *nothing)
{
	(void)nothing;
	ranks_of(self)->open = false;
	Py_RETURN_NONE;
}

static PyMethodDef ranks_methods[] = {
	{"reach", ranks_reach, METH_VARARGS,
	 PyDoc_STR("A rank has this endpoint of the worker, and calls the communicator by this number.")},
	{"watch", ranks_watch, METH_VARARGS,
	 PyDoc_STR(
		 "This descriptor is readable once any of the ranks ends, but for deaths that were noted: so many were, "
		 "and the communicator was told of its own.")},
	{"close", ranks_close, METH_NOARGS, PyDoc_STR("The communicator was freed.")},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot ranks_slots[] = {
	{Py_tp_doc, (void *)PyDoc_STR("A communicator, for its compiled calls: which ranks the worker reaches.")},
	{Py_tp_new, ranks_create},
	{Py_tp_dealloc, ranks_dealloc},
	{Py_tp_methods, ranks_methods},
	{0, NULL},
};

static PyType_Spec ranks_spec = {
	.name = "adma._core._messages.Ranks",
	.basicsize = sizeof(struct ranks),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = ranks_slots,
};

bool ranks_type_make(PyObject *module)
{
	ranks_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &ranks_spec, NULL);
	return ranks_type && !PyModule_AddType(module, ranks_type);
}

PyObject *ranks_prepare(PyObject *module, PyObject *args)
{
	struct ranks_python *python = &ranks_python;

	(void)module;
	if (!PyArg_ParseTuple(args, "OO!OOll", &python->rest, &PySet_Type, &python->staged, &python->dropped,
			      &python->slow, &python->any_source, &python->any_tag))
		return NULL;
	Py_INCREF(python->rest); /* all of these for ever */
	Py_INCREF(python->staged);
	Py_INCREF(python->dropped);
	Py_INCREF(python->slow);
	Py_RETURN_NONE;
}

PyObject *ranks_note_death(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	deaths++;
	Py_RETURN_NONE;
}

PyObject *ranks_deaths(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	return PyLong_FromUnsignedLong(deaths);
}

PyObject *ranks_carried(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	return PyLong_FromUnsignedLongLong(carried);
}
