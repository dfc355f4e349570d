/* SPDX-License-Identifier: BSD-3-Clause */
/* victim.c - what an end does between the attacks, and what must hold whatever its peer does. */
#include "scene.h"

#include <stdlib.h>
#include <sys/mman.h>

#define SLICE_NS 1000000

static bool done(const struct item *item)
{
	return item->req.state == ADMA_DONE_STATE;
}

/*
 * Every page of a message was written, so nobody takes old memory for a message that did not come. (Where the peer
 * pushes, only the peer knows; it is of the same user then.)
 */
static void check_content(const struct item *item)
{
	for (uint64_t at = 0; at + 64 <= item->req.done_bytes; at += 4096) {
		bool fresh = false;

		for (int i = 0; i < 64; i++)
			fresh |= item->buffer[at + i] != POISON;
		REQUIRE(fresh);
	}
}

static void check_result(struct end *end, struct item *item)
{
	const struct adma_req *req = &item->req;

	/* What a peer can say is an errno; the core's own words for errors that a request can end with are these. */
	REQUIRE(req->error >= 0 && req->error != ADMA_E_PENDING && req->error != ADMA_E_BULK &&
		req->error != ADMA_E_FULL);
	if (req->error || !req->is_read)
		return;
	REQUIRE(req->done_bytes <= req->length);
	if (req->mechanism == ADMA_MECH_SHARED || req->mechanism == ADMA_MECH_TCP)
		check_content(item);
	if (req->kind == ADMA_OBJECT)
		end->parts_due = req->need_parts;
}

static void take(struct end *end, struct item *item)
{
	if (!item->posted || !done(item))
		return;
	adma_observe(end->chan, &item->req);
	check_result(end, item);
	item->posted = false;
	if (item->req.is_read)
		free(item->buffer);
}

/* Few values, and their neighbours: so messages often fit exactly, or not quite. */

static uint8_t *make_buffer(uint64_t n)
{
	uint8_t *buffer = malloc(n ? n : 1);

	REQUIRE(buffer);
	memset(buffer, POISON, n);
	return buffer;
}

static struct item *free_item(struct end *end)
{
	for (int i = 0; i < REQS; i++)
		if (!end->items[i].posted)
			return &end->items[i];
	return NULL;
}

