/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel.c - `dma` and `mapped:helper`: the kernel helper copies.
 *
 * They are used only when they are forced, and then for every message, whatever its size. On a
 * channel the kernel helper also queues and matches (worker/fifo_endpoint.c). Messages with tags
 * are matched by user space, and what is here moves the bytes of their transfers: each endpoint
 * posts its buffer, under a key that no other chunk of this direction ever has, and the kernel
 * copies when it has both. One chunk of a direction is posted at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kdev/device.h"
#include "mech/mechanism.h"
#include "shm/layout.h"

/* A transfer that is broken off may have to wait for the copy of a chunk. The device takes much longer ones. */
#define KERNEL_CHUNK (64ull << 20)
#define KERNEL_GENERATION 1 /* the last one that the handshake has used */

/* What we have posted of one direction. One thread at a time uses it. */
struct kernel_side {
	uint32_t entry;
	uint32_t generation;
	bool posted;
	bool stopped; /* it is to be cancelled, and was not in time for that */
	bool stuck;   /* a DMA engine that did not stop may still write to the buffer */
};

struct kernel_state {
	int fd; /* our descriptor of the pair, that of the config */
	const struct adma_device_entry *page;
	struct kernel_side sides[2]; /* of writes, and of reads */
};

static bool kernel_is_forced(const struct adma_connection *connection)
{
	uint32_t forced = connection->config.forced;

	return forced == ADMA_MECH_DMA || forced == ADMA_MECH_HELPER;
}

/* NULL unless one of the two is forced. */
static struct kernel_state *kernel_state(const struct adma_connection *connection)
{
	return kernel_is_forced(connection) ? connection->state[connection->config.forced] : NULL;
}

static int kernel_pollfd(const struct adma_connection *connection)
{
	return kernel_is_forced(connection) ? connection->config.mech_fd[connection->config.forced] : -1;
}

/* ---- the life of a connection ---- */

/* Reset the count of completions, without which the descriptor would stay readable. */
static void kernel_reset_count(const struct kernel_state *state)
{
	uint64_t completed;

	(void)!read(state->fd, &completed, sizeof(completed));
}

/* Called for each of the two. */
static int kernel_open(struct adma_connection *connection)
{
	struct kernel_state *state;
	int rc;

	if (!kernel_is_forced(connection) || kernel_state(connection))
		return 0;
	state = calloc(1, sizeof(*state));
	if (!state)
		return -ENOMEM;
	state->fd = kernel_pollfd(connection);
	for (int read = 0; read < 2; read++)
		state->sides[read] = (struct kernel_side){
			.entry = read ? 0 : ADMA_DEVICE_ENTRIES / 2,
			.generation = KERNEL_GENERATION,
		};
	rc = adma_device_map(state->fd, &state->page);
	if (rc) {
		free(state);
		return rc;
	}
	kernel_reset_count(state); /* the handshake has completed some */
	connection->state[connection->config.forced] = state;
	return 0;
}

static void kernel_close(struct adma_connection *connection)
{
	struct kernel_state *state = kernel_state(connection);

	if (!state)
		return;
	connection->state[connection->config.forced] = NULL;
	adma_device_unmap(state->page);
	free(state);
}

/* ---- posts ---- */

static uint64_t kernel_chunk(uint64_t length)
{
	(void)length;
	return KERNEL_CHUNK;
}

static struct kernel_side *kernel_side(struct kernel_state *state, const struct adma_span *span)
{
	return &state->sides[!span->outbound];
}

static bool kernel_is_pending(const struct kernel_state *state, const struct kernel_side *side)
{
	/* Acquire: pairs with the kernel's release of the result, which is read after this. */
	return atomic_load_explicit(&state->page[side->entry].state, memory_order_acquire) ==
	       adma_device_pending(side->generation);
}

/* 0 is no generation. */
static uint32_t kernel_next(uint32_t generation)
{
	return generation + 1 ? generation + 1 : 1;
}

