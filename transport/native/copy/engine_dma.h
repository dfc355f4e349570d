/* SPDX-License-Identifier: BSD-3-Clause */
/* engine_dma.h - the engine whose copies DMA channels make. */
#ifndef ADMA_COPY_ENGINE_DMA_H
#define ADMA_COPY_ENGINE_DMA_H

#include "copy/engine.h"

extern const struct adma_engine adma_engine_dma;

#endif
