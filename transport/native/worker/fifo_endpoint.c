/* SPDX-License-Identifier: BSD-3-Clause */
/* fifo_endpoint.c - endpoint operations over the kernel helper; see fifo_endpoint.h. */
#include "worker/fifo_endpoint.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "worker/fifo.h"
#include "worker/request.h"
#include "worker/stages.h"

/* The key of a part. It is never 0, which stands for the FIFO. */
#define PART_KEY(number) (1ull << 32 | (uint32_t)(number))

/* ---- posts ---- */

/* The parts of a direction are numbered in the order in which they are queued. */
static void fifo_enqueue(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_fifo *fifo = ep->fifo;

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

static struct adma_device_post fifo_describe(const struct adma_fifo *fifo, const struct adma_req *req)
{
	struct adma_device_post post = {
		.address = req->address,
		.length = req->length,
		.kind = req->kind,
		.key = req->kind == ADMA_PART ? req->key : 0,
		.entry = req->slot_index,
		.generation = req->slot_gen,
		.read = req->is_read,
		.timed = adma_fifo_is_timed(fifo, req),
	};

	if (!req->is_read && req->kind == ADMA_OBJECT) {
		post.note[0] = req->total;
		post.note[1] = req->key << 32 | req->parts;
	}
	return post;
}

/* Can the request be posted when another one of its direction is complete, and has given back what it held? */
static bool fifo_is_shortage(const struct adma_fifo *fifo, const struct adma_req *req, int rc)
{
	return !adma_entries_idle(&fifo->unused[req->is_read]) && (rc == -EDQUOT || rc == -ENOMEM);
}

/*
 * A part cannot be posted, although the other endpoint waits for it, or will. If it is a read, its
 * writer would wait for ever, so the endpoint is terminated. If the object of a written part is not
 * matched yet, the object is withdrawn. Otherwise this returns true: post the part once more, as a
 * message of no bytes, by which the reader learns of the failure.
 */
static bool fifo_fail_part(struct adma_endpoint *ep, struct adma_req *part, int error)
{
	struct adma_req *object;

	if (part->is_read) {
		adma_terminate(ep, error);
		return false;
	}
	object = adma_fifo_object_of(ep->fifo, part);
	if (object && adma_fifo_cancel(ep, object)) {
		part->key = object->key + object->parts; /* not dropped with the others: the caller completes it */
		adma_fifo_drop_parts(ep, object, error);
		adma_complete(ep, object, error, 0);
		return false;
	}
	part->error = error;
	part->length = 0;
	return true;
}

/* The request was posted to the kernel. */
static void fifo_note_posted(struct adma_endpoint *ep, struct adma_req *req)
{
	adma_request_dequeue(ep, req);
	adma_req_queue_push(&ep->fifo->posted, req);
	req->mechanism = ep->connection.config.forced;
	ep->stats.rendezvous += !req->is_read;
	adma_stamp(req, &req->times.published);
	__atomic_store_n(&req->state, ADMA_POSTED_STATE, __ATOMIC_RELEASE);
}

/* Post a queued request. 1: it is posted, or has failed for good; 0: it cannot be posted now. */
static int fifo_post(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_fifo *fifo = ep->fifo;
	int entry = adma_entries_take(&fifo->unused[req->is_read]), rc;

	if (entry < 0)
		return 0;
	req->slot_index = (uint32_t)entry;
	req->slot_gen = adma_entries_generation(&fifo->unused[req->is_read], (uint32_t)entry);
	struct adma_device_post post = fifo_describe(fifo, req);

	rc = adma_device_post(fifo->fd, &post);
	if (!rc) {
		fifo_note_posted(ep, req);
		return 1;
	}
	adma_fifo_return_entry(fifo, req);
	if (rc == -EPIPE)
		adma_fifo_lose_peer(ep);
	if (rc == -EPIPE || rc == -EINTR || fifo_is_shortage(fifo, req, rc))
		return 0;
	if (rc == -EEXIST) /* the keys of reads come from the peer */
		rc = -ADMA_E_PROTOCOL;
	if (req->kind == ADMA_PART && !req->error && fifo_fail_part(ep, req, -rc))
		return fifo_post(ep, req);
	adma_request_dequeue(ep, req);
	adma_fifo_drop_parts(ep, req, -rc);
	adma_complete(ep, req, -rc, 0);
	return 1;
}

static void fifo_published(struct adma_endpoint *ep)
{
	(void)ep; /* the kernel told the peer at the post */
}

/* ---- the next message, and reads ---- */

static uint32_t fifo_parts_of(const struct adma_device_message *message)
{
	return message->kind == ADMA_OBJECT ? (uint32_t)message->note[1] : 0;
}

/* Look at the write at the head of the FIFO. What it says is checked, because it comes from the peer. */
static bool fifo_look_at_first(struct adma_endpoint *ep, struct adma_device_message *first)
{
	int rc = adma_device_peek(ep->fifo->fd, first);

	if (rc == -EPIPE)
		adma_fifo_lose_peer(ep);
	if (rc)
		return false;
	if ((first->kind != ADMA_BYTES && first->kind != ADMA_OBJECT) || fifo_parts_of(first) > ADMA_PARTS_MAX) {
		adma_terminate(ep, ADMA_E_PROTOCOL);
		return false;
	}
	return true;
}

static uint64_t fifo_bytes_of(const struct adma_device_message *message)
{
	bool with_parts = message->kind == ADMA_OBJECT && message->note[0] > message->length;

	return with_parts ? message->note[0] : message->length;
}

static bool fifo_has_message(struct adma_endpoint *ep)
{
	struct adma_device_message first;

	return fifo_look_at_first(ep, &first);
}

static bool fifo_peek(struct adma_endpoint *ep, struct adma_message *message)
{
	struct adma_device_message first;

	if (ep->control.over || !fifo_look_at_first(ep, &first))
		return false;
	message->present = 1;
	message->kind = first.kind;
	message->nbytes = fifo_bytes_of(&first);
	message->parts = fifo_parts_of(&first);
	return true;
}

enum fifo_answer { FIFO_NOTHING_THERE, FIFO_ASKED, FIFO_REFUSED };

/* The first read is open: if its message is there, it asks for a buffer. */
static enum fifo_answer fifo_ask(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_device_message first;
	uint64_t total;

	if (!fifo_look_at_first(ep, &first))
		return FIFO_NOTHING_THERE;
	total = fifo_bytes_of(&first);
	if (first.kind != req->kind || total > req->limit) {
		adma_request_refuse(ep, req, first.kind != req->kind ? ADMA_E_KIND : ADMA_E_TOOLONG, total);
		return FIFO_REFUSED;
	}
	adma_request_ask(ep, req, total, first.length, fifo_parts_of(&first));
	return FIFO_ASKED;
}

static bool fifo_is_open(const struct adma_req *req)
{
	return req->state == ADMA_NEED_STATE || req->flags & ADMA_REQ_OPEN;
}

/* Post reads in order. An open read holds up the reads behind it, parts excepted, because parts have keys. */
static bool fifo_post_reads(struct adma_endpoint *ep)
{
	bool changed = false, stop = false;

	adma_list_for_each_safe(at, after, &ep->receive.reads.all) {
		struct adma_req *req = adma_read_of(at);
		enum fifo_answer answer;

		if (ep->control.over || adma_entries_full(&ep->fifo->unused[true]))
			break;
		if (req->kind != ADMA_PART && stop)
			continue;
		if (!fifo_is_open(req)) {
			bool posted = fifo_post(ep, req) > 0;

			changed |= posted;
			stop |= !posted;
			continue;
		}
		answer = req->state == ADMA_NEED_STATE ? FIFO_NOTHING_THERE : fifo_ask(ep, req);
		changed |= answer != FIFO_NOTHING_THERE;
		stop = answer != FIFO_REFUSED; /* a refused read is complete, and may have been freed */
	}
	return changed;
}

/* ---- a round ---- */

static bool fifo_fail_reads(struct adma_endpoint *ep)
{
	const struct adma_req *first = adma_first_read(&ep->receive.reads);

	if (!ep->control.over || !first || (!ep->control.closing && first->state == ADMA_NEED_STATE))
		return false;
	adma_fail_reads(ep, adma_receive_error(ep));
	return true;
}

static void fifo_stop_reading(struct adma_endpoint *ep)
{
	adma_fail_reads(ep, ADMA_E_CLOSED_HERE);
	adma_fifo_fail(ep, true, ADMA_E_CLOSED_HERE);
}

/* The endpoint is terminated, or the peer reads no more: withdraw once what will never be matched. True when that is done. */
static bool fifo_withdraw(struct adma_endpoint *ep)
{
	int error = adma_send_error(ep);
	bool changed = false;

	if (error && !ep->fifo->sends_failed) {
		ep->fifo->sends_failed = changed = true;
		adma_fifo_fail(ep, false, error);
	}
	if (ep->control.over && !ep->fifo->reads_failed) {
		ep->fifo->reads_failed = changed = true;
		adma_fifo_fail(ep, true, adma_receive_error(ep));
	}
	if (error && ep->send.backlog.count) {
		adma_fail_backlog(ep, error);
		changed = true;
	}
	return changed;
}

static bool fifo_advance(struct adma_endpoint *ep)
{
	bool changed = false;

	if (adma_ring_fresh(&ep->receive.ring)) /* the ring is not used together with the kernel's FIFO */
		adma_terminate(ep, ADMA_E_PROTOCOL);
	changed |= adma_note_peer_closed(ep);
	changed |= adma_note_peer_ending(ep);
	if (ep->send.backlog.count)
		changed |= adma_flush(ep);
	if (ep->fifo->posted.count)
		changed |= adma_fifo_complete_ended(ep);
	if (ep->receive.reads.count && !ep->control.over)
		changed |= fifo_post_reads(ep);
	changed |= fifo_withdraw(ep);
	return changed | fifo_fail_reads(ep);
}

/* Requests that found no entry, and open reads, need our help. The kernel does the rest. */
static bool fifo_needs_progress(const struct adma_endpoint *ep)
{
	const struct adma_req *first = adma_first_read(&ep->receive.reads);

	if (ep->control.lingers && ep->fifo->posted.count)
		return true; /* somebody has to tell the peer of the end */
	return ep->send.backlog.count || (first && first->state != ADMA_NEED_STATE);
}

static bool fifo_is_stuck(struct adma_endpoint *ep)
{
	return ep->send.pending && !ep->receive.pending && fifo_has_message(ep);
}

static bool fifo_is_busy(const struct adma_endpoint *ep)
{
	return ep->fifo->posted.count;
}

/* ---- waiting ---- */

static int fifo_data_fd(const struct adma_endpoint *ep)
{
	return ep->fifo->fd;
}

static short fifo_events(const struct adma_endpoint *ep, bool listener)
{
	const struct adma_req *first = adma_first_read(&ep->receive.reads);
	bool asks = first && first->state == ADMA_QUEUED_STATE && first->flags & ADMA_REQ_OPEN;

	return (short)(POLLIN | (listener || asks ? POLLPRI : 0));
}

/* Reset the count of completions. The entries have to be looked at after this. */
static void fifo_polled(struct adma_endpoint *ep, short revents)
{
	uint64_t ended;

	if (revents & POLLIN)
		(void)!read(ep->fifo->fd, &ended, sizeof(ended));
	if (revents & POLLHUP)
		adma_fifo_lose_peer(ep);
	if (revents)
		adma_mark(ep, ADMA_MARK_REARM);
}

static struct adma_poll_word fifo_poll_word(const struct adma_endpoint *ep)
{
	const struct adma_req *oldest = adma_req_queue_first(&ep->fifo->posted);

	if (!oldest)
		return (struct adma_poll_word){0};
	return (struct adma_poll_word){&ep->fifo->page[oldest->slot_index].state,
				       adma_device_pending(oldest->slot_gen)};
}

/* ---- questions to the kernel ---- */

static void fifo_refresh(struct adma_endpoint *ep, struct adma_req *req)
{
	uint64_t copied;

	if (req->state != ADMA_POSTED_STATE && req->state != ADMA_MATCHED_STATE)
		return;
	if (adma_device_progress(ep->fifo->fd, req->slot_index, req->slot_gen, &copied) <= 0)
		return;
	req->done_bytes = copied;
	__atomic_store_n(&req->state, ADMA_MATCHED_STATE, __ATOMIC_RELEASE);
}

static uint64_t fifo_remainder(struct adma_endpoint *ep, struct adma_req **reqs, int n)
{
	const struct adma_req *last = NULL;
	uint64_t left = 0;

	for (int i = 0; i < n; i++) {
		if (reqs[i]->state == ADMA_POSTED_STATE || reqs[i]->state == ADMA_MATCHED_STATE)
			last = reqs[i];
		else if (reqs[i]->state != ADMA_DONE_STATE)
			left += reqs[i]->length;
	}
	adma_list_for_each(at, &ep->fifo->posted.list) {
		struct adma_req *req = adma_req_of(at);

		if (!last)
			break;
		if (req->is_read == last->is_read) {
			fifo_refresh(ep, req);
			left += req->length - req->done_bytes;
		}
		if (req == last)
			break;
	}
	return left;
}

static void fifo_tell_times(struct adma_endpoint *ep, struct adma_req *req)
{
	struct adma_req_kernel *kernel = &req->times.kernel;
	struct adma_device_times told;

	if (req->state != ADMA_DONE_STATE || kernel->told || !adma_fifo_is_timed(ep->fifo, req))
		return;
	if (adma_device_times(ep->fifo->fd, req->slot_index, req->slot_gen, &told))
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

const struct adma_endpoint_ops adma_fifo_endpoint_ops = {
	.enqueue = fifo_enqueue,
	.post = fifo_post,
	.published = fifo_published,
	.drop_parts = adma_fifo_drop_parts,
	.cancel = adma_fifo_cancel,
	.peek = fifo_peek,
	.has_message = fifo_has_message,
	.advance = fifo_advance,
	.needs_progress = fifo_needs_progress,
	.is_stuck = fifo_is_stuck,
	.stop_reading = fifo_stop_reading,
	.is_busy = fifo_is_busy,
	.data_fd = fifo_data_fd,
	.events = fifo_events,
	.polled = fifo_polled,
	.poll_word = fifo_poll_word,
	.refresh = fifo_refresh,
	.remainder = fifo_remainder,
	.tell_times = fifo_tell_times,
	.abandon = adma_fifo_abandon,
	.close = adma_fifo_close,
	.silent = true,
};
