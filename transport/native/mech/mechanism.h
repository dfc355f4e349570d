/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mechanism.h - how a matched transfer moves its bytes: the interface of a mechanism.
 *
 * The core matches, counts chunks, completes and cleans up. A mechanism moves bytes and knows
 * nothing of requests, queues or locks. It belongs to one of three kinds:
 *
 *   ADMA_EITHER_ENDPOINT  chunks are independent of each other: either endpoint may claim any of
 *                         them, and copies it in one piece
 *   ADMA_STREAM           the writer fills and the reader drains, in order, chunk by chunk and one
 *                         transfer of a direction after the other
 *   ADMA_KERNEL_FIFO      the kernel helper queues, matches and copies; the mechanism only names
 *                         the descriptor (worker/fifo_endpoint.c does the rest)
 *
 * A mechanism is one file here with one line in table.c, and one probe in Python. A third party
 * registers its own with adma_mechanism_register().
 */
#ifndef ADMA_MECH_MECHANISM_H
#define ADMA_MECH_MECHANISM_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"

enum adma_mechanism_flags {
	ADMA_EITHER_ENDPOINT = 1,
	ADMA_STREAM = 2,
	ADMA_KERNEL_FIFO = 4,
};

/* What a mechanism may know of a connected pair. It lives as long as the channel. */
struct adma_connection {
	struct adma_config config;
	uint32_t opened;            /* mask of the mechanisms whose open() was called, or would have been */
	void *state[ADMA_MECH_MAX]; /* by id: whatever the mechanism keeps for this connection */
};

/* A matched transfer, as a mechanism sees it from this endpoint. */
struct adma_span {
	bool outbound;   /* our write; otherwise our read */
	uint8_t *local;  /* our buffer */
	uint64_t remote; /* the peer's buffer: an address in the memory of the peer */
	uint64_t length;
	uint64_t chunk;  /* bytes of each chunk but the last */
	uint64_t base;   /* how many chunks of this mechanism and direction came before this transfer */
};

/* Bytes of chunk i. */
static inline uint64_t adma_chunk_bytes(const struct adma_span *span, uint32_t i)
{
	uint64_t from = (uint64_t)i * span->chunk;

	return span->length - from < span->chunk ? span->length - from : span->chunk;
}

/* What fill() and drain() did; 0: nothing could be moved without waiting. */
enum adma_moved {
	ADMA_MOVED = 1,
	ADMA_MOVED_SIGNAL = 3, /* and the peer may be waiting for it: signal its event count */
};

/* What an error of a transfer means for the transfers behind it. */
enum adma_on_error {
	ADMA_ON_ERROR_GO_ON,    /* nothing */
	ADMA_ON_ERROR_WITHDRAW, /* the mechanism will not work again: choose another one */
	ADMA_ON_ERROR_BREAK,    /* and what was already matched for it would find the wrong bytes: fail it */
};

/* What a segment of the peer's that came, or could not be received, means. */
enum adma_segment_news {
	ADMA_SEGMENT_TAKEN, /* reads can be served from now on */
	ADMA_SEGMENT_KNOWN, /* there was one already */
	ADMA_SEGMENT_LOST,  /* reads cannot be served any more */
};

struct adma_mechanism {
	const char *name;
	uint32_t id;    /* enum adma_mechanism_id, or one of a third party's */
	uint32_t flags; /* one of enum adma_mechanism_flags */

	/* ---- the life of a connection: optional ---- */

	/* Make `state[id]`. 0 or a negated errno, which refuses the channel. */
	int (*open)(struct adma_connection *connection);

	/*
	 * Give it back. No other operation runs then, nor later. The core closes mech_fd[id] after this.
	 * `state[id]` has to be forgotten first: the child of a fork that comes in between closes, too.
	 */
	void (*close)(struct adma_connection *connection);

	/* ---- selection: not of ADMA_KERNEL_FIFO, which is forced or not used ---- */

	/*
	 * How well would it carry n bytes? The working mechanism with the highest rank is used. `both_wait`:
	 * a thread at each endpoint has nothing else to do.
	 */
	int (*rank)(const struct adma_connection *connection, uint64_t n, bool both_wait);

	/* Why it was chosen for n bytes or not: `single_copy` tells whether one that copies once works. */
	enum adma_reason (*reason)(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy);

	/* Can it serve writes of ours now? NULL: it always can. */
	bool (*serves)(const struct adma_connection *connection);

	/* What does an error mean? NULL: EPERM withdraws it, other errors are of their transfer alone. */
	enum adma_on_error (*on_error)(int error);

	/* Bytes of a chunk for a transfer of this length. Both endpoints compute it, and come to the same. */
	uint64_t (*chunk)(uint64_t length);

	/* ---- ADMA_EITHER_ENDPOINT ---- */

	/* May this endpoint copy in this direction? */
	bool (*able)(const struct adma_connection *connection, bool outbound);

	/*
	 * Copy the bytes [at, at + n) of a transfer, without the lock of the channel. 0; a positive errno;
	 * ADMA_E_DIED: the peer is not the process that the handshake met.
	 */
	int (*copy)(struct adma_connection *connection, const struct adma_span *span, uint64_t at, uint64_t n);

	/* ---- ADMA_STREAM ---- */

	/*
	 * Move up to one chunk, without the lock of the channel, one thread at a time. `*at`, kept by the
	 * core, is how many bytes of the transfer this endpoint has moved. enum adma_moved, or a negated errno.
	 */
	int (*fill)(struct adma_connection *connection, const struct adma_span *span, uint64_t *at);
	int (*drain)(struct adma_connection *connection, const struct adma_span *span, uint64_t *at);

	/* Could fill() or drain() move something now? Makes no system call. NULL: `pollfd` tells. */
	bool (*ready)(const struct adma_connection *connection, const struct adma_span *span, uint64_t at);

	/*
	 * The descriptor that tells when fill() (POLLOUT) and drain() (POLLIN) can go on, always the same
	 * one, or -1. NULL: the event count tells. Of the mechanisms of a connection one at most may have it.
	 */
	int (*pollfd)(const struct adma_connection *connection);

	/* Optional. An inbound transfer is over, maybe early: chunk number `next` of the direction is drained next. */
	void (*go_on)(struct adma_connection *connection, uint64_t next);

	/*
	 * ---- memory that the binding makes for writes of ours, and passes in mid-life: optional, and not
	 * for mechanisms that are registered, since the wire format has room for one such mechanism ----
	 */

	/* Is it still to be made? */
	bool (*wants_segment)(const struct adma_connection *connection);

	/* Here it is. The descriptor stays the caller's. 0 or a negated errno. */
	int (*give_segment)(struct adma_connection *connection, int fd);

	/* The peer's came, or (fd -1) could not be received for this errno. */
	enum adma_segment_news (*take_segment)(struct adma_connection *connection, int fd, int error);

	/* Optional. Is the process behind the peer's pid certainly another one by now? */
	bool (*peer_replaced)(const struct adma_connection *connection);
};

#endif
