/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer.h - a transfer: a write and a read that are matched, as one endpoint sees them.
 *
 * Everything that a mechanism needs is copied out of the slot once, and checked. After that only
 * the protocol words of the slot are used (shm/slot.h).
 */
#ifndef ADMA_WORKER_TRANSFER_H
#define ADMA_WORKER_TRANSFER_H

#include "base/held_up.h"
#include "learn/tables.h"
#include "shm/slot.h"
#include "worker/endpoint.h"

/* What the progress thread saw of the peer's work on a transfer (progress/policy.c). */
struct adma_transfer_watch {
	uint32_t claims;     /* how many chunks the peer had claimed */
	int64_t changed_at;  /* when `claims` last changed; 0: nobody has looked yet */
	int64_t sleep, sleep_end; /* how long to sleep while the peer copies, and until when */
};

/* What the time of a read is good for. */
enum adma_teaches {
	ADMA_TEACHES_NOTHING,
	ADMA_TEACHES_ALONE, /* it is a sample, if nothing disturbs it */
	ADMA_TEACHES_IN_RUN, /* that of its run is (worker/window.h) */
};

/* Our read: by what way it is carried, and what makes its time a sample (worker/learning.c). */
struct adma_transfer_learning {
	enum adma_teaches teaches;
	uint32_t way;
	struct adma_table_key key;
	int64_t since;         /* the time of the match */
	uint64_t begun, naps, wakes; /* what the endpoint counted then */
	int64_t eager_since;   /* what adma_eager_limit_matched() said */
};

/* Are the buffers in memory, as far as our copies touch them? Asked once, by the first thread that copies with care. */
enum adma_residency { ADMA_RESIDENCY_UNKNOWN, ADMA_RESIDENT, ADMA_NOT_RESIDENT };

struct adma_transfer {
	struct adma_list link;    /* in `all` */
	struct adma_list touched;
	struct adma_list movable; /* in `open` or `heads` */
	struct adma_list queued;  /* in a FIFO of streams */
	uint64_t turn;            /* the number with which it joined `open` or `heads` */
	const struct adma_mechanism *mechanism; /* NULL: there is none, and the transfer fails */
	uint32_t mechanism_id;
	struct adma_req *req;

	struct adma_slot *slot;
	uint32_t slot_index;
	uint32_t gen;

	struct adma_span span;
	uint32_t chunks;
	bool shut;        /* the cursor was seen closed, or spoilt: it is not open any more */
	uint32_t busy;    /* our threads that are copying now, without the lock */
	uint8_t residency; /* enum adma_residency */
	int64_t begun_at; /* when the last of them began */
	bool abandoned;   /* its request is complete; the last of these threads frees it */
	uint32_t copied;  /* chunks that this endpoint copied */
	uint32_t claimed; /* chunks that this endpoint claimed; for a stream, only if outbound */
	uint64_t at;      /* for a stream: bytes that this endpoint has moved */
	bool stopping;    /* it is over but for the kernel, which still has the buffer */
	bool lost;        /* our close broke it off, and that was counted */
	bool waits;       /* inbound: this life failed, and its writer is to post the next one (worker/redo.h) */
	struct adma_transfer_watch watch;
	struct adma_transfer_learning learning;
};

/* On whose behalf a chunk is copied; the counters of adma_get_stats() tell them apart. */
enum adma_copied_by {
	ADMA_BY_CALLER,
	ADMA_BY_CHECK, /* a caller that must not be held up: with care */
	ADMA_BY_PROGRESS_THREAD,
	ADMA_BY_ASSIST,
};

static inline struct adma_transfer *adma_transfer_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_transfer, link);
}

static inline bool adma_has_transfers(const struct adma_endpoint *ep)
{
	return ep->transfers.count > 0;
}

/* Is a thread of ours held up in it? Then no other thread begins with a chunk of it. */
static inline bool adma_transfer_holds_up(const struct adma_transfer *t)
{
	return t->busy && adma_is_held_up(t->begun_at);
}

static inline bool adma_transfer_is_stream(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_STREAM;
}

static inline bool adma_transfer_is_shared(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_EITHER_ENDPOINT;
}

/* Does a descriptor, and not the event count, tell when the transfer can go on? */
static inline bool adma_transfer_is_polled(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->pollfd;
}

/* For the trace: a name within the channel, which is the same at both endpoints but for the direction bit. */
static inline uint64_t adma_transfer_name(const struct adma_transfer *t)
{
	return (uint64_t)t->gen << 32 | (uint64_t)t->span.outbound << 31 | t->slot_index;
}

/*
 * Whose buffer could not be accessed: the slot tells it from the writer's point of view, and a request from that
 * of its endpoint. The same function turns the one into the other.
 */
static inline int adma_transfer_turn_error(const struct adma_transfer *t, int error)
{
	if (t->span.outbound)
		return error;
	if (error == ADMA_E_MEMORY_HERE)
		return ADMA_E_MEMORY_PEER;
	return error == ADMA_E_MEMORY_PEER ? ADMA_E_MEMORY_HERE : error;
}

/* How many chunks a transfer has; 0 for no bytes. A result above ADMA_CHUNKS_MAX is invalid. */
static inline uint64_t adma_chunk_count(uint64_t length, uint64_t chunk)
{
	return length / chunk + (length % chunk != 0);
}

#endif
