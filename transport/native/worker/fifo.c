/* SPDX-License-Identifier: BSD-3-Clause */
/* line.c - requests that wait in the kernel helper's line; see line.h. */
#include "worker/fifo.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "worker/channel.h"
#include "worker/stages.h"

/* Keys of parts: never 0, which is the line. */
#define PART_KEY(number) (1ull << 32 | (uint32_t)(number))

/* ---- life ---- */

int adma_fifo_open(struct adma_chan *chan)
{
	struct adma_fifo *fifo = calloc(1, sizeof(*fifo));
	int rc;

	if (!fifo)
		return -ENOMEM;
	rc = adma_device_map(chan->config.mech_fd[chan->config.forced], &fifo->entries);
	if (rc) {
		free(fifo);
		return rc;
	}
	for (uint16_t i = 0; i < ADMA_DEVICE_ENTRIES; i++) {
		int is_read = i < ADMA_FIFO_POSTS;

		fifo->generation[i] = 1; /* the handshake's */
		fifo->unused[is_read][fifo->unused_count[is_read]++] = i;
	}
	fifo->timed = adma_device_keeps_times(chan->config.mech_fd[chan->config.forced]);
	chan->fifo = fifo;
	return 0;
}

void adma_fifo_unmap(struct adma_fifo *fifo)
{
	const struct adma_device_entry *entries = fifo->entries;

	fifo->entries = NULL;
	adma_device_unmap(entries);
}

/* ---- entries ---- */

static uint16_t *unused_at(struct adma_fifo *fifo, bool read, uint32_t index)
{
	return &fifo->unused[read][(fifo->unused_first[read] + index) % ADMA_FIFO_POSTS];
}

static bool is_timed(const struct adma_fifo *fifo, const struct adma_req *req)
{
	return fifo->timed && adma_is_timed(req);
}

static int take_entry(struct adma_fifo *fifo, bool read)
{
	int entry;

	if (!fifo->unused_count[read])
		return -1;
	entry = *unused_at(fifo, read, 0);
	fifo->unused_first[read]++;
	fifo->unused_count[read]--;
	if (!++fifo->generation[entry])
		fifo->generation[entry] = 1; /* 0 is no generation */
	return entry;
}

/* At once again, being in the caches; but after all others if the kernel may be asked about its request. */
static void return_entry(struct adma_fifo *fifo, const struct adma_req *req)
{
	bool read = req->is_read, last = is_timed(fifo, req);

	fifo->unused_first[read] -= !last;
	*unused_at(fifo, read, last ? fifo->unused_count[read] : 0) = (uint16_t)req->slot_index;
	fifo->unused_count[read]++;
}

/* ---- the end of a request ---- */

