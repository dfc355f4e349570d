/* SPDX-License-Identifier: BSD-3-Clause */
/* rank_pickle.h - is MPI.pickle Python's own pickling? Only then are objects for the compiled calls. */
#ifndef ADMA_BINDING_RANK_PICKLE_H
#define ADMA_BINDING_RANK_PICKLE_H

#include <stdbool.h>

#include "binding/python.h"

/* Function of the module: (MPI.pickle, pickle.dumps, pickle.loads). Objects are for here while it uses these functions. */
PyObject *rank_pickle_by(PyObject *module, PyObject *args);

/* Does MPI.pickle use Python's functions, with protocol 5? */
bool rank_pickle_is_standard(void);

/* The object of a pickle. NULL: an exception is set. */
PyObject *rank_pickle_load(PyObject *body);

#endif
