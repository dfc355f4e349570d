/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_call.h - how the compiled calls of communicators begin and end. */
#ifndef ADMA_BINDING_RANK_CALL_H
#define ADMA_BINDING_RANK_CALL_H

#include "binding/ranks.h"

/* A call that begins: its arguments, and the ranks that it is about. */
struct rank_call {
	const char *name;
	PyObject *comm;
	PyObject *const *args;
	Py_ssize_t nargs;
	PyObject *kwnames;
	struct ranks *ranks; /* a reference, or NULL: this call is not for here */
};

#define RANK_CALL_VALUES 8 /* arguments that a call has at most */

/* What a call takes: names, how many of them by position, and in all; how many must be given. */
struct rank_call_form {
	const char *const *names;
	int by_position, count, required;
};

/*
 * Parse the arguments; those that are not given are NULL. The last one is `timeout`, if there is one by name only: a call with a
 * timeout is not for here. False: an exception is set.
 */
bool rank_call_begin(struct rank_call *call, const struct rank_call_form *form, PyObject **values);

/* Leave it to Python. What was posted is withdrawn before. Ends the call, and returns what that returns. */
PyObject *rank_call_pass_on(struct rank_call *call);

/* It is over here. Returns `result`. */
PyObject *rank_call_end(struct rank_call *call, PyObject *result);

#endif
