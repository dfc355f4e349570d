/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mech_shared.c - two copies through the writer's bulk segment.
 *
 * The segment is a ring of cells. The writer fills, the reader drains; both
 * run at once on different cells, so that copy-in and copy-out overlap. Cell
 * numbers only grow, over all transfers of a direction: transfer `base` plus
 * chunk. The reader writes no memory but its own destination and `drained`.
 */
#include <string.h>

#include "worker/channel.h"

/* A reader that drains tells a writer that may wait for room every so many cells. */
#define ROOM_STEP (ADMA_BULK_CELLS / 4)

static uint64_t chunk(uint64_t length)
{
	(void)length;
	return ADMA_BULK_CELL;
}

static uint8_t *cell(uint8_t *bulk, uint64_t number)
{
	return bulk + number % ADMA_BULK_CELLS * ADMA_BULK_CELL;
}

static int fill(struct adma_chan *chan, const struct adma_transfer *t, uint64_t *at)
{
	struct adma_segment *segment = chan->out.segment;
	uint32_t i = (uint32_t)(*at / t->chunk);
	uint64_t number = t->base + i;
	uint64_t n = adma_chunk_bytes(t, i);

	if (number - atomic_load_explicit(&segment->drained, memory_order_acquire) >= ADMA_BULK_CELLS)
		return 0;
	memcpy(cell(chan->bulk_out, number), t->local + *at, n);
	atomic_store_explicit(&segment->filled, number + 1, memory_order_release);
	*at += n;
	adma_signal_peer(chan);
	return 1;
}

static int drain(struct adma_chan *chan, const struct adma_transfer *t, uint64_t *at)
{
	struct adma_segment *segment = chan->in.segment;
	uint32_t i = (uint32_t)(*at / t->chunk);
	uint64_t number = t->base + i;
	uint64_t n = adma_chunk_bytes(t, i);
	/* Acquire: another thread that holds the lock may have mapped it just now. */
	uint8_t *bulk = atomic_load_explicit(&chan->bulk_in, memory_order_acquire);

	if (!bulk)
		return -chan->bulk_in_errno; /* 0: it has not come yet */
	if (atomic_load_explicit(&segment->filled, memory_order_acquire) <= number)
		return 0;
	memcpy(t->local + *at, cell(bulk, number), n);
	atomic_store_explicit(&segment->drained, number + 1, memory_order_release);
	*at += n;
	if ((number + 1) % ROOM_STEP == 0)
		adma_signal_peer(chan);
	return 1;
}

/* Cells of a transfer that broke off count as drained: the writer waits for none of them. */
static void go_on(struct adma_chan *chan, uint64_t next)
{
	atomic_store_explicit(&chan->in.segment->drained, next, memory_order_release);
}

const struct adma_mechanism adma_mech_shared = {
	.name = "shared",
	.flags = ADMA_STREAM,
	.chunk = chunk,
	.fill = fill,
	.drain = drain,
	.go_on = go_on,
};
