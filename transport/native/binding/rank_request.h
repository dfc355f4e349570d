/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank_request.h - the requests of adma.mpi.
 *
 * A request that a compiled call made has its operation, until somebody asks for more than to wait for it or to test it. Then
 * it gets a handle as all other requests have (adma/mpi/handles.py), and Python does the rest.
 */
#ifndef ADMA_BINDING_RANK_REQUEST_H
#define ADMA_BINDING_RANK_REQUEST_H

#include "binding/tagged.h"

/* A request for an operation, whose reference it steals. NULL: an exception is set, and the operation goes on. */
PyObject *rank_request_new(struct ranks *ranks, PyObject *comm, struct operation *op, enum tagged_what what,
			   bool anybody);

/*
 * Function of the module: all receives of objects that requests have become messages under way of Python's, so that it goes
 * on with them while it waits. See ranks_takes.
 */
PyObject *rank_requests_adopt(PyObject *module, PyObject *nothing);

/* Function of the module: make the type of requests, on top of this class of Python's, which has what is seldom called. */
PyObject *rank_request_type_on(PyObject *module, PyObject *base);

#endif
