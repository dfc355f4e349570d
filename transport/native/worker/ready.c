/* SPDX-License-Identifier: BSD-3-Clause */
/* turn.c - what this end could copy now, and of a stream, which transfer is next. */
#include "worker/channel.h"

bool adma_transfer_is_next(const struct adma_chan *chan, const struct adma_transfer *t)
{
	if (t->busy || t->at == t->length)
		return false;
	if (t->outbound)
		return chan->out_base[t->mechanism_id] == t->base;
	for (const struct adma_transfer *before = t->prev; before; before = before->prev)
		if (!before->outbound && before->mechanism_id == t->mechanism_id && before->at < before->length)
			return false;
	return true;
}

bool adma_transfer_ready(const struct adma_chan *chan, const struct adma_transfer *t)
{
	struct adma_slot_result r;

	if (!t->mechanism || !t->chunks || chan->over)
		return false;
	if (!(t->mechanism->flags & ADMA_STREAM))
		return t->mechanism->able(chan, t->outbound) && !adma_slot_look(t->slot, t->gen, &r) && !r.closed;
	if (t->mechanism_id != ADMA_MECH_SHARED || !adma_transfer_is_next(chan, t))
		return false;
	uint64_t number = t->base + t->at / t->chunk;

	if (t->outbound)
		return number - atomic_load(&chan->out.segment->drained) < ADMA_BULK_CELLS;
	return (chan->bulk_in || chan->bulk_in_errno) && atomic_load(&chan->in.segment->filled) > number;
}

bool adma_transfers_ready(const struct adma_chan *chan)
{
	for (const struct adma_transfer *t = chan->transfers; t; t = t->next)
		if (!t->busy && adma_transfer_ready(chan, t))
			return true;
	return false;
}
