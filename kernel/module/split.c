// SPDX-License-Identifier: GPL-2.0
/* split.c - cuts a copy into pieces; see split.h. */
#include <linux/math.h>
#include <linux/minmax.h>

#include "split.h"

void adma_split_begin(struct adma_split *split, const struct adma_extent *to,
		      const struct adma_extent *from, size_t length,
		      const struct adma_split_limits *limits)
{
	*split = (struct adma_split){
		.to = to,
		.from = from,
		.left = length,
		.limits = *limits,
	};
}

/* Sets kind and length of the first piece of @run, the bytes that are left of a run. */
static void split_cut(const struct adma_split *split, size_t run, struct adma_piece *piece)
{
	const struct adma_split_limits *limits = &split->limits;
	size_t to = adma_place_offset(&split->to_at, split->to);
	size_t from = adma_place_offset(&split->from_at, split->from);
	size_t edge = max(limits->align, limits->line);
	size_t head = -to & (edge - 1);
	size_t body = round_down(min(run - min(head, run), limits->most), edge);

	if ((to ^ from) & (limits->align - 1) || body < limits->least) {
		piece->kind = split->inside ? ADMA_PIECE_EDGE : ADMA_PIECE_CPU;
		piece->length = min(run, limits->most);
	} else if (head) {
		piece->kind = ADMA_PIECE_EDGE;
		piece->length = head;
	} else {
		piece->kind = ADMA_PIECE_DMA;
		piece->length = body;
	}
}

bool adma_split_next(struct adma_split *split, struct adma_piece *piece)
{
	size_t run;

	if (!split->left)
		return false;
	run = min3(split->left, adma_place_rest(&split->to_at, split->to),
		   adma_place_rest(&split->from_at, split->from));
	piece->to = split->to_at;
	piece->from = split->from_at;
	split_cut(split, run, piece);
	adma_place_advance(&split->to_at, split->to, piece->length);
	adma_place_advance(&split->from_at, split->from, piece->length);
	split->left -= piece->length;
	split->inside = piece->kind == ADMA_PIECE_DMA && piece->length < run;
	return true;
}
