/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.h - what happened when, and which thread did it: for a timeline that people look at.
 *
 * While it is on, whatever happens is an event of a fixed size in a ring of this
 * process, put there without a lock and without waiting: when the ring is full the
 * oldest events go, and are counted. A forked child has no events and is off.
 * tracing.h is what the core calls.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC, which the processes of a machine share.
 */
#ifndef ADMA_TRACE_H
#define ADMA_TRACE_H

#include <stdint.h>

enum adma_trace_kind {
	/* copies within this process; id: which */
	ADMA_TRACE_COPY_POST = 1,   /* a: bytes; lasted as long as the post */
	ADMA_TRACE_COPY_HERE = 2,   /* a: bytes; made in the post, by who posted */
	ADMA_TRACE_COPY_PART = 3,   /* a: part; b: parts of the whole; by whoever's thread it is */
	ADMA_TRACE_COPY_GIVE = 4,   /* a: bytes; b: errno; handed to the device */
	ADMA_TRACE_COPY_DEVICE = 5, /* a: bytes; b: errno; from there until it was seen to be over */
	ADMA_TRACE_COPY_END = 6,    /* a: bytes; b: errno; lasted from the post on */
	/* messages on a channel; id: which request, or the channel */
	ADMA_TRACE_POST = 7,        /* a: bytes; b: 1 a read, 0 a write */
	ADMA_TRACE_MATCH = 8,       /* a: bytes; b: enum adma_mechanism_id; c: {generation:32, outbound:1, the writer's slot:31} */
	ADMA_TRACE_CHUNK = 9,       /* a: bytes; b: chunk; c: as above */
	ADMA_TRACE_PEER = 10,       /* a: chunks that the peer copied; b: of how many; c: as above */
	ADMA_TRACE_COMPLETE = 11,        /* a: bytes; b: error */
	ADMA_TRACE_WRITE_NOW = 12,  /* a: bytes; a small message, whole in one call */
	ADMA_TRACE_READ_NOW = 13,   /* a: bytes */
};

struct adma_trace_event {
	int64_t at, lasted; /* lasted 0: a moment */
	uint64_t id, a, b, c;
	uint32_t tid;
	uint32_t kind;
};

struct adma_trace_thread {
	uint32_t tid;
	char name[16]; /* as it was when the first event happened in it */
};

/* Begin, with room for `events`, a power of two. 0; -EBUSY: it is on; -EINVAL; -ENOMEM. */
int adma_trace_start(uint64_t events);

/* No more events. Those that happened stay, and so does their memory: a thread may be about to write there. */
void adma_trace_stop(void);

/* Up to `most` events since the start, oldest first; how many. *dropped: the others that happened. */
uint64_t adma_trace_take(struct adma_trace_event *events, uint64_t most, uint64_t *dropped);

/* Up to `most` threads in which events happened; how many. */
uint32_t adma_trace_threads(struct adma_trace_thread *threads, uint32_t most);

#endif
