/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * python.h - Python's C API, for the files of this folder alone: its stable part, as of 3.11.
 *
 * All functions here are called with the GIL held, unless their comments say otherwise. What the GIL guards is
 * changed between two points at which it may be let go: a call into Python, the release of a buffer, and the
 * macros below. No lock of the core is held at such a point.
 */
#ifndef ADMA_BINDING_PYTHON_H
#define ADMA_BINDING_PYTHON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

/* Evaluate a call into the core that may wait, copy or spin, without the GIL. */
#define BINDING_WITHOUT_GIL(statement) \
	do { \
		PyThreadState *binding_state = PyEval_SaveThread(); \
\
		statement; \
		PyEval_RestoreThread(binding_state); \
	} while (0)

/* A method with the signature of METH_FASTCALL | METH_KEYWORDS, as a table of methods takes it. */
#define BINDING_FAST(function) ((PyCFunction)(void (*)(void))(function))

#endif
