/* SPDX-License-Identifier: BSD-3-Clause */
/* posted.h - the type of endpoints, as Python sees it: what they keep. */
#ifndef ADMA_BINDING_POSTED_H
#define ADMA_BINDING_POSTED_H

#include "binding/endpoint.h"

/* Make the type. False: an exception is set. */
bool posted_type_make(PyObject *module);

#endif
