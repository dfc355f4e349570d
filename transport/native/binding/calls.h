/* SPDX-License-Identifier: BSD-3-Clause */
/* calls.h - the base of `Channel`: its calls that carry messages. */
#ifndef ADMA_BINDING_CALLS_H
#define ADMA_BINDING_CALLS_H

#include "binding/python.h"

/* Make the type. False: an exception is set. */
bool calls_type_make(PyObject *module);

#endif
