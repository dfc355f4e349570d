/* SPDX-License-Identifier: BSD-3-Clause */
/* ring.c - a ring with one producer and one consumer; see ring.h. */
#include "shm/ring.h"

#include <errno.h>
#include <string.h>

#include "adma.h"
#include "base/clock.h"
#include "base/fault.h"
#include "shm/growth.h"

#define CELL_MASK (ADMA_CELLS - 1ull)
#define BOUNCE_MASK (ADMA_BOUNCE_SIZE - 1ull)
#define CELL_STEP (ADMA_CELLS / 4ull)
#define BOUNCE_STEP (ADMA_BOUNCE_SIZE / 4ull)

static inline uint64_t ring_rounded(uint64_t n)
{
	return (n + ADMA_CACHE_LINE - 1) & ~(uint64_t)(ADMA_CACHE_LINE - 1);
}

/* Where a payload of n bytes begins, given `tail`: there, or at the next start of the ring. */
static inline uint64_t ring_placed(uint64_t tail, uint64_t n)
{
	uint64_t in_ring = tail & BOUNCE_MASK;

	return in_ring + n <= ADMA_BOUNCE_SIZE ? tail : tail - in_ring + ADMA_BOUNCE_SIZE;
}

/* Relaxed: the consumer stored it before the counter that was just read with acquire. */
static void ring_note_eager_off(struct adma_ring_out *ring)
{
	ring->eager_off = atomic_load_explicit(&ring->segment->eager_off, memory_order_relaxed);
}

bool adma_ring_eager_is_off(struct adma_ring_out *ring)
{
	if (ring->eager_off)
		ring_note_eager_off(ring);
	return ring->eager_off;
}

/* Read how far the consumer is. Acquire: it has done with what is before its head. 0 or -EPROTO. */
static int ring_read_head(struct adma_ring_out *ring)
{
	uint64_t head = atomic_load_explicit(&ring->segment->head, memory_order_acquire);

	if (head < ring->head || head > ring->tail)
		return -EPROTO;
	ring->head = head;
	ring_note_eager_off(ring);
	return 0;
}

/*
 * There is no room: the consumer is to tell of some. True: look again, as it may have given some meanwhile. Whoever asked
 * before has looked since. Ordering: of this exchange and that of `head` in ring_is_asked() one comes first. If it is this one,
 * the consumer sees the word. If it is that one, the load sees its `head`, and with acquire all room that was given before.
 */
static bool ring_ask_for_room(struct adma_ring_out *ring)
{
	if (ring->wants_room)
		return false;
	ring->wants_room = true;
	atomic_exchange_explicit(&ring->segment->wants_room, 1, memory_order_seq_cst);
	(void)atomic_load_explicit(&ring->segment->head, memory_order_seq_cst);
	return true;
}

int adma_ring_room(struct adma_ring_out *ring)
{
	int rc;

	if (ring->tail - ring->head < ADMA_CELLS)
		return 1;
	do
		rc = ring_read_head(ring);
	while (!rc && ring->tail - ring->head == ADMA_CELLS && ring_ask_for_room(ring));
	return rc ? rc : ring->tail - ring->head < ADMA_CELLS;
}

static void ring_publish(struct adma_ring_out *ring, const struct adma_desc *desc)
{
	struct adma_cell *cell = &ring->segment->cells[ring->tail & CELL_MASK];

	adma_cell_store(cell, desc);
	ring->tail++;
	atomic_store_explicit(&cell->seq, ring->tail, memory_order_release);
	if (ring->wants_room) {
		ring->wants_room = false;
		atomic_store_explicit(&ring->segment->wants_room, 0, memory_order_relaxed);
	}
}

/* The same as ring_read_head() for the bounce ring. */
static int ring_read_bounce_head(struct adma_ring_out *ring)
{
	uint64_t head = atomic_load_explicit(&ring->segment->bounce_head, memory_order_acquire);

	if (head < ring->bounce_head || head > ring->bounce_tail)
		return -EPROTO;
	ring->bounce_head = head;
	ring_note_eager_off(ring);
	return 0;
}

/* 1: bytes [offset, offset + n) are free; 0: not yet; -EPROTO. */
static int ring_bounce_room(struct adma_ring_out *ring, uint64_t offset, uint64_t n)
{
	int rc;

	if (offset + n - ring->bounce_head <= ADMA_BOUNCE_SIZE)
		return 1;
	do
		rc = ring_read_bounce_head(ring);
	while (!rc && offset + n - ring->bounce_head > ADMA_BOUNCE_SIZE && ring_ask_for_room(ring));
	return rc ? rc : offset + n - ring->bounce_head <= ADMA_BOUNCE_SIZE;
}

