/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - how the core records events; see adma_trace.h. While tracing is off, each function
 * costs a load and a branch that is not taken.
 */
#ifndef ADMA_BASE_TRACE_H
#define ADMA_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "adma_trace.h"
#include "base/clock.h"

extern bool adma_trace_on;

/* Record an event. Tracing is on. */
void adma_trace_put(uint32_t kind, int64_t at, int64_t lasted, const void *id, uint64_t a, uint64_t b, uint64_t c);

static inline bool adma_tracing(void)
{
	return __builtin_expect(__atomic_load_n(&adma_trace_on, __ATOMIC_ACQUIRE), false);
}

/* The time at which a span begins; 0 when tracing is off, so that adma_trace_span() does not record it. */
static inline int64_t adma_trace_begin(void)
{
	return adma_tracing() ? adma_now() : 0;
}

/* Record a span that ends now. `begun` may also be a time that the caller took for other reasons. */
static inline void adma_trace_span(uint32_t kind, int64_t begun, const void *id, uint64_t a, uint64_t b, uint64_t c)
{
	if (adma_tracing() && begun)
		adma_trace_put(kind, begun, adma_now() - begun, id, a, b, c);
}

/* Record an event without a duration. */
static inline void adma_trace_moment(uint32_t kind, const void *id, uint64_t a, uint64_t b, uint64_t c)
{
	if (adma_tracing())
		adma_trace_put(kind, adma_now(), 0, id, a, b, c);
}

#endif