static void bring_bulk(struct scene *scene, int e, uint64_t n)
{
	int fd;

	if (!adma_wants_bulk(scene->ends[e].chan, n))
		return;
	fd = make_bulk();
	if (!scene->bulk[e]) {
		scene->bulk[e] = mmap(NULL, adma_bulk_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		REQUIRE(scene->bulk[e] != MAP_FAILED);
	}
	(void)adma_give_bulk(scene->ends[e].chan, fd);
}

static void prepare(struct item *item, uint16_t kind, bool is_read, uint64_t length)
{
	memset(&item->req, 0, sizeof(item->req));
	item->req.kind = kind;
	item->req.is_read = is_read;
	item->req.length = length;
	item->req.total = is_read ? 0 : length;
	item->buffer = is_read ? make_buffer(length) : outgoing;
	item->req.address = item->buffer;
}

static void post_read(struct end *end, struct program *program)
{
	struct item *item = free_item(end);
	uint8_t how = (uint8_t)next(program, 1);

	if (!item)
		return;
	if (end->parts_due) {
		end->parts_due--;
		prepare(item, ADMA_PART, true, draw_length(program));
	} else {
		prepare(item, how % 4 ? ADMA_BYTES : ADMA_OBJECT, true, draw_length(program));
	}
	if (how & 16) {
		free(item->buffer);
		item->buffer = NULL;
		item->req.address = NULL;
		item->req.limit = item->req.length;
		item->req.length = 0;
		item->req.flags = ADMA_REQ_OPEN;
	}
	item->posted = !adma_post_one(end->chan, &item->req);
	if (!item->posted)
		free(item->buffer);
}

static void post_write(struct scene *scene, int e, struct program *program)
{
	struct end *end = &scene->ends[e];
	struct item *items[ENDS] = {free_item(end)};
	struct adma_req *reqs[ENDS];
	uint8_t how = (uint8_t)next(program, 1);

	if (!items[0])
		return;
	prepare(items[0], how % 4 ? ADMA_BYTES : ADMA_OBJECT, false, draw_length(program));
	items[0]->req.flags = how & 16 ? ADMA_REQ_SLOT : 0;
	bring_bulk(scene, e, LONGEST);
	reqs[0] = &items[0]->req;
	items[0]->posted = true;
	items[1] = free_item(end);
	if (items[0]->req.kind == ADMA_OBJECT && items[1]) {
		prepare(items[1], ADMA_PART, false, draw_length(program));
		reqs[1] = &items[1]->req;
		reqs[0]->parts = 1;
		reqs[0]->total += reqs[1]->length;
		items[1]->posted = items[0]->posted = !adma_post(end->chan, reqs, 2);
		return;
	}
	items[0]->posted = !adma_post(end->chan, reqs, 1);
}

/* A read met a message, and asks for a buffer; the caller gives it one, of exactly its size. */
static void supply(struct end *end, struct item *item)
{
	REQUIRE(item->req.need_length <= item->req.limit);
	item->buffer = make_buffer(item->req.need_length);
	if (adma_supply(end->chan, &item->req, item->buffer, item->req.need_length)) {
		free(item->buffer);
		item->buffer = NULL;
	}
}

static void use_item(struct end *end, struct program *program)
{
	uint8_t how = (uint8_t)next(program, 1);
	struct item *item = &end->items[how % 8 % REQS];

	if (!item->posted)
		return;
	if (item->req.state == ADMA_NEED_STATE)
		supply(end, item);
	else if (how >> 3 < 2)
		(void)adma_cancel(end->chan, &item->req);
	else if (how >> 3 < 4)
		adma_refresh(end->chan, &item->req);
	else
		(void)adma_drive_one(end->chan, &item->req, 0, SLICE_NS);
	take(end, item);
}

static void use_now(struct end *end, struct program *program)
{
	uint64_t n = next(program, 2) % 9000;
	uint8_t *buffer;

	if (next(program, 1) % 2) {
		(void)adma_write_now(end->chan, ADMA_BYTES, outgoing, n);
		return;
	}
	buffer = make_buffer(n);
	REQUIRE(adma_read_now(end->chan, ADMA_BYTES, buffer, n, 0) <= (int64_t)n);
	free(buffer);
}

static void look(struct end *end, struct program *program)
{
	struct adma_wait wait = {.chans = &end->chan, .nchans = 1, .also = -1};
	struct adma_candidate found[ADMA_MECH_MAX];
	struct adma_message message;
	struct adma_stats stats;
	struct adma_loss loss;
	struct adma_req *reqs[REQS];
	int nreqs = 0;

	for (int i = 0; i < REQS; i++)
		if (end->items[i].posted && !end->items[i].req.is_read)
			reqs[nreqs++] = &end->items[i].req;
	switch (next(program, 1) % 8) {
	case 0:
		(void)adma_peek(end->chan, &message);
		break;
	case 1:
		(void)adma_skip(end->chan, &message);
		break;
	case 2:
		(void)adma_sleep(&wait, 0, NULL);
		break;
	case 3:
		(void)adma_fileno(end->chan);
		break;
	case 4:
		(void)adma_completions_fileno(end->chan);
		break;
	case 5:
		(void)adma_deadlocked(end->chan);
		(void)adma_peer_reads(end->chan);
		(void)adma_remainder(end->chan, reqs, nreqs);
		break;
	case 6:
		adma_get_stats(end->chan, &stats);
		adma_get_loss(end->chan, &loss);
		(void)adma_candidates(end->chan, LONGEST, found);
		break;
	default:
		(void)adma_drive(&wait, 0, SLICE_NS);
	}
}

static void take_all(struct end *end)
{
	for (int i = 0; i < REQS; i++)
		take(end, &end->items[i]);
}

/* A closed channel has nothing outstanding. */
void close_end(struct end *end)
{
	if (end->closed)
		return;
	if (adma_chan_close(end->chan, 0))
		(void)adma_chan_abandon(end->chan);
	take_all(end);
	for (int i = 0; i < REQS; i++)
		REQUIRE(!end->items[i].posted);
	end->closed = true;
}

void act(struct scene *scene, int e, struct program *program)
{
	struct end *end = &scene->ends[e];

	switch (next(program, 1) % 16) {
	case 0:
	case 1:
	case 2:
		post_read(end, program);
		break;
	case 3:
	case 4:
	case 5:
		post_write(scene, e, program);
		break;
	case 6:
	case 7:
		use_now(end, program);
		break;
	case 8:
		look(end, program);
		break;
	case 9:
		if (next(program, 1) < 32)
			adma_chan_drain(end->chan);
		break;
	case 10:
		if (next(program, 1) < 32)
			close_end(end);
		break;
	default:
		use_item(end, program);
	}
	take_all(end);
}
