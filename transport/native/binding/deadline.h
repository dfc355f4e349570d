/* SPDX-License-Identifier: BSD-3-Clause */
/* deadline.h - the `timeout` of a call: until when it waits. */
#ifndef ADMA_BINDING_DEADLINE_H
#define ADMA_BINDING_DEADLINE_H

#include "binding/python.h"

/* Calls with less time than this look at the clock between any two steps, which is Python's business. */
#define DEADLINE_MOMENT_NS 10000000

struct deadline {
	PyObject *timeout; /* as it was given, borrowed */
	int64_t ns;        /* on CLOCK_MONOTONIC, as time.monotonic() is; ADMA_NEVER: there is no limit */
	bool now;          /* the caller only tries */
	bool brief;        /* it has less than a moment */
};

/* `call` names the call in errors. False: an exception is set, because `timeout` is no time to wait. */
bool deadline_begin(struct deadline *deadline, PyObject *timeout, const char *call);

/* The same as `adma.arguments.deadline_of` returns it: a float, or None. A new reference, or NULL. */
PyObject *deadline_object(const struct deadline *deadline);

/* The other way: a deadline of Python's, on CLOCK_MONOTONIC. False: an exception is set. */
bool deadline_of_object(PyObject *moment, int64_t *ns);

#endif
