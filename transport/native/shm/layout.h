/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * layout.h - the memory that two processes share, byte by byte.
 *
 * Each endpoint of a channel makes one sealed memfd, its *segment*, and maps the segment of the
 * other. A segment carries the messages that its maker writes: the descriptor ring, the bounce
 * ring for eager payloads, and the slots of large messages. So each ring has one producer (the
 * maker) and one consumer (the peer). Nobody makes the channel as a whole: both endpoints do the
 * same thing.
 *
 * The slots come last, in blocks. All blocks that there may ever be are within the size of the
 * memfd, but only the first one is allocated at the handshake. When the maker needs more slots,
 * it allocates more blocks (growth.h). The peer accepts every index. Behind them are the bounce
 * buffers, which are allocated when the first message travels through one.
 *
 *      segment of A                             segment of B
 *      +-- closed, waiting .. written by A      +-- closed, waiting .. by B
 *      +-- head, drained .... written by B      +-- head, drained .... by A
 *      +-- cells -----------> A to B            +-- cells -----------> B to A
 *      +-- bounce ----------> A to B            +-- bounce ----------> B to A
 *      +-- news, slots        (both, by CAS)    +-- news, slots
 *      +-- buffers ---------> A to B            +-- buffers ---------> B to A
 *
 * Trust: a peer can write any byte here at any time. Whatever is read is copied into private
 * memory once, checked there, and only then used. The constants below are compiled in, and are
 * never read from the segment.
 */
#ifndef ADMA_SHM_LAYOUT_H
#define ADMA_SHM_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shm/shared.h"

#define ADMA_CACHE_LINE 64
#define ADMA_SEGMENT_MAGIC 0x666c6168616d6461ull /* "admahalf" */

enum {
	ADMA_CELLS = 128,             /* descriptors in a ring */
	ADMA_SLOTS_MAX = 131072,      /* large messages under way in each direction */
	ADMA_SLOT_BLOCK = 64,         /* slots of a block: one bit of a news word for each */
	ADMA_SLOTS_FIRST = ADMA_SLOT_BLOCK, /* slots that are allocated at the handshake */
	ADMA_SLOT_BLOCKS = ADMA_SLOTS_MAX / ADMA_SLOT_BLOCK,
	ADMA_NEWS_TOPS = ADMA_SLOT_BLOCKS / 64,
	ADMA_INLINE_MAX = 32,         /* bytes that fit in a descriptor */
	ADMA_BOUNCE_SIZE = 32 * 1024, /* bytes of the bounce ring */
	ADMA_EAGER_MAX = 8 * 1024,    /* the longest payload in the bounce ring */
	ADMA_BUFFERS = 2,             /* bounce buffers: one is filled while the other one is emptied */
	ADMA_BUFFER_SIZE = 32 * 1024, /* bytes of one: the longest payload that can be eager at all */
	ADMA_BULK_CELL = 16 * 1024,   /* bytes of a cell of the bulk segment */
	ADMA_BULK_CELLS = 8,          /* cells of the bulk segment (128 KiB): more were no faster */
};
#define ADMA_BULK_SIZE ((size_t)ADMA_BULK_CELL * ADMA_BULK_CELLS)

/* How the bytes of a message travel. */
enum adma_carry {
	ADMA_INLINE = 1, /* in the descriptor */
	ADMA_EAGER = 2,  /* in the bounce ring */
	ADMA_SLOT = 3,   /* the bytes stay where they are until the message is matched: rendezvous */
	ADMA_BUFFERED = 4, /* in a bounce buffer: eager, too, but only if the reader has asked for that */
};

/* The kind of a message. A read takes messages of one kind only. */
enum adma_kind {
	ADMA_BYTES = 1,  /* write() */
	ADMA_OBJECT = 2, /* send(): the pickle, with the table of its parts */
	ADMA_PART = 3,   /* an out-of-band buffer of the object before it */
	ADMA_TAGGED = 4, /* a message of a worker that matches by tags: its endpoints carry no other kind */
};

/* May a message of this kind travel in a bounce buffer? An object and its parts do not. */
static inline bool adma_kind_is_buffered(uint16_t kind)
{
	return kind == ADMA_BYTES || kind == ADMA_TAGGED;
}

