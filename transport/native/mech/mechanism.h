/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mechanism.h - how a matched transfer moves its bytes: the interface of a mechanism.
 *
 * The core matches, counts chunks, completes and cleans up. A mechanism moves bytes and knows
 * nothing of requests, queues or locks. There are three kinds of mechanisms:
 *
 *   ADMA_EITHER_ENDPOINT  chunks are independent of each other: either endpoint may claim any of
 *                         them, and copies it in one piece
 *   ADMA_STREAM           the writer fills and the reader drains, in order: chunk by chunk, and in
 *                         each direction one transfer after the other
 *   ADMA_KERNEL_FIFO      on a channel the kernel helper queues, matches and copies
 *                         (worker/fifo_endpoint.c). For messages with tags it is an ADMA_STREAM, too
 *
 * A built-in mechanism is one file here with one line in table.c, and one probe in Python. A third
 * party registers its own mechanism with adma_mechanism_register().
 */
#ifndef ADMA_MECH_MECHANISM_H
#define ADMA_MECH_MECHANISM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "adma.h"
#include "base/own.h"

enum adma_mechanism_flags {
	ADMA_EITHER_ENDPOINT = 1,
	ADMA_STREAM = 2,
	ADMA_KERNEL_FIFO = 4,
};

/* What a mechanism may know of a connected pair of endpoints. It lives as long as the channel. */
struct adma_connection {
	struct adma_config config;
	uint32_t opened;            /* mask of the mechanisms that were opened, those without open() included */
	void *state[ADMA_MECH_MAX]; /* by id: whatever the mechanism keeps for this connection */
	struct adma_own own[ADMA_MECH_MAX]; /* by id: what mech_fd[id] named when the connection was made */
	_Atomic int64_t used_at[ADMA_MECH_MAX]; /* by id: when a mechanism that checks that last used mech_fd[id] */
};

/* A matched transfer, as a mechanism at this endpoint sees it. */
struct adma_span {
	bool outbound;   /* our write; otherwise our read */
	bool guarded;    /* another mechanism could not access a buffer: see `guards` of struct adma_mechanism */
	uint8_t *local;  /* our buffer */
	uint64_t remote; /* ADMA_EITHER_ENDPOINT: the peer's buffer, an address in the memory of the peer */
	uint64_t length;
	uint64_t chunk;  /* bytes of each chunk but the last */
	uint64_t base;   /* how many chunks of this mechanism and direction precede this transfer */
	bool detour;     /* take the detour: see `detours` of struct adma_mechanism */
	int64_t posted_at; /* our write: when it was posted, and so before the peer matched it; 0: nobody looked at the clock */
};

/* Bytes of chunk i. */
static inline uint64_t adma_chunk_bytes(const struct adma_span *span, uint32_t i)
{
	uint64_t from = (uint64_t)i * span->chunk;

	return span->length - from < span->chunk ? span->length - from : span->chunk;
}

/* May a copy make a detour, which is quicker on some processors? */
enum adma_detour {
	ADMA_DETOUR_NONE, /* it would be slower on all of them */
	ADMA_DETOUR_POSSIBLE, /* it may be quicker */
	ADMA_DETOUR_USUAL, /* the same, and on processors of this kind it usually is */
};

/* Other sizes of a chunk than that of chunk(). */
#define ADMA_OTHER_CHUNKS 2

/* What fill() and drain() return when they moved bytes. 0: nothing could be moved without waiting. */
enum adma_moved {
	ADMA_MOVED = 1,
	ADMA_MOVED_SIGNAL = 3, /* ... and the peer may be waiting for that: signal its event count */
};

/* What an error of a transfer means for the transfers after it. */
enum adma_on_error {
	ADMA_ON_ERROR_GO_ON, /* nothing: they go on */
	ADMA_ON_ERROR_WITHDRAW, /* the mechanism will not work again: select another one */
	ADMA_ON_ERROR_BREAK, /* ... and transfers that were matched for it would get wrong bytes: fail them */
};

/* What became of the segment that the peer passed, or tried to pass. */
enum adma_segment_news {
	ADMA_SEGMENT_TAKEN, /* reads can be served from now on */
	ADMA_SEGMENT_KNOWN, /* there was one already */
	ADMA_SEGMENT_LOST, /* reads cannot be served any more */
};

/* What is known of the memory of the peer's process. */
enum adma_peer_memory {
	ADMA_PEER_MEMORY_UNKNOWN,
	ADMA_PEER_MEMORY_KEPT,
	ADMA_PEER_MEMORY_GONE, /* the process has ended, or runs another program: it copies nothing any more */
};

struct adma_mechanism {
	const char *name;
	uint32_t id; /* enum adma_mechanism_id, or the id of a third party's mechanism */
	uint32_t flags; /* one of enum adma_mechanism_flags; ADMA_KERNEL_FIFO comes with ADMA_STREAM */
	bool internal; /* no handshake offers it, and nobody is told of it */

	/*
	 * A copy that is refused with EFAULT or EPERM is made once more, by an ADMA_STREAM that guards: for a span
	 * that says `guarded`, fill() and drain() touch our buffer by system calls alone, so that a page which is
	 * gone is -EFAULT and not a signal.
	 */
	bool guards;

	/* ---- the life of a connection: optional ---- */

	/* Make `state[id]`. Returns 0, or a negated errno with which the making of the channel fails. */
	int (*open)(struct adma_connection *connection);

