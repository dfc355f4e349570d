/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_ring.c - a ring whose other side writes what it likes, where it likes.
 *
 * The input is a program: put, look, take, and stray writes of the peer into
 * the segment. Both ends of the ring work on the same segment here, which has the
 * sanitizer's red zones around it: whatever reaches beyond it is found out.
 *
 * sources: shm/ring.c shm/growth.c shm/sealed.c base/ids.c match/match.c match/posted.c match/keys.c
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "match/match.h"
#include "shm/ring.h"

#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

/* What a ring reads of a segment, but for the bounce buffers behind the slots, which are not touched here. */
#define RING_BYTES offsetof(struct adma_segment, blocks)

static uint8_t scratch[ADMA_BUFFER_SIZE];

struct program {
	const uint8_t *at;
	size_t left;
};

static uint64_t next(struct program *program, size_t n)
{
	uint64_t value = 0;

	if (n > program->left)
		n = program->left;
	memcpy(&value, program->at, n);
	program->at += n;
	program->left -= n;
	return value;
}

/* An honest message of some length, or one that waits in a slot. */
static int put(struct adma_ring_out *ring, struct program *program)
{
	struct adma_desc desc = {.kind = next(program, 1) % 2 ? ADMA_TAGGED : ADMA_BYTES};
	int rc = adma_ring_room(ring);

	REQUIRE(rc == 1 || rc == 0 || rc == -EPROTO);
	if (rc != 1)
		return rc;
	desc.length = next(program, 2) % (2 * ADMA_EAGER_MAX);
	if (desc.kind == ADMA_TAGGED)
		desc.tag = next(program, 8);
	else
		desc.total = desc.length;
	if (desc.length > ADMA_EAGER_MAX) {
		rc = desc.kind == ADMA_BYTES && adma_ring_wants_buffered(ring, 1)
			     ? adma_ring_put_buffered(ring, &desc, scratch)
			     : 0;
		if (!rc)
			adma_ring_put_slot(ring, &desc);
		return rc ? rc : 1;
	}
	rc = adma_ring_payload_room(ring, desc.length);
	REQUIRE(rc == 1 || rc == 0 || rc == -EPROTO);
	return rc == 1 ? adma_ring_put(ring, &desc, scratch) : rc;
}

/* A message of a worker is found by its tag, whatever that is. */
static void check_tagged(const struct adma_desc *desc)
{
	struct adma_posted_entry exact, other, wild;
	struct adma_posted posted;

	REQUIRE(!desc->parts);
	adma_posted_init(&posted, 1);
	adma_posted_add(&posted, &other, 7, ~desc->tag, ADMA_WHOLE_TAG);
	adma_posted_add(&posted, &exact, 7, desc->tag, ADMA_WHOLE_TAG);
	adma_posted_add(&posted, &wild, ADMA_ANY_SOURCE, 0, 0);
	REQUIRE(adma_posted_find(&posted, 7, desc->tag) == &exact);
	adma_posted_remove(&posted, &exact);
	REQUIRE(adma_posted_find(&posted, 7, desc->tag) == &wild);
	adma_posted_remove(&posted, &wild);
	REQUIRE(!adma_posted_find(&posted, 7, desc->tag));
	adma_posted_remove(&posted, &other);
	adma_posted_free(&posted);
}

/* A read of a channel takes it only if it is of the read's kind, and fits. */
static void check_match(const struct adma_desc *desc)
{
	struct adma_req read = {.kind = ADMA_BYTES, .length = 64, .is_read = 1};
	struct adma_req part = {.kind = ADMA_PART, .length = 64, .is_read = 1};
	struct adma_posted reads;
	struct adma_req *met;

	REQUIRE(desc->total >= desc->length && desc->parts <= ADMA_PARTS_MAX);
	adma_posted_init(&reads, 1);
	adma_posted_add(&reads, &read.posted, ADMA_CHANNEL_SOURCE, adma_channel_tag(read.kind), ADMA_WHOLE_TAG);
	adma_posted_add(&reads, &part.posted, ADMA_CHANNEL_SOURCE, adma_channel_tag(part.kind), ADMA_WHOLE_TAG);
	if (adma_match(&reads, desc, ADMA_KEEP, &met) == ADMA_MATCH)
		REQUIRE(met->kind == desc->kind && desc->length <= met->length);
	adma_posted_remove(&reads, &read.posted);
	adma_posted_remove(&reads, &part.posted);
	REQUIRE(!adma_first_read(&reads) && !reads.count);
	adma_posted_free(&reads);
}