/* A descriptor: one message in the ring. */
struct adma_desc {
	uint64_t length; /* bytes of this message */
	union {
		uint64_t total; /* bytes of the message and the parts that follow it */
		uint64_t tag;   /* ADMA_TAGGED */
	};
	uint16_t kind;   /* enum adma_kind */
	uint16_t carry;  /* enum adma_carry */
	uint32_t parts;  /* messages of kind ADMA_PART that follow */
	union {
		uint8_t bytes[ADMA_INLINE_MAX];
		struct {
			uint64_t offset; /* position in the bounce ring; it only grows */
		} eager;
		struct {
			uint32_t index;
			uint32_t gen;
			int64_t posted_at; /* on the writer's clock; 0: it does not say */
		} slot;
		struct {
			uint32_t index;
			uint32_t nothing;
			int64_t posted_at;
		} buffer;
	} u;
};

/*
 * One cache line of the descriptor ring. The producer fills the descriptor
 * and then stores its position + 1 to `seq` (release); the consumer that
 * loads that value (acquire) sees the whole descriptor.
 */
struct adma_cell {
	_Atomic uint64_t seq;
	struct adma_shared_desc {
		struct adma_desc peer_writable;
	} desc;
};

/* The only way to read a descriptor in a cell: a private copy, to be checked. */
static inline void adma_cell_load(const struct adma_cell *cell, struct adma_desc *copy)
{
	memcpy(copy, &cell->desc.peer_writable, sizeof(*copy));
}

static inline void adma_cell_store(struct adma_cell *cell, const struct adma_desc *desc)
{
	cell->desc.peer_writable = *desc;
}

/*
 * The slot of a large message: slot.h has the protocol. The first cache line is plain data, which
 * one endpoint writes before it changes `state` and so publishes it (the writer before POSTED, the
 * reader before MATCHED). The second one holds the words of the protocol.
 */
struct adma_slot {
	struct adma_shared_u64 source;      /* writer: address in its memory; 0: the reader does not access it */
	struct adma_shared_u64 length;      /* writer: bytes */
	struct adma_shared_u32 offered;     /* writer: mask of the mechanisms that it can serve with */
	struct adma_shared_u32 mechanism;   /* reader: the enum adma_mechanism_id that it selected */
	struct adma_shared_u64 destination; /* reader: address in its memory; 0: the writer does not access it */
	struct adma_shared_u64 chunk;       /* reader: bytes of a chunk */
	struct adma_shared_u64 base;        /* reader: position in the mechanism's stream */
	struct adma_shared_u32 manner;      /* reader: mask of enum adma_manner */
	uint32_t nothing;
	uint64_t reserved;

	_Atomic uint64_t state;  /* {generation:32, enum adma_slot_state:32} */
	_Atomic uint64_t cursor; /* {generation:32, closed:1, next:31} */
	_Atomic uint64_t done;   /* {generation:32, retired:32} */
	_Atomic uint64_t error;  /* {generation:32, errno:32}: the first one */
	_Atomic uint64_t seen;   /* {generation:32, 1}: the reader has finished with this life */
	uint64_t spare[3];
};

/* How a mechanism copies, beyond the size of its chunks. */
enum adma_manner {
	ADMA_MANNER_DETOUR = 1, /* struct adma_span: detour */
};

/* For whom the news is: for the maker of the segment, who writes messages, or for its reader. */
enum adma_news_for { ADMA_NEWS_FOR_MAKER, ADMA_NEWS_FOR_READER, ADMA_NEWS_SIDES };

/* A word of news, with a bit for each slot of a block: news.h has the protocol. */
struct adma_news_word {
	_Atomic uint64_t bits;
	uint64_t nothing[7];
};

/* Slots, and the news about them, which so is allocated when they are. */
struct adma_slot_block {
	struct adma_news_word news[ADMA_NEWS_SIDES];
	struct adma_slot slots[ADMA_SLOT_BLOCK];
};