int adma_ring_payload_room(struct adma_ring_out *ring, uint64_t n)
{
	return n <= ADMA_INLINE_MAX ? 1 : ring_bounce_room(ring, ring_placed(ring->bounce_tail, n), ring_rounded(n));
}

int adma_ring_put(struct adma_ring_out *ring, struct adma_desc *desc, const void *payload)
{
	if (desc->length <= ADMA_INLINE_MAX) {
		desc->carry = ADMA_INLINE;
		if (desc->length) /* memcpy() wants a valid pointer even for nothing */
			memcpy(desc->u.bytes, payload, desc->length);
		ring_publish(ring, desc);
		return 1;
	}
	uint64_t offset = ring_placed(ring->bounce_tail, desc->length);
	int rc = ring_bounce_room(ring, offset, ring_rounded(desc->length));

	if (rc <= 0)
		return rc;
	memcpy(ring->segment->bounce + (offset & BOUNCE_MASK), payload, desc->length);
	desc->carry = ADMA_EAGER;
	desc->u.eager.offset = offset;
	ring->bounce_tail = offset + ring_rounded(desc->length);
	ring_publish(ring, desc);
	return 1;
}

bool adma_ring_wants_buffered(struct adma_ring_out *ring, uint32_t sizes)
{
	/* Relaxed, here and below: whatever it says, the message arrives. */
	uint32_t word = atomic_load_explicit(&ring->segment->buffered, memory_order_relaxed);

	if (atomic_load_explicit(&ring->buffered, memory_order_relaxed) != word)
		atomic_store_explicit(&ring->buffered, word, memory_order_relaxed);
	return word & sizes;
}

/* A bounce buffer that is free by what is known of the consumer, or ADMA_BUFFERS. */
static uint32_t ring_known_free(const struct adma_ring_out *ring)
{
	uint32_t b = 0;

	while (b < ADMA_BUFFERS && ring->free_at[b] > ring->head)
		b++;
	return b;
}

/* 1: *b is a free bounce buffer; 0: there is none; -EPROTO. */
static int ring_find_buffer(struct adma_ring_out *ring, uint32_t *b)
{
	int rc;

	*b = ring_known_free(ring);
	if (*b < ADMA_BUFFERS)
		return 1;
	rc = ring_read_head(ring);
	*b = ring_known_free(ring);
	return rc ? rc : *b < ADMA_BUFFERS;
}

/* The pages are allocated before the first use, because a mere access would raise SIGBUS if there is no memory. */
static bool ring_provide_buffers(struct adma_ring_out *ring)
{
	if (ring->has_buffers || ring->lacks_buffers)
		return ring->has_buffers;
	ring->lacks_buffers = ADMA_FAULT(ADMA_FAULT_GROW) || adma_buffers_populate(ring->segment);
	ring->has_buffers = !ring->lacks_buffers;
	return ring->has_buffers;
}

int adma_ring_put_buffered(struct adma_ring_out *ring, struct adma_desc *desc, const void *payload)
{
	int64_t now = adma_now();
	uint32_t b;
	int rc;

	if (!ring_provide_buffers(ring))
		return 0;
	rc = ring_find_buffer(ring, &b);
	if (rc <= 0 || ring->eager_off) /* read with the head that says that the buffer is free */
		return rc < 0 ? rc : 0;
	memcpy(ring->segment->buffers[b], payload, desc->length);
	desc->carry = ADMA_BUFFERED;
	desc->u.buffer.index = b;
	desc->u.buffer.nothing = 0;
	desc->u.buffer.posted_at = now;
	ring->free_at[b] = ring->tail + 1;
	ring_publish(ring, desc);
	return 1;
}

static bool ring_seems_half_full(const struct adma_ring_out *ring)
{
	return ring->tail - ring->head >= ADMA_CELLS / 2 ||
	       ring->bounce_tail - ring->bounce_head >= ADMA_BOUNCE_SIZE / 2;
}

bool adma_ring_is_half_full(struct adma_ring_out *ring)
{
	uint64_t head, bounce_head;

	if (!ring_seems_half_full(ring))
		return false;
	head = atomic_load_explicit(&ring->segment->head, memory_order_acquire);
	bounce_head = atomic_load_explicit(&ring->segment->bounce_head, memory_order_acquire);
	if (head >= ring->head && head <= ring->tail)
		ring->head = head;
	if (bounce_head >= ring->bounce_head && bounce_head <= ring->bounce_tail)
		ring->bounce_head = bounce_head;
	ring_note_eager_off(ring);
	return ring_seems_half_full(ring);
}