static int kernel_post(struct kernel_state *state, const struct adma_span *span, uint64_t at)
{
	struct kernel_side *side = kernel_side(state, span);
	uint64_t number = at / span->chunk;
	const struct adma_device_post post = {
		.address = span->local + at,
		.length = adma_chunk_bytes(span, (uint32_t)number),
		.key = 1 + span->base + number, /* not 0, which stands for the FIFO */
		.kind = ADMA_TAGGED,
		.entry = side->entry,
		.generation = kernel_next(side->generation),
		.read = !span->outbound,
	};
	int rc = adma_device_post(state->fd, &post);

	if (rc)
		return rc == -EINTR ? 0 : rc;
	side->generation = post.generation;
	side->posted = true;
	side->stopped = side->stuck = false;
	return 0;
}

/*
 * The request that is posted is complete: take its result, a negated errno or 0. The kernel stores
 * it and counts it in one step. Whoever sleeps on the descriptor looks at both entries after this.
 */
static int kernel_take_result(struct kernel_state *state, struct kernel_side *side)
{
	uint64_t result = atomic_load_explicit(&state->page[side->entry].state, memory_order_relaxed);

	side->posted = false;
	kernel_reset_count(state);
	if (result >> 32 != side->generation)
		return -EPROTO; /* another holder of our descriptor has reused the entry: the result is lost */
	side->stuck = (int32_t)result == -EIO;
	return (int32_t)result;
}

static int kernel_error(int status)
{
	switch (-status) {
	case EMSGSIZE:
	case EPROTOTYPE:
		return -EPROTO; /* the peer posted something else than what was matched */
	case ESRCH: /* the process of one endpoint is gone: the peer's, since this one runs */
		return -EPIPE;
	default:
		return status;
	}
}

static int kernel_move(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	struct kernel_state *state = kernel_state(connection);
	struct kernel_side *side = kernel_side(state, span);
	uint64_t n = adma_chunk_bytes(span, (uint32_t)(*at / span->chunk));
	int rc = side->posted ? 0 : kernel_post(state, span, *at);

	if (rc || !side->posted || kernel_is_pending(state, side))
		return rc;
	rc = kernel_take_result(state, side);
	if (rc)
		return kernel_error(rc);
	if (state->page[side->entry].length != n)
		return -EPROTO;
	*at += n;
	return ADMA_MOVED; /* the peer's own entry and descriptor tell it */
}

static bool kernel_ready(const struct adma_connection *connection, const struct adma_span *span, uint64_t at)
{
	struct kernel_state *state = kernel_state(connection);
	const struct kernel_side *side = kernel_side(state, span);

	(void)at;
	return !side->posted || !kernel_is_pending(state, side);
}

static int kernel_stop(struct adma_connection *connection, const struct adma_span *span)
{
	struct kernel_state *state = kernel_state(connection);
	struct kernel_side *side = kernel_side(state, span);
	bool stuck;

	if (side->posted && !side->stopped && kernel_is_pending(state, side)) {
		(void)adma_device_cancel(state->fd, side->entry, side->generation);
		side->stopped = true;
	}
	if (side->posted && kernel_is_pending(state, side))
		return -EBUSY;
	if (side->posted)
		(void)kernel_take_result(state, side);
	stuck = side->stuck && !span->outbound;
	side->stuck = false;
	return stuck ? -EIO : 0;
}

#define KERNEL_OPERATIONS \
	.flags = ADMA_KERNEL_FIFO | ADMA_STREAM, .open = kernel_open, .close = kernel_close, .chunk = kernel_chunk, \
	.fill = kernel_move, .drain = kernel_move, .ready = kernel_ready, .pollfd = kernel_pollfd, .stop = kernel_stop

const struct adma_mechanism adma_mech_dma = {.name = "dma", .id = ADMA_MECH_DMA, KERNEL_OPERATIONS};

const struct adma_mechanism adma_mech_helper = {.name = "mapped:helper", .id = ADMA_MECH_HELPER, KERNEL_OPERATIONS};
