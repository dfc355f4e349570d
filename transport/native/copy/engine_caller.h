/* SPDX-License-Identifier: BSD-3-Clause */
/* engine_caller.h - the engine without threads: only callers that wait make copies. */
#ifndef ADMA_COPY_ENGINE_CALLER_H
#define ADMA_COPY_ENGINE_CALLER_H

#include "copy/engine.h"

extern const struct adma_engine adma_engine_caller;

#endif
