/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_calls.h - the compiled calls of communicators: a base class without data, before that with the calls in Python. */
#ifndef ADMA_BINDING_RANK_CALLS_H
#define ADMA_BINDING_RANK_CALLS_H

#include "binding/python.h"

/* Make the type. False: an exception is set. */
bool rank_calls_type_make(PyObject *module);

#endif
