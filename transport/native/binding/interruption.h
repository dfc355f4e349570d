/* SPDX-License-Identifier: BSD-3-Clause */
/* interruption.h - what becomes of a message when an exception ends the call that carries it. */
#ifndef ADMA_BINDING_INTERRUPTION_H
#define ADMA_BINDING_INTERRUPTION_H

#include "binding/caller.h"
#include "binding/operation.h"

/*
 * An exception is set, and the operation may have been posted: withdraw it, or let the exception have it as `.request`.
 * Steals the reference. Returns NULL, with the exception set.
 */
PyObject *interruption_take_back(struct caller *caller, struct operation *op);

/* The same for a message that happened without an operation: the exception gets a request that is done. */
PyObject *interruption_own_up(struct caller *caller, bool read, uint16_t kind, int64_t nbytes);

#endif
