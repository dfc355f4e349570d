/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shm.c - `shared`: two copies through the writer's bulk segment.
 *
 * The bulk segment is a ring of cells. The writer fills cells and the reader drains them, both at
 * once, so that copying in and copying out overlap. Cells are numbered over all transfers of a
 * direction: `base` of the transfer plus the chunk. The reader writes no memory but its own
 * destination and the counter `drained`.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "adma_handshake.h"
#include "mech/guarded.h"
#include "mech/mechanism.h"
#include "shm/layout.h"
#include "shm/sealed.h"

/* Once in so many cells the reader tells a writer that may wait for room. */
#define SHM_ROOM_STEP (ADMA_BULK_CELLS / 4)
#define SHM_RANK 20

struct shm_state {
	uint8_t *out; /* the segment for our writes, once the binding has given it */
	/* The peer's segment, once it came. A thread that drains reads these two without the channel's lock. */
	_Atomic(uint8_t *) in;
	_Atomic int in_error; /* the errno for which there is none */
};

static struct shm_state *shm_state(const struct adma_connection *connection)
{
	return connection->state[ADMA_MECH_SHARED];
}

/* ---- the life of a connection ---- */

static int shm_open_state(struct adma_connection *connection)
{
	connection->state[ADMA_MECH_SHARED] = calloc(1, sizeof(struct shm_state));
	return connection->state[ADMA_MECH_SHARED] ? 0 : -ENOMEM;
}

static void shm_unmap(uint8_t *bulk)
{
	if (bulk)
		munmap(bulk, ADMA_BULK_SIZE);
}

static void shm_close_state(struct adma_connection *connection)
{
	struct shm_state *state = shm_state(connection);
	uint8_t *out, *in;

	if (!state)
		return;
	out = state->out;
	in = state->in;
	connection->state[ADMA_MECH_SHARED] = NULL;
	shm_unmap(out);
	shm_unmap(in);
	free(state);
}

/* ---- the segments ---- */

static bool shm_wants_segment(const struct adma_connection *connection)
{
	return !shm_state(connection)->out;
}

static bool shm_serves(const struct adma_connection *connection)
{
	return shm_state(connection)->out;
}

