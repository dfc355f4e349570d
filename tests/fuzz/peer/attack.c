/* SPDX-License-Identifier: BSD-3-Clause */
/* attack.c - what a peer can do to an end: all that it can write, send and hang up. */
#include "scene.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static const size_t words[] = {
	offsetof(struct adma_segment, waiting),  offsetof(struct adma_segment, reads),
	offsetof(struct adma_segment, closed),   offsetof(struct adma_segment, blocked),
	offsetof(struct adma_segment, filled),   offsetof(struct adma_segment, bit),
	offsetof(struct adma_segment, summing),  offsetof(struct adma_segment, ending),
	offsetof(struct adma_segment, posted),   offsetof(struct adma_segment, withdrawn),
	offsetof(struct adma_segment, head),     offsetof(struct adma_segment, bounce_head),
	offsetof(struct adma_segment, drained),  offsetof(struct adma_segment, eager_off),
	offsetof(struct adma_segment, drains),   offsetof(struct adma_segment, bulk_lost),
	offsetof(struct adma_segment, buffered), offsetof(struct adma_segment, event_count),
	offsetof(struct adma_segment, news_top),
};

static const size_t slot_words[] = {
	offsetof(struct adma_slot, source),      offsetof(struct adma_slot, length),
	offsetof(struct adma_slot, offered),     offsetof(struct adma_slot, mechanism),
	offsetof(struct adma_slot, chunk),       offsetof(struct adma_slot, base),
	offsetof(struct adma_slot, destination), offsetof(struct adma_slot, state),
	offsetof(struct adma_slot, cursor),      offsetof(struct adma_slot, done),
	offsetof(struct adma_slot, error),       offsetof(struct adma_slot, seen),
};

static size_t slot_place(uint32_t index, size_t word)
{
	return offsetof(struct adma_segment, blocks) + index / ADMA_SLOT_BLOCK * sizeof(struct adma_slot_block) +
	       offsetof(struct adma_slot_block, slots) + index % ADMA_SLOT_BLOCK * sizeof(struct adma_slot) + word;
}

/* Mostly where something is. */
static size_t draw_place(const struct adma_segment *segment, struct program *program)
{
	uint8_t where = (uint8_t)next(program, 1), which = (uint8_t)next(program, 1);

	if (where < 80)
		return words[which % COUNT(words)];
	if (where < 160)
		return slot_place(which / COUNT(slot_words) % 4, slot_words[which % COUNT(slot_words)]);
	if (where < 220) {
		uint64_t cell = atomic_load(&segment->head) + which / 8 % 4;

		return offsetof(struct adma_segment, cells) + cell % ADMA_CELLS * ADMA_CACHE_LINE + which % 8 * 8;
	}
	if (where < 230)
		return offsetof(struct adma_segment, blocks) + which % 2 * sizeof(struct adma_news_word);
	return next(program, 3) % (adma_segment_bytes_of(2) - 8);
}

/* Often close to what the word is, or one half of it: so generations stay right. */
static uint64_t draw_value(uint64_t now, struct program *program)
{
	static const uint64_t edges[] = {0, 1, UINT32_MAX, UINT64_MAX, INT64_MAX, 1ull << 31, 1ull << 63, 1ull << 32};
	uint8_t how = (uint8_t)next(program, 1);

	switch (how % 8) {
	case 0:
		return next(program, 8);
	case 1:
		return edges[how / 8 % COUNT(edges)];
	case 2:
		return now + (uint64_t)(int8_t)next(program, 1);
	case 3:
		return now ^ 1ull << how / 8 % 32;
	case 4:
		return now + ((uint64_t)(int8_t)next(program, 1) << 32);
	case 5:
		return now | 1ull << 31;
	default:
		return (now & ~(uint64_t)UINT32_MAX) | next(program, 1) % 16;
	}
}

static void spoil_word(struct adma_segment *segment, struct program *program)
{
	uint8_t *at = (uint8_t *)segment + draw_place(segment, program);
	size_t n = (size_t)1 << next(program, 1) % 4;
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	value = draw_value(value, program);
	memcpy(at, &value, n < 4 ? 8 : n);
}

/* A slot as its writer posts it. Its address leads into memory that the other process has, too. */
static void forge_slot(struct adma_segment *segment, struct adma_desc *desc, struct program *program)
{
	uint32_t index = (uint32_t)next(program, 1) % 3;
	struct adma_slot *slot = adma_slot_at(segment, index);
	uint64_t life = (uint64_t)(uint8_t)next(program, 1) % 4 << 32;
	uint32_t offered = (uint32_t)next(program, 1);

	desc->carry = ADMA_SLOT;
	desc->u.slot.index = index;
	desc->u.slot.gen = (uint32_t)(life >> 32);
	adma_shared_store_u64(&slot->source, (uint64_t)(uintptr_t)outgoing);
	adma_shared_store_u32(&slot->offered, offered);
	adma_shared_store_u64(&slot->length, offered & 128 ? draw_length(program) : desc->length);
	atomic_store(&slot->cursor, life | next(program, 1) % 2);
	atomic_store(&slot->done, life | next(program, 1) % 2);
	atomic_store(&slot->error, life);
	atomic_store(&slot->state, life | 1); /* posted */
}

/* A message in a bounce buffer, which often is possible. */
static void forge_buffered(struct adma_desc *desc, uint8_t how)
{
	desc->u.buffer.index = how / 64 % (ADMA_BUFFERS + 1);
	if (how & 8) {
		desc->kind = ADMA_BYTES;
		desc->length = desc->total = ADMA_EAGER_MAX + 1 + desc->length % (ADMA_BUFFER_SIZE - ADMA_EAGER_MAX);
		desc->parts = 0;
	}
}

