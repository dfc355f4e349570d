/* SPDX-License-Identifier: BSD-3-Clause */
/* adma_interpreter.h - what the compiled module of Python adds to the core; see binding/interpreter.h. */
#ifndef ADMA_INTERPRETER_H
#define ADMA_INTERPRETER_H

#include <stdint.h>

/*
 * Let the interpreter's main thread call the Python object at this address, without arguments, when requests are
 * listed (adma_hold.h). The object is kept for ever.
 */
void adma_interpreter_begin(uintptr_t callable);

/* Let it not be called any more. A call that was asked for may still come, and finds nothing. */
void adma_interpreter_end(void);

#endif
