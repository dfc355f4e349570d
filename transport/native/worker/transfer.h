/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer.h - a matched pair being copied, as one end sees it.
 *
 * Everything a mechanism needs is copied out of the slot once and checked;
 * the slot is used for its protocol words alone after that.
 */
#ifndef ADMA_WORKER_TRANSFER_H
#define ADMA_WORKER_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "mech/mechanism.h"
#include "shm/layout.h"

struct adma_transfer {
	struct adma_transfer *next, *prev;
	const struct adma_mechanism *mechanism;
	uint32_t mechanism_id;
	bool outbound;        /* our write; otherwise our read */
	struct adma_req *req;

	struct adma_slot *slot;
	uint32_t slot_index;
	uint32_t gen;

	uint8_t *local;       /* our buffer */
	uint64_t remote;      /* the peer's, an address in its memory */
	uint64_t length;
	uint64_t chunk;
	uint32_t chunks;
	uint64_t base;        /* chunks of this mechanism and direction before this transfer */

	uint32_t busy;        /* threads of ours that copy right now, without the lock */
	uint32_t copied;      /* chunks this end copied */
	uint64_t at;          /* streams: bytes this end has moved */
	uint32_t claimed;     /* chunks that this end claimed; streams: outbound only */

	/* What the mover saw of the peer's work on it; errand.c. */
	uint32_t peer_claims;
	int64_t peer_at;      /* when that last changed; 0: not looked at yet */
	int64_t nap, nap_end; /* between looks at a peer that copies */
};

/* Bytes of chunk i. */
static inline uint64_t adma_chunk_bytes(const struct adma_transfer *t, uint32_t i)
{
	uint64_t from = (uint64_t)i * t->chunk;

	return t->length - from < t->chunk ? t->length - from : t->chunk;
}

/* Chunks of a transfer; 0 for no bytes. More than ADMA_CHUNKS_MAX: impossible. */
static inline uint64_t adma_chunk_count(uint64_t length, uint64_t chunk)
{
	return length / chunk + (length % chunk != 0);
}

#endif
