/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_call.c - how the compiled calls of communicators begin and end; see rank_call.h. */
#include "binding/rank_call.h"

#include "binding/arguments.h"

bool rank_call_begin(struct rank_call *call, const struct rank_call_form *form, PyObject **values)
{
	call->ranks = NULL;
	for (int i = 0; i < form->count; i++)
		values[i] = NULL;
	if (call->nargs > form->by_position) /* Python tells, in its words */
		return true;
	if (!arguments_parse(call->name, call->args, call->nargs, call->kwnames, form->required, form->count,
			     form->names, values))
		return false;
	for (int i = form->by_position; i < form->count; i++)
		if (values[i] && values[i] != Py_None)
			return true;
	if (ranks_are_at_rest())
		call->ranks = ranks_find(call->comm);
	return true;
}

PyObject *rank_call_end(struct rank_call *call, PyObject *result)
{
	Py_XDECREF((PyObject *)call->ranks);
	return result;
}

PyObject *rank_call_pass_on(struct rank_call *call)
{
	PyObject *result = NULL;

	if (!PyErr_Occurred())
		result = arguments_pass_on(ranks_python.slow, call->name, call->comm, call->args, call->nargs,
					   call->kwnames);
	return rank_call_end(call, result);
}
