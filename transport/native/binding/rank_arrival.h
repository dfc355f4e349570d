/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank_arrival.h - the message of an object, once a receive took it.
 *
 * An object without large buffers is one message, its pickle. It is received as every object is: a receive takes the message
 * whole, which tells how long it is, and then it is received into memory of its size.
 */
#ifndef ADMA_BINDING_RANK_ARRIVAL_H
#define ADMA_BINDING_RANK_ARRIVAL_H

#include "binding/rank_call.h"

/* The take is done. Is its object one for here: a pickle that is not long, without parts, whose sender the status can be told? */
bool rank_arrival_is_plain(const struct rank_call *call, const struct operation *take, const PyObject *status);

/* Receive it, and make the object. Steals the reference to the take; ends the call. */
PyObject *rank_arrival_end(struct rank_call *call, struct operation *take, PyObject *status);

/* An exception is set, and nobody gets the message that a take took: Python receives it all the same. Steals the reference. */
void rank_arrival_abandon(struct rank_call *call, struct operation *take);

/* Nobody has it any more. Python receives the object all the same, for the sake of its sender. Keeps an exception that is set. */
void rank_arrival_keep(PyObject *comm, struct operation *take);

#endif