/* What the core relies on once a message was found sound. */
static void check_message(const struct adma_ring_in *ring)
{
	const struct adma_desc *desc = &ring->desc;

	if (desc->carry == ADMA_SLOT) {
		REQUIRE(desc->u.slot.index < ADMA_SLOTS_MAX);
	} else {
		const uint8_t *payload = adma_ring_payload(ring);

		REQUIRE(desc->length <= (desc->carry == ADMA_BUFFERED ? ADMA_BUFFER_SIZE : ADMA_EAGER_MAX));
		if (desc->carry == ADMA_BUFFERED) {
			REQUIRE(payload >= ring->segment->buffers[0]);
			REQUIRE(payload + desc->length <= (const uint8_t *)(ring->segment + 1));
		}
		if (desc->carry == ADMA_EAGER) {
			REQUIRE(payload >= ring->segment->bounce);
			REQUIRE(payload + desc->length <= ring->segment->bounce + ADMA_BOUNCE_SIZE);
		}
		memcpy(scratch, payload, desc->length); /* the sanitizer looks */
	}
	if (desc->kind == ADMA_TAGGED)
		check_tagged(desc);
	else
		check_match(desc);
}

/* The peer writes up to eight bytes of its choice; often where it counts. */
static void stray(struct adma_segment *segment, struct program *program)
{
	static const size_t places[] = {
		offsetof(struct adma_segment, head),
		offsetof(struct adma_segment, bounce_head),
		offsetof(struct adma_segment, cells),
		offsetof(struct adma_segment, cells) + sizeof(_Atomic uint64_t),
	};
	size_t n = 1 + next(program, 1) % 8;
	size_t where = next(program, 1);
	size_t at = next(program, 2);
	uint64_t value = next(program, 8);

	if (where < 192)
		at = places[where % 4] + (where % 4 >= 2 ? at % ADMA_CELLS * sizeof(struct adma_cell) : at % 8);
	at %= RING_BYTES - 8;
	memcpy((uint8_t *)segment + at, &value, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct program program = {data, size};
	static _Alignas(ADMA_CACHE_LINE) uint8_t shared[sizeof(struct adma_segment)];
	struct adma_segment *segment = (struct adma_segment *)shared;
	struct adma_ring_out out = {.segment = segment};
	struct adma_ring_in in = {.segment = segment};
	bool honest = true;
	int rc;

	memset(segment, 0, RING_BYTES);
	atomic_store(&segment->buffered, (uint32_t)size % 2); /* its reader asks for bounce buffers, or does not */
	while (program.left) {
		switch (next(&program, 1) % 4) {
		case 0:
			rc = put(&out, &program);
			REQUIRE(rc >= 0 || (rc == -EPROTO && !honest));
			if (rc < 0)
				return 0;
			break;
		case 1:
			rc = adma_ring_peek(&in);
			REQUIRE(rc >= 0 || (rc == -EPROTO && !honest));
			if (rc < 0)
				return 0;
			if (rc == 1)
				check_message(&in);
			else
				REQUIRE(!honest || in.head == out.tail);
			break;
		case 2:
			if (in.held)
				adma_ring_take(&in);
			break;
		case 3:
			(void)adma_ring_is_half_full(&out); /* a hint: any counters will do */
			stray(segment, &program);
			honest = false;
			break;
		}
	}
	return 0;
}
