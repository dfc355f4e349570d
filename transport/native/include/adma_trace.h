/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_trace.h - recording what happens, when, and in which thread, to draw a timeline from.
 *
 * While tracing is on, the core stores an event of a fixed size for everything it does, in a
 * ring of this process. It takes no lock and never waits for that: when the ring is full, new
 * events replace the oldest ones, which are counted as dropped. In a forked child tracing is
 * off, and the ring is gone. The core records events by the functions in base/trace.h.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, a clock that the processes of a machine share.
 */
#ifndef ADMA_TRACE_H
#define ADMA_TRACE_H

#include <stdint.h>

enum adma_trace_kind {
	/* copies within this process; `id` tells which copy */
	ADMA_TRACE_COPY_POST = 1,   /* a: bytes; the span of the post */
	ADMA_TRACE_COPY_HERE = 2,   /* a: bytes; the post itself made the copy */
	ADMA_TRACE_COPY_PART = 3,   /* a: part; b: parts of the copy; made by the thread of the event */
	ADMA_TRACE_COPY_GIVE = 4,   /* a: bytes; b: errno; the span of the command to the device */
	ADMA_TRACE_COPY_DEVICE = 5, /* a: bytes; b: errno; from the command until the copy was seen to be complete */
	ADMA_TRACE_COPY_END = 6,    /* a: bytes; b: errno; from the post until completion */
	/* messages on a channel; `id` tells which request, or which channel */
	ADMA_TRACE_POST = 7,        /* a: bytes; b: 1 for a read, 0 for a write */
	ADMA_TRACE_MATCH = 8,       /* a: bytes; b: mechanism; c: {generation:32, outbound:1, the writer's slot:31} */
	ADMA_TRACE_CHUNK = 9,       /* a: bytes; b: chunk; c: as above */
	ADMA_TRACE_PEER = 10,       /* a: chunks that the peer copied; b: of how many; c: as above */
	ADMA_TRACE_COMPLETE = 11,   /* a: bytes; b: error */
	ADMA_TRACE_WRITE_NOW = 12,  /* a: bytes; a small message that one call wrote */
	ADMA_TRACE_READ_NOW = 13,   /* a: bytes; a small message that one call read */
};

struct adma_trace_event {
	int64_t at, lasted; /* `lasted` is 0 for an event without a duration */
	uint64_t id, a, b, c;
	uint32_t tid;
	uint32_t kind;
};

struct adma_trace_thread {
	uint32_t tid;
	char name[16]; /* its name when its first event was recorded */
};

/*
 * Switch tracing on, with a ring of `events` events, a power of two. Returns 0; -EBUSY when it is
 * on already; -EINVAL when the number is no power of two, or not that of an earlier start; -ENOMEM.
 */
int adma_trace_start(uint64_t events);

/*
 * Switch tracing off. The events that were recorded stay. The ring is not freed, because a
 * thread may be about to write to it.
 */
void adma_trace_stop(void);

/*
 * Take up to `most` events since the start, the oldest first. Returns how many were taken; *dropped
 * is the number of events that were recorded and not taken.
 */
uint64_t adma_trace_take(struct adma_trace_event *events, uint64_t most, uint64_t *dropped);

/* Take up to `most` threads that recorded events. Returns how many. */
uint32_t adma_trace_threads(struct adma_trace_thread *threads, uint32_t most);

#endif