static int shm_give_segment(struct adma_connection *connection, int fd)
{
	void *bulk = mmap(NULL, ADMA_BULK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (bulk == MAP_FAILED)
		return -errno;
	shm_unmap(shm_state(connection)->out);
	shm_state(connection)->out = bulk;
	return 0;
}

/* 0, or the errno for which the segment cannot be used. */
static int shm_map_peers(struct adma_connection *connection, int fd)
{
	void *bulk;
	int err;

	/* The owner is the user that both processes had when they connected, whatever they have become since. */
	if (adma_memory_check(fd, ADMA_BULK_SIZE, connection->config.same_user, connection->config.uid))
		return EPROTO;
	bulk = mmap(NULL, ADMA_BULK_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (bulk == MAP_FAILED)
		return errno;
	err = -adma_sealed_make_sure(bulk, ADMA_BULK_SIZE, false, connection->config.same_user);
	if (err) {
		shm_unmap(bulk);
		return err;
	}
	/* Release: a thread that drains uses the mapping as soon as it sees it. */
	atomic_store_explicit(&shm_state(connection)->in, bulk, memory_order_release);
	return 0;
}

static enum adma_segment_news shm_take_segment(struct adma_connection *connection, int fd, int error)
{
	struct shm_state *state = shm_state(connection);

	if (state->in)
		return ADMA_SEGMENT_KNOWN;
	if (fd >= 0)
		error = shm_map_peers(connection, fd);
	state->in_error = error;
	return error ? ADMA_SEGMENT_LOST : ADMA_SEGMENT_TAKEN;
}

static bool shm_has_segment(const struct adma_connection *connection)
{
	return shm_state(connection)->in;
}

/* ---- copying ---- */

static uint64_t shm_chunk(uint64_t length)
{
	(void)length;
	return ADMA_BULK_CELL;
}

static uint8_t *shm_cell(uint8_t *bulk, uint64_t number)
{
	return bulk + number % ADMA_BULK_CELLS * ADMA_BULK_CELL;
}

static uint64_t shm_cell_number(const struct adma_span *span, uint64_t at)
{
	return span->base + at / span->chunk;
}

/* 0 or an errno. In memory that another mechanism could not access, an ordinary copy might raise a signal. */
static int shm_copy(const struct adma_span *span, uint8_t *to, const uint8_t *from, uint64_t n)
{
	if (span->guarded)
		return adma_guarded_copy(to, from, n);
	memcpy(to, from, n);
	return 0;
}

static int shm_fill(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	struct adma_segment *segment = connection->config.local;
	uint64_t number = shm_cell_number(span, *at);
	uint64_t n = adma_chunk_bytes(span, (uint32_t)(*at / span->chunk));
	int err;

	/* Acquire: the reader has read the cell before it counted it as drained. */
	if (number - atomic_load_explicit(&segment->drained, memory_order_acquire) >= ADMA_BULK_CELLS)
		return 0;
	err = shm_copy(span, shm_cell(shm_state(connection)->out, number), span->local + *at, n);
	if (err)
		return -err;
	atomic_store_explicit(&segment->filled, number + 1, memory_order_release);
	*at += n;
	return ADMA_MOVED_SIGNAL;
}

static int shm_drain(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	struct adma_segment *segment = connection->config.remote;
	uint64_t number = shm_cell_number(span, *at);
	uint64_t n = adma_chunk_bytes(span, (uint32_t)(*at / span->chunk));
	/* Acquire: another thread, which holds the lock, may have mapped it just now. */
	uint8_t *bulk = atomic_load_explicit(&shm_state(connection)->in, memory_order_acquire);
	int err;

	if (!bulk)
		return -shm_state(connection)->in_error; /* 0: it has not come yet */
	if (atomic_load_explicit(&segment->filled, memory_order_acquire) <= number)
		return 0;
	err = shm_copy(span, span->local + *at, shm_cell(bulk, number), n);
	if (err)
		return -err;
	atomic_store_explicit(&segment->drained, number + 1, memory_order_release);
	*at += n;
	return (number + 1) % SHM_ROOM_STEP == 0 ? ADMA_MOVED_SIGNAL : ADMA_MOVED;
}

static bool shm_ready(const struct adma_connection *connection, const struct adma_span *span, uint64_t at)
{
	const struct shm_state *state = shm_state(connection);
	uint64_t number = shm_cell_number(span, at);

	if (span->outbound)
		return number - atomic_load(&connection->config.local->drained) < ADMA_BULK_CELLS;
	return (state->in || state->in_error) && atomic_load(&connection->config.remote->filled) > number;
}

/* The cells of a transfer that was broken off count as drained, so that the writer does not wait for them. */
static void shm_go_on(struct adma_connection *connection, uint64_t next)
{
	atomic_store_explicit(&connection->config.remote->drained, next, memory_order_release);
}

/* ---- selection ---- */

static int shm_rank(const struct adma_connection *connection, uint64_t n, bool both_wait)
{
	(void)connection, (void)n, (void)both_wait;
	return SHM_RANK;
}

static enum adma_reason shm_reason(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy)
{
	if (!chosen)
		return ADMA_REASON_TWO_COPIES_MORE;
	if (n < connection->config.single_copy_from)
		return ADMA_REASON_TWO_COPIES_SHORT;
	return single_copy ? ADMA_REASON_TWO_COPIES_WAITING : ADMA_REASON_ONLY_TWO_COPIES;
}

const struct adma_mechanism adma_mech_shm = {
	.name = "shared",
	.id = ADMA_MECH_SHARED,
	.flags = ADMA_STREAM,
	.guards = true,
	.open = shm_open_state,
	.close = shm_close_state,
	.rank = shm_rank,
	.reason = shm_reason,
	.serves = shm_serves,
	.chunk = shm_chunk,
	.competes = true,
	.fill = shm_fill,
	.drain = shm_drain,
	.ready = shm_ready,
	.go_on = shm_go_on,
	.wants_segment = shm_wants_segment,
	.give_segment = shm_give_segment,
	.take_segment = shm_take_segment,
	.has_segment = shm_has_segment,
};