void adma_ring_put_slot(struct adma_ring_out *ring, struct adma_desc *desc)
{
	desc->carry = ADMA_SLOT;
	ring_publish(ring, desc);
}

bool adma_ring_fresh(const struct adma_ring_in *ring)
{
	const struct adma_cell *cell = &ring->segment->cells[ring->head & CELL_MASK];

	return atomic_load_explicit(&cell->seq, memory_order_relaxed) == ring->head + 1;
}

static bool ring_is_possible_kind(const struct adma_desc *desc)
{
	switch (desc->kind) {
	case ADMA_TAGGED:
		return !desc->parts;
	case ADMA_OBJECT:
		return desc->total >= desc->length && desc->parts <= ADMA_PARTS_MAX;
	case ADMA_BYTES:
	case ADMA_PART:
		return !desc->parts && desc->total == desc->length;
	default:
		return false;
	}
}

/* Does our private copy of a descriptor obey the rules? */
static bool ring_is_possible(const struct adma_ring_in *ring, const struct adma_desc *desc)
{
	if (!ring_is_possible_kind(desc))
		return false;
	switch (desc->carry) {
	case ADMA_INLINE:
		return desc->length <= ADMA_INLINE_MAX;
	case ADMA_EAGER:
		return desc->length > ADMA_INLINE_MAX && desc->length <= ADMA_EAGER_MAX &&
		       desc->u.eager.offset == ring_placed(ring->bounce_head, desc->length);
	case ADMA_SLOT:
		return desc->u.slot.index < ADMA_SLOTS_MAX && desc->length <= INT64_MAX;
	case ADMA_BUFFERED:
		return adma_kind_is_buffered(desc->kind) && desc->length > ADMA_EAGER_MAX &&
		       desc->length <= ADMA_BUFFER_SIZE && desc->u.buffer.index < ADMA_BUFFERS;
	default:
		return false;
	}
}

bool adma_ring_reaches_buffers(struct adma_ring_in *ring)
{
	if (ring->has_buffers || ring->lacks_buffers)
		return ring->has_buffers;
	ring->lacks_buffers = adma_buffers_populate(ring->segment);
	ring->has_buffers = !ring->lacks_buffers;
	return ring->has_buffers;
}

/* Is the memory there in which the payload is? An honest peer sends in buffers only what we have asked for. */
static bool ring_reaches_payload(struct adma_ring_in *ring)
{
	return ring->desc.carry != ADMA_BUFFERED || adma_ring_reaches_buffers(ring);
}

int adma_ring_peek(struct adma_ring_in *ring)
{
	if (ring->held)
		return 1;
	const struct adma_cell *cell = &ring->segment->cells[ring->head & CELL_MASK];
	uint64_t seq = atomic_load_explicit(&cell->seq, memory_order_acquire);

	if (seq != ring->head + 1) {
		/* The cell holds the value of the previous lap, or 0 in the first lap. No other value is valid. */
		uint64_t before = ring->head < ADMA_CELLS ? 0 : ring->head + 1 - ADMA_CELLS;

		return seq == before ? 0 : -EPROTO;
	}
	adma_cell_load(cell, &ring->desc);
	if (!ring_is_possible(ring, &ring->desc) || !ring_reaches_payload(ring))
		return -EPROTO;
	ring->held = true;
	return 1;
}

const void *adma_ring_payload(const struct adma_ring_in *ring)
{
	if (ring->desc.carry == ADMA_INLINE)
		return ring->desc.u.bytes;
	if (ring->desc.carry == ADMA_BUFFERED)
		return ring->segment->buffers[ring->desc.u.buffer.index];
	return ring->segment->bounce + (ring->desc.u.eager.offset & BOUNCE_MASK);
}

/* The counters were stored. Does the producer wait for that? See ring_ask_for_room(). */
static bool ring_is_asked(struct adma_ring_in *ring)
{
	atomic_exchange_explicit(&ring->segment->head, ring->head, memory_order_seq_cst);
	return atomic_load_explicit(&ring->segment->wants_room, memory_order_seq_cst);
}

bool adma_ring_take(struct adma_ring_in *ring)
{
	bool room = false;

	if (ring->desc.carry == ADMA_EAGER) {
		uint64_t after = ring->desc.u.eager.offset + ring_rounded(ring->desc.length);

		room = after / BOUNCE_STEP != ring->bounce_head / BOUNCE_STEP;
		ring->bounce_head = after;
		atomic_store_explicit(&ring->segment->bounce_head, after, memory_order_release);
	}
	ring->head++;
	ring->held = false;
	atomic_store_explicit(&ring->segment->head, ring->head, memory_order_release);
	return (room || ring->head % CELL_STEP == 0) && ring_is_asked(ring);
}