/* A segment. Its words are written by its maker or by its reader; those in slots, by both. */
struct adma_segment {
	struct adma_shared_u64 magic;
	/*
	 * Written by the maker: one of its threads is in a call that waits, and copies meanwhile. This is
	 * a hint. Every such call stores it, so it has a cache line that is seldom read: otherwise a
	 * cache line that both endpoints use would travel back and forth for it.
	 */
	_Atomic uint32_t waiting;
	/*
	 * Written by the maker: how many of its reads are posted and not matched, and how many of its threads
	 * look for a message first. This is a hint, too: a writer whose time is over looks at it, and gives the
	 * maker a moment to match.
	 */
	_Atomic uint32_t reads;
	uint32_t nothing[12];

	/* Written by the maker. */
	_Atomic uint32_t closed;  /* the maker closed the channel: nothing follows */
	_Atomic uint32_t blocked; /* a thread of the maker is in a blocking write of a large message */
	_Atomic uint64_t filled;  /* bulk cells filled; it only grows */
	_Atomic uint32_t bit;     /* of this pair in the summary that the maker passed (summary.h) */
	_Atomic uint32_t summing; /* the maker sets its bit in the reader's summary from now on */
	_Atomic uint32_t ending;  /* the maker reads no more, and closes once its messages were read */
	_Atomic uint32_t wants_room; /* the maker found no room: the reader tells of some (adma_ring_take()) */
	/* Stored before `closed`: of so many messages that the maker posted, so many are lost by its close. */
	_Atomic uint64_t posted, withdrawn;
	uint64_t maker[2];

	/* Written by the reader of this segment. */
	_Atomic uint64_t head;        /* cells consumed */
	_Atomic uint64_t bounce_head; /* bounce bytes consumed */
	_Atomic uint64_t drained;     /* bulk cells drained; it only grows */
	_Atomic uint32_t eager_off;   /* send by rendezvous: too much of yours waits for a receive */
	_Atomic uint32_t drains;      /* the maker takes it back to 0, and sends a byte, when its ring is half full */
	_Atomic uint32_t bulk_lost;   /* how many bulk segments of the maker could not be received */
	_Atomic uint32_t buffered;    /* a hint: messages of these sizes are better eager (worker/eager_limit.h) */
	uint64_t reader[3];

	/* The maker's event count: the peer signals it, the maker arms it (eventcount.h). */
	_Atomic uint64_t event_count;
	uint64_t quiet[7];

	/* A bit for each block whose news word may have bits. */
	_Atomic uint64_t news_top[ADMA_NEWS_SIDES][ADMA_NEWS_TOPS];

	struct adma_cell cells[ADMA_CELLS];
	uint8_t bounce[ADMA_BOUNCE_SIZE];
	struct adma_slot_block blocks[ADMA_SLOT_BLOCKS];
	uint8_t buffers[ADMA_BUFFERS][ADMA_BUFFER_SIZE]; /* for messages that are longer than ADMA_EAGER_MAX */
};

/* Bytes of a segment up to the end of its first `blocks` blocks. */
static inline size_t adma_segment_bytes_of(uint32_t blocks)
{
	return offsetof(struct adma_segment, blocks) + blocks * sizeof(struct adma_slot_block);
}

/* The slot with this index, which must be less than ADMA_SLOTS_MAX, and whose block is allocated. */
static inline struct adma_slot *adma_slot_at(struct adma_segment *segment, uint32_t index)
{
	return &segment->blocks[index / ADMA_SLOT_BLOCK].slots[index % ADMA_SLOT_BLOCK];
}

_Static_assert(sizeof(struct adma_cell) == ADMA_CACHE_LINE, "a cell is one cache line");
_Static_assert(sizeof(struct adma_slot) == 2 * ADMA_CACHE_LINE, "a slot is two cache lines");
_Static_assert(offsetof(struct adma_segment, cells) % ADMA_CACHE_LINE == 0, "cells do not cross cache lines");
_Static_assert(ADMA_NEWS_TOPS * 64 * ADMA_SLOT_BLOCK == ADMA_SLOTS_MAX, "every slot has its bits");
_Static_assert(offsetof(struct adma_segment, event_count) == 3 * ADMA_CACHE_LINE, "cache lines do not share writers");
_Static_assert((ADMA_CELLS & (ADMA_CELLS - 1)) == 0, "positions wrap by masking");
_Static_assert((ADMA_BOUNCE_SIZE & (ADMA_BOUNCE_SIZE - 1)) == 0, "offsets wrap by masking");

#endif
