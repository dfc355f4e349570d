/* SPDX-License-Identifier: BSD-3-Clause */
/* waiting.h - waiting for many requests at once. */
#ifndef ADMA_BINDING_WAITING_H
#define ADMA_BINDING_WAITING_H

#include "binding/python.h"

/*
 * Functions of the module: as `adma.wait_all` and `adma.wait_some`, for a list of copies and messages. They return None for
 * what is left to Python, which has all of these calls (adma/messages/waitset.py): nothing was taken then.
 */

/* (reqs, deadline). None also if one has failed, or if the deadline has passed. */
PyObject *waiting_all(PyObject *module, PyObject *args);

/*
 * (reqs, timeout, call), where `call` names the call in errors. The indices of those that are done; none of them: the time is over.
 * None also if some of those that are pending are copies, and some are messages.
 */
PyObject *waiting_some(PyObject *module, PyObject *args);

#endif
