/* SPDX-License-Identifier: BSD-3-Clause */
/* split_rules.c - checks what split.h promises; see split_rules.h. */
#include <stdlib.h>
#include <string.h>

#include "require.h"
#include "split_rules.h"

/* The memory of an extent is what its `page` points to, from its offset on. */
void side_add(struct side *side, u32 offset, size_t length)
{
	struct adma_extent *extent = &side->extents[side->count++];

	extent->page = calloc(1, offset + length);
	REQUIRE(extent->page);
	extent->offset = offset;
	extent->length = length;
	side->length += length;
}

void side_free(struct side *side)
{
	u32 i;

	for (i = 0; i < side->count; i++)
		free(side->extents[i].page);
	*side = (struct side){ 0 };
}

static unsigned char *bytes_at(const struct adma_extent *extents, struct adma_place place)
{
	return (unsigned char *)extents[place.extent].page + extents[place.extent].offset +
	       place.offset;
}

/* Where byte @at of a side is, found by counting from the beginning. */
static struct adma_place place_of(const struct side *side, size_t at)
{
	struct adma_place place = { 0, at };

	while (place.offset >= side->extents[place.extent].length)
		place.offset -= side->extents[place.extent++].length;
	return place;
}

static bool same_place(struct adma_place a, struct adma_place b)
{
	return a.extent == b.extent && a.offset == b.offset;
}

static unsigned char pattern(size_t at)
{
	return 1 + at * 31 % 251;
}

/* Fills the source with a pattern, which is expected in the destination later, and wipes that. */
static void prepare(const struct side *to, const struct side *from)
{
	size_t at = 0, i, n;

	for (i = 0; i < from->count; i++) {
		for (n = 0; n < from->extents[i].length; n++)
			bytes_at(from->extents, (struct adma_place){ i, n })[0] = pattern(at++);
	}
	for (i = 0; i < to->count; i++)
		memset(bytes_at(to->extents, (struct adma_place){ i, 0 }), 0,
		       to->extents[i].length);
}

static void check_copied(const struct side *to, size_t length)
{
	size_t at = 0, i, n;

	for (i = 0; i < to->count; i++) {
		for (n = 0; n < to->extents[i].length; n++, at++)
			REQUIRE(bytes_at(to->extents, (struct adma_place){ i, n })[0] ==
				(at < length ? pattern(at) : 0));
	}
}

static size_t edge_of(const struct adma_split_limits *limits)
{
	return limits->align > limits->line ? limits->align : limits->line;
}

static size_t address(const struct side *side, struct adma_place place)
{
	return side->extents[place.extent].offset + place.offset;
}

static void check_dma(const struct side *to, const struct side *from,
		      const struct adma_piece *piece, const struct adma_split_limits *limits)
{
	size_t edge = edge_of(limits);

	REQUIRE(piece->length >= limits->least);
	REQUIRE(address(to, piece->to) % edge == 0);
	REQUIRE(address(from, piece->from) % limits->align == 0);
	REQUIRE(piece->length % edge == 0);
}

/* A piece is the CPU's and no edge only where no piece for DMA would fit. */
static void check_cpu(const struct side *to, const struct side *from,
		      const struct adma_piece *piece, const struct adma_split_limits *limits,
		      size_t run)
{
	size_t edge = edge_of(limits), start = address(to, piece->to);
	size_t head = (edge - start % edge) % edge, body = 0;

	if ((start - address(from, piece->from)) % limits->align)
		return;
	if (head < run)
		body = (run - head) / edge * edge;
	if (body > limits->most)
		body = limits->most / edge * edge;
	REQUIRE(body < limits->least);
}

/* How many bytes from the piece on are contiguous on both sides, @left at most. */
static size_t run_of(const struct side *to, const struct side *from, const struct adma_piece *piece,
		     size_t left)
{
	size_t a = to->extents[piece->to.extent].length - piece->to.offset;
	size_t b = from->extents[piece->from.extent].length - piece->from.offset;

	if (a > b)
		a = b;
	return a < left ? a : left;
}

static void count(struct tally *tally, const struct adma_piece *piece)
{
	switch (piece->kind) {
	case ADMA_PIECE_DMA:
		tally->dma += piece->length;
		tally->pieces++;
		break;
	case ADMA_PIECE_EDGE:
		tally->edge += piece->length;
		break;
	case ADMA_PIECE_CPU:
		tally->cpu += piece->length;
		break;
	default:
		REQUIRE(!"a kind of piece");
	}
}

struct tally split_check(const struct side *to, const struct side *from, size_t length,
			 const struct adma_split_limits *limits)
{
	bool was_dma = false, head = false, same_run = false;
	struct tally tally = { 0, 0, 0, 0 };
	struct adma_split split, again;
	struct adma_piece piece, same;
	size_t at, run;

	prepare(to, from);
	adma_split_begin(&split, to->extents, from->extents, length, limits);
	again = split;
	for (at = 0; adma_split_next(&split, &piece); at += piece.length) {
		REQUIRE(adma_split_next(&again, &same));
		REQUIRE(same.kind == piece.kind && same.length == piece.length);
		REQUIRE(at < length && piece.length && piece.length <= length - at);
		REQUIRE(piece.length <= limits->most);
		REQUIRE(same_place(piece.to, place_of(to, at)));
		REQUIRE(same_place(piece.from, place_of(from, at)));
		run = run_of(to, from, &piece, length - at);
		REQUIRE(piece.length <= run);
		/* An edge comes before a piece for DMA, or after one, in the same run. */
		REQUIRE(!head || (piece.kind == ADMA_PIECE_DMA && same_run));
		head = piece.kind == ADMA_PIECE_EDGE && !(was_dma && same_run);
		if (piece.kind == ADMA_PIECE_DMA)
			check_dma(to, from, &piece, limits);
		if (piece.kind == ADMA_PIECE_CPU)
			check_cpu(to, from, &piece, limits, run);
		was_dma = piece.kind == ADMA_PIECE_DMA;
		same_run = piece.length < run;
		memcpy(bytes_at(to->extents, piece.to), bytes_at(from->extents, piece.from),
		       piece.length);
		count(&tally, &piece);
	}
	REQUIRE(!head);
	REQUIRE(at == length);
	check_copied(to, length);
	return tally;
}