/* A message of its own, where the victim looks next, or behind that. */
static void forge_message(struct adma_segment *segment, struct program *program)
{
	uint64_t position = atomic_load(&segment->head) + next(program, 1) % 3;
	struct adma_cell *cell = &segment->cells[position % ADMA_CELLS];
	struct adma_desc desc = {.kind = 1 + next(program, 1) % 4, .length = draw_length(program)};
	uint8_t carry = (uint8_t)next(program, 1);

	desc.total = desc.length + (carry & 16 ? next(program, 2) : 0);
	desc.parts = carry & 32 ? (uint32_t)next(program, 1) : 0;
	if (carry % 8 % 5 == ADMA_SLOT) {
		forge_slot(segment, &desc, program);
	} else {
		desc.carry = carry % 8 % 5;
		if (desc.carry == ADMA_BUFFERED)
			forge_buffered(&desc, carry);
		if (desc.carry == ADMA_INLINE)
			desc.length = desc.total = desc.length % (ADMA_INLINE_MAX + 1);
		if (desc.carry == ADMA_EAGER)
			desc.u.eager.offset = atomic_load(&segment->bounce_head);
	}
	adma_cell_store(cell, &desc);
	atomic_store(&cell->seq, position + 1);
}

/* A reader's answer to a message that waits in a slot. */
static void forge_match(struct adma_segment *segment, struct program *program)
{
	struct adma_slot *slot = adma_slot_at(segment, (uint32_t)next(program, 1) % 4);
	uint64_t life = atomic_load(&slot->state) & ~(uint64_t)UINT32_MAX;

	adma_shared_store_u32(&slot->mechanism, (uint32_t)next(program, 1) % 8);
	adma_shared_store_u64(&slot->chunk, (uint64_t)4096 << next(program, 1) % 8);
	adma_shared_store_u64(&slot->base, next(program, 1));
	adma_shared_store_u64(&slot->destination, (uint64_t)(uintptr_t)outgoing);
	atomic_store(&slot->state, life | next(program, 1) % 10);
	atomic_fetch_or(&segment->blocks[0].news[ADMA_NEWS_FOR_MAKER].bits, 15);
	atomic_fetch_or(&segment->news_top[ADMA_NEWS_FOR_MAKER][0], 1);
}

/* What a slot tells about the copying of its message: of so many chunks, all or some are done, or it failed. */
static void forge_progress(struct adma_segment *segment, struct program *program)
{
	struct adma_slot *slot = adma_slot_at(segment, (uint32_t)next(program, 1) % 4);
	uint64_t life = atomic_load(&slot->state) & ~(uint64_t)UINT32_MAX;
	uint8_t how = (uint8_t)next(program, 1);
	uint32_t chunks = how / 4 % 16;

	atomic_store(&slot->cursor, life | chunks | (how & 1 ? 1u << 31 : 0));
	atomic_store(&slot->done, life | (how & 2 ? chunks : next(program, 1) % 16));
	if (how & 64) {
		uint8_t error = (uint8_t)next(program, 1);

		/* An errno, or what may be a code of the core. */
		atomic_store(&slot->error, life | (error < 128 ? error : 1000 + error % 32));
	}
	if (how & 128)
		atomic_store(&slot->state, life | next(program, 1) % 10);
}

static void pass_descriptors(int sock, struct program *program)
{
	union {
		char space[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	uint8_t how = (uint8_t)next(program, 1);
	char bytes[2] = {how & 1 ? 'w' : 's', how & 2 ? 's' : 'y'};
	struct iovec iov = {.iov_base = bytes, .iov_len = how & 4 ? 2 : 1};
	size_t n = 1 + how / 16 % 8;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fd = how & 8 ? make_bulk() : open("/dev/null", O_RDWR | O_CLOEXEC);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (size_t i = 0; i < n; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(int));
	(void)sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
}

static void send_bytes(int sock, struct program *program)
{
	uint8_t bytes[32];
	size_t n = 1 + next(program, 1) % sizeof(bytes);

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)next(program, 1);
	for (size_t i = 0; i < n; i++)
		bytes[i] = bytes[i] == POISON ? 0 : bytes[i];
	(void)send(sock, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void hang_up(struct scene *scene, int e, struct program *program)
{
	uint8_t how = (uint8_t)next(program, 1);

	if (how < 16)
		(void)shutdown(scene->socks[!e], how % 3);
	else if (how < 32)
		(void)shutdown(scene->streams[!e], how % 3);
}

void spoil(struct scene *scene, int e, struct program *program)
{
	uint8_t what = (uint8_t)next(program, 1);

	switch (what % 16) {
	case 0:
	case 1:
	case 2:
		forge_message(scene->segments[!e], program);
		break;
	case 3:
	case 4:
		forge_match(scene->segments[e], program);
		break;
	case 5:
		pass_descriptors(scene->socks[!e], program);
		break;
	case 6:
		send_bytes(scene->socks[!e], program);
		break;
	case 7:
		send_bytes(scene->streams[!e], program);
		break;
	case 8:
		hang_up(scene, e, program);
		break;
	case 9:
		if (scene->bulk[!e])
			scene->bulk[!e][next(program, 3) % ADMA_BULK_SIZE] = (uint8_t)(next(program, 1) & 0x7f);
		break;
	case 10:
	case 11:
		forge_progress(scene->segments[what / 16 % ENDS], program);
		break;
	default:
		spoil_word(scene->segments[what / 16 % ENDS], program);
	}
}