	/*
	 * Free `state[id]`. No other operation runs meanwhile or later. The core closes mech_fd[id] after
	 * this. `state[id]` has to be cleared before it is freed, because a child that is forked in between
	 * calls close() as well.
	 */
	void (*close)(struct adma_connection *connection);

	/* ---- selection: not for ADMA_KERNEL_FIFO, which is forced or not used ---- */

	/*
	 * How well would it carry n bytes? The working mechanism with the highest rank is used. `both_wait`:
	 * at each endpoint a thread waits, and has nothing else to do.
	 */
	int (*rank)(const struct adma_connection *connection, uint64_t n, bool both_wait);

	/* Why it was or was not chosen for n bytes. `single_copy`: a mechanism that copies once works. */
	enum adma_reason (*reason)(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy);

	/* Can it serve our writes now? NULL: it always can. */
	bool (*serves)(const struct adma_connection *connection);

	/*
	 * What does an error mean? NULL: EPERM, EACCES and ENOSYS withdraw the mechanism, another error fails its
	 * transfer alone.
	 */
	enum adma_on_error (*on_error)(int error);

	/* Bytes of a chunk for a transfer of this length. Both endpoints compute it, with the same result. */
	uint64_t (*chunk)(uint64_t length);

	/* ---- what the reader learns (worker/learning.h): optional ---- */

	/* Does it compete with others that do? Then `rank` only says where the learning begins. */
	bool competes;

	/*
	 * ADMA_EITHER_ENDPOINT: other sizes of a chunk that may be quicker on some machine, as chunk() tells one: number
	 * `i` of ADMA_OTHER_CHUNKS. 0: there is none for this length.
	 */
	uint64_t (*other_chunk)(uint64_t length, uint32_t i);

	/* ADMA_EITHER_ENDPOINT: may this span be copied by a detour? Asked at the reader, before the match. */
	enum adma_detour (*detours)(const struct adma_span *span);

	/* ---- ADMA_EITHER_ENDPOINT ---- */

	/*
	 * Is all of the peer's buffer in memory, so that a copy of ours does not wait for a page of it? NULL: our
	 * copies do not touch it.
	 */
	bool (*resident)(const struct adma_connection *connection, const struct adma_span *span);

	/* May this endpoint copy chunks of this direction? */
	bool (*able)(const struct adma_connection *connection, bool outbound);

	/*
	 * Copy the bytes [at, at + n) of a transfer. Called without the channel's lock. Returns 0; a positive
	 * errno; ADMA_E_DIED: the peer is not the process with which the handshake was made; ADMA_E_MEMORY_HERE
	 * or ADMA_E_MEMORY_PEER in place of EFAULT, if it is known whose buffer cannot be accessed.
	 */
	int (*copy)(struct adma_connection *connection, const struct adma_span *span, uint64_t at, uint64_t n);

	/* ---- ADMA_STREAM ---- */

	/*
	 * Move up to one chunk. Called without the channel's lock, by one thread at a time. `*at`, which the
	 * core keeps, is how many bytes of the transfer this endpoint has moved. Returns enum adma_moved, 0,
	 * or a negated errno.
	 */
	int (*fill)(struct adma_connection *connection, const struct adma_span *span, uint64_t *at);
	int (*drain)(struct adma_connection *connection, const struct adma_span *span, uint64_t *at);

	/* Could fill() or drain() move something now? Must make no system call. NULL: `pollfd` tells. */
	bool (*ready)(const struct adma_connection *connection, const struct adma_span *span, uint64_t at);

	/*
	 * The descriptor that tells when fill() (POLLOUT) and drain() (POLLIN) can go on: always the same
	 * one, or -1. NULL: the event count tells. At most one mechanism of a connection may have a pollfd.
	 */
	int (*pollfd)(const struct adma_connection *connection);

	/*
	 * Optional: for a mechanism that gives our buffer to the kernel, and POLLIN then tells of both
	 * directions. The transfer is broken off, or its peer was quicker to see that it is complete. 0: the
	 * kernel does not have the buffer any more. -EBUSY: it is too late to take it back, so call again
	 * when ready() says so. -EIO: the buffer may be written to for ever. Called with the lock held, of
	 * the transfer whose turn it is.
	 */
	int (*stop)(struct adma_connection *connection, const struct adma_span *span);

	/* Optional. An inbound transfer is complete or broken off: chunk `next` of the direction is drained next. */
	void (*go_on)(struct adma_connection *connection, uint64_t next);

	/*
	 * ---- memory that the binding makes for our writes, and passes while the channel is in use: optional, and
	 * not for registered mechanisms, because the wire format has room for one such mechanism only ----
	 */

	/* Has our segment still to be made? */
	bool (*wants_segment)(const struct adma_connection *connection);

	/* Take our segment, in place of an earlier one. The descriptor stays the caller's. 0 or a negated errno. */
	int (*give_segment)(struct adma_connection *connection, int fd);

	/* Take the peer's segment; or, with fd -1, note that it could not be received, because of this errno. */
	enum adma_segment_news (*take_segment)(struct adma_connection *connection, int fd, int error);

	/* Is the peer's segment there, without which our reads cannot be served? */
	bool (*has_segment)(const struct adma_connection *connection);

	/* Optional. Is the memory of the peer's process still that of the process with which the handshake was made? */
	enum adma_peer_memory (*peer_memory)(const struct adma_connection *connection);
};

#endif
