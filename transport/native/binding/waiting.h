/* SPDX-License-Identifier: BSD-3-Clause */
/* waiting.h - waiting for many requests at once. */
#ifndef ADMA_BINDING_WAITING_H
#define ADMA_BINDING_WAITING_H

#include "binding/python.h"

/*
 * Function of the module: as `adma.wait_all`, for a list of copies and messages that are done soon. None: it is none, or
 * they are not; nothing was taken, and a waiting loop of Python's goes on.
 */
PyObject *waiting_all(PyObject *module, PyObject *reqs);

#endif
