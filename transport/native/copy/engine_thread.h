/* SPDX-License-Identifier: BSD-3-Clause */
/* engine_thread.h - the engine made of copy worker threads. The engine `dma` uses it for what cores copy. */
#ifndef ADMA_COPY_ENGINE_THREAD_H
#define ADMA_COPY_ENGINE_THREAD_H

#include "copy/engine.h"

extern const struct adma_engine adma_engine_thread;

#endif
