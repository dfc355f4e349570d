/* SPDX-License-Identifier: BSD-3-Clause */
/* tracing.h - how the core tells of what happens; see trace.h. Off, each is a load and a branch not taken. */
#ifndef ADMA_BASE_TRACE_H
#define ADMA_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_trace.h"
#include "base/clock.h"

extern bool adma_trace_on;

void adma_trace_put(uint32_t kind, int64_t at, int64_t lasted, const void *id, uint64_t a, uint64_t b, uint64_t c);

static inline bool adma_tracing(void)
{
	return __builtin_expect(__atomic_load_n(&adma_trace_on, __ATOMIC_ACQUIRE), false);
}

/* Something begins that may be told of when it ends; 0: it will not be. */
static inline int64_t adma_trace_begin(void)
{
	return adma_tracing() ? adma_now() : 0;
}

/* It ends. `begun` may also be a time that was taken for other reasons. */
static inline void adma_trace_span(uint32_t kind, int64_t begun, const void *id, uint64_t a, uint64_t b, uint64_t c)
{
	if (adma_tracing() && begun)
		adma_trace_put(kind, begun, adma_now() - begun, id, a, b, c);
}

static inline void adma_trace_moment(uint32_t kind, const void *id, uint64_t a, uint64_t b, uint64_t c)
{
	if (adma_tracing())
		adma_trace_put(kind, adma_now(), 0, id, a, b, c);
}

#endif
