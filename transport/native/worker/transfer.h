/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer.h - a matched pair that is being copied, as one endpoint sees it.
 *
 * Everything that a mechanism needs is copied out of the slot once and checked; after that the
 * slot is used for its protocol words alone (shm/slot.h).
 */
#ifndef ADMA_WORKER_TRANSFER_H
#define ADMA_WORKER_TRANSFER_H

#include "shm/slot.h"
#include "worker/endpoint.h"

/* What the progress thread saw of the peer's work on a transfer (progress/policy.c). */
struct adma_transfer_watch {
	uint32_t claims;     /* chunks that the peer had claimed */
	int64_t changed_at;  /* when that last changed; 0: it was not looked at yet */
	int64_t sleep, sleep_end; /* between looks at a peer that copies */
};

struct adma_transfer {
	struct adma_list link;
	const struct adma_mechanism *mechanism; /* NULL: none, it fails */
	uint32_t mechanism_id;
	struct adma_req *req;

	struct adma_slot *slot;
	uint32_t slot_index;
	uint32_t gen;

	struct adma_span span;
	uint32_t chunks;
	uint32_t busy;    /* threads of ours that copy right now, without the lock */
	uint32_t copied;  /* chunks that this endpoint copied */
	uint32_t claimed; /* chunks that this endpoint claimed; of a stream, outbound only */
	uint64_t at;      /* of a stream: bytes that this endpoint has moved */
	struct adma_transfer_watch watch;
};

/* On whose behalf a chunk is copied; the counters of adma_get_stats() tell them apart. */
enum adma_copied_by { ADMA_BY_CALLER, ADMA_BY_PROGRESS_THREAD, ADMA_BY_ASSIST };

static inline struct adma_transfer *adma_transfer_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_transfer, link);
}

static inline bool adma_has_transfers(const struct adma_endpoint *ep)
{
	return !adma_list_empty(&ep->transfers);
}

static inline bool adma_transfer_is_stream(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_STREAM;
}

static inline bool adma_transfer_is_shared(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->flags & ADMA_EITHER_ENDPOINT;
}

/* Does a descriptor tell when it can go on, and not the event count? */
static inline bool adma_transfer_is_polled(const struct adma_transfer *t)
{
	return t->mechanism && t->mechanism->pollfd;
}

/* What names a transfer at both endpoints, beside its channel and direction: for the trace. */
static inline uint64_t adma_transfer_name(const struct adma_transfer *t)
{
	return (uint64_t)t->gen << 32 | (uint64_t)t->span.outbound << 31 | t->slot_index;
}

/* Chunks of a transfer; 0 for no bytes. A result above ADMA_CHUNKS_MAX is impossible. */
static inline uint64_t adma_chunk_count(uint64_t length, uint64_t chunk)
{
	return length / chunk + (length % chunk != 0);
}

#endif
