/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * module.c - adma._core._messages: the calls that are made for each message, on the C core that cffi has loaded.
 *
 * Both modules are one shared object, so that there is one core in the process: adma/_core/__init__.py asks the loader
 * for this one in the file of that one.
 */
#include "binding/calls.h"
#include "binding/copies.h"
#include "binding/copy_type.h"
#include "binding/interpreter.h"
#include "binding/objects.h"
#include "binding/operation.h"
#include "binding/persistent.h"
#include "binding/pickling.h"
#include "binding/posted.h"
#include "binding/rank_calls.h"
#include "binding/rank_pickle.h"
#include "binding/rank_request.h"
#include "binding/ranks.h"
#include "binding/request.h"
#include "binding/specification.h"
#include "binding/wait_loop.h"
#include "binding/waiting.h"

/* Run the handlers of signals that have come, as the interpreter does between two instructions of the main thread. */
static PyObject *module_check_signals(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	if (PyErr_CheckSignals())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *module_let_go_finished(PyObject *module, PyObject *nothing)
{
	(void)module, (void)nothing;
	interpreter_let_go_finished();
	Py_RETURN_NONE;
}

static PyObject *module_after_fork(PyObject *module, PyObject *nothing)
{
	wait_loop_after_fork();
	return operation_after_fork(module, nothing);
}

static PyMethodDef module_methods[] = {
	{"after_fork", module_after_fork, METH_NOARGS, NULL},
	{"cast_by", operation_cast_by, METH_O, NULL},
	{"check_signals", module_check_signals, METH_NOARGS, NULL},
	{"copies_after_fork", copy_request_after_fork, METH_NOARGS, NULL},
	{"copy", BINDING_FAST(copies_copy), METH_FASTCALL | METH_KEYWORDS, PyDoc_STR(COPIES_COPY_DOC)},
	{"copy_cast_by", copy_type_cast_by, METH_O, NULL},
	{"copy_type_on", copy_type_on, METH_O, NULL},
	{"count_finished", operation_count_finished, METH_NOARGS, NULL},
	{"count_finished_copies", copy_request_count_finished, METH_NOARGS, NULL},
	{"dump", pickling_dump_object, METH_O, NULL},
	{"end_quarantine", operation_end_quarantine, METH_NOARGS, NULL},
	{"icopy", BINDING_FAST(copies_icopy), METH_FASTCALL | METH_KEYWORDS, PyDoc_STR(COPIES_ICOPY_DOC)},
	{"interpreter_begin", interpreter_begin, METH_NOARGS, NULL},
	{"interpreter_end", interpreter_end, METH_NOARGS, NULL},
	{"kept_copies", copy_request_list, METH_NOARGS, NULL},
	{"let_go_finished", module_let_go_finished, METH_NOARGS, NULL},
	{"new_copy", copy_type_new, METH_NOARGS, NULL},
	{"object_read", objects_read_large, METH_VARARGS, NULL},
	{"object_limits", pickling_limits, METH_VARARGS, NULL},
	{"persistent_type_on", persistent_type_on, METH_O, NULL},
	{"rank_pickle_by", rank_pickle_by, METH_VARARGS, NULL},
	{"rank_requests_adopt", rank_requests_adopt, METH_NOARGS, NULL},
	{"rank_request_type_on", rank_request_type_on, METH_O, NULL},
	{"ranks_carried", ranks_carried, METH_NOARGS, NULL},
	{"ranks_deaths", ranks_deaths, METH_NOARGS, NULL},
	{"ranks_note_death", ranks_note_death, METH_NOARGS, NULL},
	{"ranks_prepare", ranks_prepare, METH_VARARGS, NULL},
	{"request_type_on", request_type_on, METH_O, NULL},
	{"specification_types", specification_types, METH_O, NULL},
	{"wait_all", waiting_all, METH_VARARGS, NULL},
	{"wait_on", wait_loop_on, METH_VARARGS, NULL},
	{"wait_on_one", wait_loop_on_one, METH_VARARGS, NULL},
	{"wait_some", waiting_some, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

/* The types and the state are those of the process: another interpreter would share objects with the first one. */
static bool module_may_be_made(void)
{
	if (PyInterpreterState_GetID(PyInterpreterState_Get()))
		PyErr_SetString(PyExc_ImportError,
				"adma cannot be used in a subinterpreter: import it in the main interpreter");
	else if (endpoint_type)
		PyErr_SetString(PyExc_ImportError, "adma was imported already: it cannot be loaded a second time");
	return !PyErr_Occurred();
}

static int module_exec(PyObject *module)
{
	bool made = module_may_be_made() && posted_type_make(module) && operation_types_make(module) &&
		    calls_type_make(module) && ranks_type_make(module) && rank_calls_type_make(module);

	return made ? 0 : -1;
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
	{0, NULL},
};

static struct PyModuleDef module_def = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "adma._core._messages",
	.m_doc = PyDoc_STR("The calls that are made for each message."),
	.m_methods = module_methods,
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__messages(void)
{
	return PyModuleDef_Init(&module_def);
}