/* The other end's descriptor is closed. It says that it closes before it does. */
static void lose_peer(struct adma_chan *chan)
{
	adma_terminate(chan, adma_peer_closed(chan) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

static int error_of(struct adma_chan *chan, int status)
{
	switch (-status) {
	case EMSGSIZE:
		return ADMA_E_TOOLONG;
	case EPROTOTYPE:
		return ADMA_E_KIND;
	case ECANCELED:
		return ADMA_E_CANCELLED;
	case ESRCH: /* one end's process is gone, and it is not this one */
		return ADMA_E_DIED;
	case EPIPE:
		lose_peer(chan);
		return chan->over;
	default:
		return -status;
	}
}

static void leave(struct adma_fifo *fifo, struct adma_req *req)
{
	adma_queue_remove(&fifo->posted, req);
	return_entry(fifo, req);
}

/* What the writer told of its message. Of an object's parts its word is all there is. */
static void note_message(struct adma_chan *chan, struct adma_req *req, const struct adma_device_entry *entry)
{
	req->needed = entry->length;
	req->need_parts = 0;
	if (req->kind != ADMA_OBJECT)
		return;
	if (entry->note[0] > req->needed)
		req->needed = entry->note[0];
	req->need_parts = (uint32_t)entry->note[1];
	chan->fifo->part_in = (uint32_t)(entry->note[1] >> 32);
}

static bool is_part_of(const struct adma_req *part, const struct adma_req *object)
{
	uint32_t number = (uint32_t)part->key - (uint32_t)object->key;

	return !part->is_read && part->kind == ADMA_PART && number < object->parts;
}

static void drop_parts_in(struct adma_chan *chan, struct adma_queue *queue, const struct adma_req *object, int error)
{
	for (struct adma_req *req = queue->first, *next; req; req = next) {
		next = req->next;
		if (!is_part_of(req, object))
			continue;
		if (req->state == ADMA_QUEUED_STATE)
			adma_queue_remove(queue, req);
		else if (!adma_fifo_cancel(chan, req))
			continue;
		adma_complete(chan, req, error, 0);
	}
}

static bool has_parts(const struct adma_req *req)
{
	return !req->is_read && req->kind == ADMA_OBJECT && req->parts;
}

void adma_fifo_drop_parts(struct adma_chan *chan, const struct adma_req *object, int error)
{
	if (!has_parts(object))
		return;
	drop_parts_in(chan, &chan->backlog, object, error);
	drop_parts_in(chan, &chan->fifo->posted, object, error);
}

static void finish(struct adma_chan *chan, struct adma_req *req, int status)
{
	const struct adma_device_entry *entry = &chan->fifo->entries[req->slot_index];
	int error = status ? error_of(chan, status) : req->error;
	uint64_t length = entry->length;

	if (req->is_read)
		note_message(chan, req, entry);
	if (req->is_read && req->kind == ADMA_PART && !error && length != req->length)
		error = EIO; /* its writer had nothing to send, see fail_part() */
	if (req->is_read && status == -EIO)
		req->held = 1; /* an engine that did not stop may still write to it */
	leave(chan->fifo, req);
	if (!error)
		chan->stats.mechanism[chan->config.forced]++;
	else
		adma_fifo_drop_parts(chan, req, error);
	adma_complete(chan, req, error, length);
}

/* Another holder of our end has named the entry anew: so the request ended, who knows how. */
static void lose_entry(struct adma_chan *chan, struct adma_req *req)
{
	adma_terminate(chan, ADMA_E_PROTOCOL);
	leave(chan->fifo, req);
	adma_complete(chan, req, ADMA_E_PROTOCOL, 0);
}

static bool settle(struct adma_chan *chan)
{
	struct adma_fifo *fifo = chan->fifo;
	bool ended = false;

	for (struct adma_req *req = fifo->posted.first, *next; req; req = next) {
		/* Acquire: pairs with the kernel's release of the result that is read behind it. */
		uint64_t state = atomic_load_explicit(&fifo->entries[req->slot_index].state, memory_order_acquire);

		next = req->next;
		if (state == adma_device_pending(req->slot_gen))
			continue;
		bool parts = has_parts(req);

		if (state >> 32 == req->slot_gen)
			finish(chan, req, (int32_t)state);
		else
			lose_entry(chan, req);
		ended = true;
		if (parts) /* which may be gone, too */
			next = fifo->posted.first;
	}
	return ended;
}

/* ---- posts ---- */

void adma_fifo_number(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_fifo *fifo = chan->fifo;

	req->key = 0;
	if (req->kind == ADMA_PART) {
		uint32_t *number = req->is_read ? &fifo->part_in : &fifo->part_out;

		req->key = PART_KEY((*number)++);
	} else if (!req->is_read && req->kind == ADMA_OBJECT) {
		req->key = PART_KEY(fifo->next_part);
		fifo->part_out = fifo->next_part;
		fifo->next_part += req->parts;
	}
}

static struct adma_device_post description(const struct adma_fifo *fifo, const struct adma_req *req)
{
	struct adma_device_post post = {
		.address = req->address,
		.length = req->length,
		.kind = req->kind,
		.key = req->kind == ADMA_PART ? req->key : 0,
		.entry = req->slot_index,
		.generation = req->slot_gen,
		.read = req->is_read,
		.timed = is_timed(fifo, req),
	};

	if (!req->is_read && req->kind == ADMA_OBJECT) {
		post.note[0] = req->total;
		post.note[1] = req->key << 32 | req->parts;
	}
	return post;
}

/* May it be posted later, when one of its like has ended and given back what it held? */
static bool is_shortage(const struct adma_fifo *fifo, const struct adma_req *req, int rc)
{
	bool others = fifo->unused_count[req->is_read] < ADMA_FIFO_POSTS;

	return others && (rc == -EDQUOT || rc == -ENOMEM);
}

static struct adma_req *object_of(const struct adma_fifo *fifo, const struct adma_req *part)
{
	struct adma_req *req = fifo->posted.first;

	while (req && !(has_parts(req) && is_part_of(part, req)))
		req = req->next;
	return req;
}

/*
 * A part cannot be posted, and its other end waits for it, or will. True: post it once
 * more, as a message of no bytes, which tells the reader. An object that nobody has taken yet
 * is withdrawn instead. A read that fails leaves its writer waiting: the channel is over.
 */
static bool fail_part(struct adma_chan *chan, struct adma_req *part, int error)
{
	struct adma_req *object;

	if (part->is_read) {
		adma_terminate(chan, error);
		return false;
	}
	object = object_of(chan->fifo, part);
	if (object && adma_fifo_cancel(chan, object)) {
		part->key = object->key + object->parts; /* not one of those that go along: the caller's */
		adma_fifo_drop_parts(chan, object, error);
		adma_complete(chan, object, error, 0);
		return false;
	}
	part->error = error;
	part->length = 0;
	return true;
}

int adma_fifo_post(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_fifo *fifo = chan->fifo;
	struct adma_queue *queue = req->is_read ? &chan->reads : &chan->backlog;
	int entry = take_entry(fifo, req->is_read), rc;

	if (entry < 0)
		return 0;
	req->slot_index = (uint32_t)entry;
	req->slot_gen = fifo->generation[entry];
	struct adma_device_post post = description(fifo, req);

	rc = adma_device_post(chan->config.mech_fd[chan->config.forced], &post);
	if (!rc) {
		adma_queue_remove(queue, req);
		adma_queue_push(&fifo->posted, req);
		req->mechanism = chan->config.forced;
		chan->stats.rendezvous += !req->is_read;
		adma_stamp(req, &req->times.published);
		__atomic_store_n(&req->state, ADMA_POSTED_STATE, __ATOMIC_RELEASE);
		return 1;
	}
	return_entry(fifo, req);
	if (rc == -EPIPE)
		lose_peer(chan);
	if (rc == -EPIPE || rc == -EINTR || is_shortage(fifo, req, rc))
		return 0;
	if (rc == -EEXIST) /* only the peer names the keys of what is read */
		rc = -ADMA_E_PROTOCOL;
	if (req->kind == ADMA_PART && !req->error && fail_part(chan, req, -rc))
		return adma_fifo_post(chan, req);
	adma_queue_remove(queue, req);
	adma_fifo_drop_parts(chan, req, -rc);
	adma_complete(chan, req, -rc, 0);
	return 1;
}

/* ---- reads ---- */

/* The first write in line, checked: its kind and notes are the peer's words. */
static bool peek(struct adma_chan *chan, struct adma_device_message *first)
{
	int rc = adma_device_peek(chan->config.mech_fd[chan->config.forced], first);

	if (rc == -EPIPE)
		lose_peer(chan);
	if (rc)
		return false;
	if (first->kind != ADMA_BYTES && first->kind != ADMA_OBJECT) {
		adma_terminate(chan, ADMA_E_PROTOCOL);
		return false;
	}
	return true;
}

static uint64_t bytes_of(const struct adma_device_message *message)
{
	bool with_parts = message->kind == ADMA_OBJECT && message->note[0] > message->length;

	return with_parts ? message->note[0] : message->length;
}

int adma_fifo_head(struct adma_chan *chan, struct adma_message *message)
{
	struct adma_device_message first;

	if (!peek(chan, &first))
		return 0;
	message->present = 1;
	message->kind = first.kind;
	message->nbytes = bytes_of(&first);
	return 1;
}

static void refuse(struct adma_chan *chan, struct adma_req *req, int error, uint64_t needed)
{
	req->needed = needed;
	adma_queue_remove(&chan->reads, req);
	adma_complete(chan, req, error, 0);
}

enum answer { NOTHING_THERE, ASKED, REFUSED };

/* An open read whose turn it is asks for a buffer when its message is there. */
static enum answer ask(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_device_message first;
	uint64_t total;

	if (!peek(chan, &first))
		return NOTHING_THERE;
	total = bytes_of(&first);
	if (first.kind != req->kind || total > req->limit) {
		refuse(chan, req, first.kind != req->kind ? ADMA_E_KIND : ADMA_E_TOOLONG, total);
		return REFUSED;
	}
	req->needed = total;
	req->need_length = first.length;
	req->need_parts = (uint32_t)first.note[1];
	__atomic_store_n(&req->state, ADMA_NEED_STATE, __ATOMIC_RELEASE);
	adma_wake_waiters(chan);
	return ASKED;
}

static bool is_open(const struct adma_req *req)
{
	return req->state == ADMA_NEED_STATE || req->flags & ADMA_REQ_OPEN;
}

/* In order, but for parts, which have lines of their own. An open read holds up what is behind it. */
static bool post_reads(struct adma_chan *chan)
{
	bool changed = false, stop = false;

	for (struct adma_req *req = chan->reads.first, *next; req && !chan->over; req = next) {
		next = req->next;
		if (!chan->fifo->unused_count[true])
			break;
		if (req->kind != ADMA_PART && stop)
			continue;
		if (!is_open(req)) {
			bool posted = adma_fifo_post(chan, req) > 0;

			changed |= posted;
			stop |= !posted;
			continue;
		}
		enum answer answer = req->state == ADMA_NEED_STATE ? NOTHING_THERE : ask(chan, req);

		changed |= answer != NOTHING_THERE;
		stop = answer != REFUSED; /* and is gone then, maybe freed */
	}
	return changed;
}

static void sweep(struct adma_chan *chan)
{
	struct adma_queue *posted = &chan->fifo->posted;

	chan->fifo->swept = true;
	for (struct adma_req *req = posted->first, *next; req; req = next) {
		next = req->next;
		if (adma_fifo_cancel(chan, req))
			adma_complete(chan, req, chan->over, 0);
	}
}

bool adma_fifo_advance(struct adma_chan *chan)
{
	bool changed = chan->fifo->posted.first && settle(chan);

	if (chan->reads.first && !chan->over)
		changed |= post_reads(chan);
	if (chan->over && !chan->fifo->swept) {
		sweep(chan);
		changed = true;
	}
	return changed;
}

/* ---- cancel, progress ---- */

bool adma_fifo_cancel(struct adma_chan *chan, struct adma_req *req)
{
	if (adma_device_cancel(chan->config.mech_fd[chan->config.forced], req->slot_index, req->slot_gen))
		return false;
	leave(chan->fifo, req);
	return true;
}

void adma_fifo_refresh(struct adma_chan *chan, struct adma_req *req)
{
	uint64_t copied;

	if (req->state != ADMA_POSTED_STATE && req->state != ADMA_MATCHED_STATE)
		return;
	if (adma_device_progress(chan->config.mech_fd[chan->config.forced], req->slot_index, req->slot_gen, &copied) <= 0)
		return;
	req->done_bytes = copied;
	__atomic_store_n(&req->state, ADMA_MATCHED_STATE, __ATOMIC_RELEASE);
}

void adma_fifo_tell_times(struct adma_chan *chan, struct adma_req *req)
{
	struct adma_req_kernel *kernel = &req->times.kernel;
	struct adma_device_times told;

	if (req->state != ADMA_DONE_STATE || kernel->told || !is_timed(chan->fifo, req))
		return;
	if (adma_device_times(chan->config.mech_fd[chan->config.forced], req->slot_index, req->slot_gen, &told))
		return;
	*kernel = (struct adma_req_kernel){
		.post_ns = (int64_t)told.post,
		.pin_ns = (int64_t)told.pin,
		.start_ns = (int64_t)told.start,
		.copy_ns = (int64_t)told.copy,
		.complete_ns = (int64_t)told.complete,
		.told = true,
	};
}

/* ---- sleeping ---- */

short adma_fifo_events(const struct adma_chan *chan, bool listener)
{
	const struct adma_req *first = chan->reads.first;
	bool asks = first && first->state == ADMA_QUEUED_STATE && first->flags & ADMA_REQ_OPEN;

	return (short)(POLLIN | (listener || asks ? POLLPRI : 0));
}

void adma_fifo_polled(struct adma_chan *chan, short events)
{
	uint64_t ended;

	if (events & POLLIN)
		(void)!read(chan->config.mech_fd[chan->config.forced], &ended, sizeof(ended));
	if (events & POLLHUP)
		lose_peer(chan);
}

uint64_t adma_fifo_abandon(struct adma_chan *chan)
{
	uint64_t held = 0;

	(void)settle(chan);
	for (struct adma_req *req = chan->fifo->posted.first; req; req = chan->fifo->posted.first) {
		held += req->length;
		req->held = 1;
		leave(chan->fifo, req);
		adma_complete(chan, req, ADMA_E_CLOSED_HERE, 0);
	}
	return held;
}
