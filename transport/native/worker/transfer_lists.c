/* SPDX-License-Identifier: BSD-3-Clause */
/* transfer_lists.c - transfers by what they wait for; see transfer_lists.h. */
#include "worker/transfer_lists.h"

void adma_transfer_lists_init(struct adma_transfer_lists *lists)
{
	*lists = (struct adma_transfer_lists){0};
	adma_list_init(&lists->all);
	adma_list_init(&lists->touched);
	adma_list_init(&lists->open);
	adma_list_init(&lists->heads);
	for (uint32_t id = 0; id < ADMA_MECH_MAX; id++)
		for (int outbound = 0; outbound < 2; outbound++)
			adma_list_init(&lists->fifo[id][outbound]);
}

static struct adma_transfer *transfer_of_queued(struct adma_list *member)
{
	return adma_container_of(member, struct adma_transfer, queued);
}

static struct adma_list *transfer_fifo(struct adma_endpoint *ep, const struct adma_transfer *t)
{
	return &ep->transfers.fifo[t->mechanism_id][t->span.outbound];
}

static void transfer_join_movable(struct adma_transfer_lists *lists, struct adma_list *list, struct adma_transfer *t)
{
	t->turn = lists->turns++;
	adma_list_push_back(list, &t->movable);
}

/* The FIFO changed: its first transfer, and no other one of it, is among the heads. */
static void transfer_note_head(struct adma_endpoint *ep, struct adma_list *fifo, struct adma_transfer *before)
{
	struct adma_list *first = adma_list_first(fifo);
	struct adma_transfer *head = first ? transfer_of_queued(first) : NULL;

	if (head == before)
		return;
	if (before)
		adma_list_remove(&before->movable);
	if (head)
		transfer_join_movable(&ep->transfers, &ep->transfers.heads, head);
}

/*
 * The reader gives each transfer its place in the stream when it matches. The writer may find several
 * matches at once, in any order. They were matched after those that it knows, so the place is near the end.
 */
static void transfer_join_fifo(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_list *fifo = transfer_fifo(ep, t), *first = adma_list_first(fifo), *after = fifo->prev;

	while (after != fifo && (int64_t)(transfer_of_queued(after)->span.base - t->span.base) > 0)
		after = after->prev;
	adma_list_insert(&t->queued, after, after->next);
	transfer_note_head(ep, fifo, first ? transfer_of_queued(first) : NULL);
}

static void transfer_leave_fifo(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_list *fifo = transfer_fifo(ep, t), *first = adma_list_first(fifo);

	if (!adma_list_listed(&t->queued))
		return;
	adma_list_remove(&t->queued);
	if (first == &t->queued)
		transfer_note_head(ep, fifo, t);
}

/* Whether this endpoint may copy chunks of a direction does not change, so the others never join `open`. */
static bool transfer_may_open(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	return adma_transfer_is_shared(t) && t->chunks && t->mechanism->able(&ep->connection, t->span.outbound);
}

void adma_transfer_enlist(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_transfer_lists *lists = &ep->transfers;

	adma_list_init(&t->touched);
	adma_list_init(&t->movable);
	adma_list_init(&t->queued);
	adma_list_push_back(&lists->all, &t->link);
	lists->count++;
	lists->polled += adma_transfer_is_polled(t);
	adma_transfer_touch(ep, t);
	if (transfer_may_open(ep, t))
		transfer_join_movable(lists, &lists->open, t);
	else if (adma_transfer_is_stream(t) && t->chunks)
		transfer_join_fifo(ep, t);
}

void adma_transfer_delist(struct adma_endpoint *ep, struct adma_transfer *t)
{
	struct adma_transfer_lists *lists = &ep->transfers;

	adma_list_remove(&t->link);
	adma_list_remove(&t->touched);
	lists->count--;
	lists->polled -= adma_transfer_is_polled(t);
	if (adma_transfer_is_stream(t))
		adma_transfer_pass_stream(ep, t);
	else
		adma_list_remove(&t->movable);
}

void adma_transfer_pass_stream(struct adma_endpoint *ep, struct adma_transfer *t)
{
	if (t->span.outbound && ep->send.base[t->mechanism_id] == t->span.base)
		ep->send.base[t->mechanism_id] = t->span.base + t->chunks;
	transfer_leave_fifo(ep, t);
}

bool adma_transfer_is_next(const struct adma_endpoint *ep, const struct adma_transfer *t)
{
	if (t->busy || !adma_list_listed(&t->movable))
		return false;
	/* The first transfer that we know of may not be the next one: its predecessor may not be noted yet. */
	return !t->span.outbound || ep->send.base[t->mechanism_id] == t->span.base;
}

const struct adma_transfer *adma_transfer_draining(const struct adma_endpoint *ep, uint32_t mechanism_id)
{
	struct adma_list *first = adma_list_first(&ep->transfers.fifo[mechanism_id][false]);

	return first ? transfer_of_queued(first) : NULL;
}

bool adma_transfers_begin_with_streams(const struct adma_transfer_lists *lists)
{
	struct adma_list *open = adma_list_first(&lists->open), *head = adma_list_first(&lists->heads);

	if (!open || !head)
		return head;
	return adma_transfer_of_movable(head)->turn < adma_transfer_of_movable(open)->turn;
}
