/* SPDX-License-Identifier: BSD-3-Clause */
/* fifo.c - requests that are posted to the kernel helper, until they are complete; see fifo.h. */
#include "worker/fifo.h"

#include <errno.h>
#include <stdlib.h>

#include "worker/request.h"
#include "worker/stages.h"

/* ---- life ---- */

int adma_fifo_open(struct adma_endpoint *ep)
{
	const struct adma_config *config = &ep->connection.config;
	struct adma_fifo *fifo = calloc(1, sizeof(*fifo));
	int rc;

	if (!fifo)
		return -ENOMEM;
	fifo->fd = config->mech_fd[config->forced];
	rc = adma_device_map(fifo->fd, &fifo->page);
	if (rc) {
		free(fifo);
		return rc;
	}
	/* The handshake has used generation 1 of some entries. */
	adma_entries_init(&fifo->unused[true], 0, ADMA_FIFO_POSTS, 1);
	adma_entries_init(&fifo->unused[false], ADMA_FIFO_POSTS, ADMA_FIFO_POSTS, 1);
	adma_req_queue_init(&fifo->posted);
	fifo->timed = adma_device_keeps_times(fifo->fd);
	ep->fifo = fifo;
	return 0;
}

void adma_fifo_close(struct adma_endpoint *ep)
{
	const struct adma_device_entry *page = ep->fifo->page;

	ep->fifo->page = NULL;
	adma_device_unmap(page);
}

bool adma_fifo_is_timed(const struct adma_fifo *fifo, const struct adma_req *req)
{
	return fifo->timed && adma_is_timed(req);
}

void adma_fifo_lose_peer(struct adma_endpoint *ep)
{
	adma_terminate(ep, adma_peer_closed(ep) ? ADMA_E_CLOSED : ADMA_E_DIED);
}

/* If the kernel may still be asked about the request, the entry is used again after all others. */
void adma_fifo_return_entry(struct adma_fifo *fifo, const struct adma_req *req)
{
	adma_entries_return(&fifo->unused[req->is_read], req->slot_index, adma_fifo_is_timed(fifo, req));
}

static void fifo_leave(struct adma_fifo *fifo, struct adma_req *req)
{
	adma_req_queue_remove(&fifo->posted, req);
	adma_fifo_return_entry(fifo, req);
}

bool adma_fifo_cancel(struct adma_endpoint *ep, struct adma_req *req)
{
	if (adma_device_cancel(ep->fifo->fd, req->slot_index, req->slot_gen))
		return false;
	fifo_leave(ep->fifo, req);
	return true;
}

/* ---- objects and their parts ---- */

bool adma_fifo_has_parts(const struct adma_req *req)
{
	return !req->is_read && req->kind == ADMA_OBJECT && req->parts;
}

static bool fifo_is_part_of(const struct adma_req *part, const struct adma_req *object)
{
	uint32_t number = (uint32_t)part->key - (uint32_t)object->key;

	return !part->is_read && part->kind == ADMA_PART && number < object->parts;
}

struct adma_req *adma_fifo_object_of(const struct adma_fifo *fifo, const struct adma_req *part)
{
	adma_list_for_each(at, &fifo->posted.list)
		if (adma_fifo_has_parts(adma_req_of(at)) && fifo_is_part_of(part, adma_req_of(at)))
			return adma_req_of(at);
	return NULL;
}

static void fifo_drop_parts_in(struct adma_endpoint *ep, struct adma_req_queue *queue, const struct adma_req *object,
			       int error)
{
	adma_list_for_each_safe(at, after, &queue->list) {
		struct adma_req *req = adma_req_of(at);

		if (!fifo_is_part_of(req, object))
			continue;
		if (req->state == ADMA_QUEUED_STATE)
			adma_req_queue_remove(queue, req);
		else if (!adma_fifo_cancel(ep, req))
			continue;
		adma_complete(ep, req, error, 0);
	}
}

void adma_fifo_drop_parts(struct adma_endpoint *ep, const struct adma_req *object, int error)
{
	if (!adma_fifo_has_parts(object))
		return;
	fifo_drop_parts_in(ep, &ep->send.backlog, object, error);
	fifo_drop_parts_in(ep, &ep->fifo->posted, object, error);
}

/* ---- completion ---- */

static int fifo_error_of(struct adma_endpoint *ep, int status, bool is_read)
{
	switch (-status) {
	case EMSGSIZE:
		return ADMA_E_TOOLONG;
	case EPROTOTYPE:
		return ADMA_E_KIND;
	case ECANCELED:
		return ADMA_E_CANCELLED;
	case ESRCH: /* the process of one endpoint is gone: the peer's, since this one runs */
		return ADMA_E_DIED;
	case EPIPE:
		adma_fifo_lose_peer(ep);
		return is_read ? adma_receive_error(ep) : adma_send_error(ep);
	default:
		return -status;
	}
}

/* Take over what the writer told of its message. About the parts of an object nothing else is known. */
static void fifo_note_message(struct adma_endpoint *ep, struct adma_req *req, const struct adma_device_entry *entry)
{
	req->needed = entry->length;
	req->need_parts = 0;
	if (req->kind != ADMA_OBJECT)
		return;
	if (entry->note[0] > req->needed)
		req->needed = entry->note[0];
	req->need_parts = (uint32_t)entry->note[1];
	ep->fifo->part_in = (uint32_t)(entry->note[1] >> 32);
}

static void fifo_complete(struct adma_endpoint *ep, struct adma_req *req, int status)
{
	const struct adma_device_entry *entry = &ep->fifo->page[req->slot_index];
	int error = status ? fifo_error_of(ep, status, req->is_read) : req->error;
	uint64_t length = entry->length;

	if (req->is_read)
		fifo_note_message(ep, req, entry);
	if (req->is_read && req->kind == ADMA_PART && !error && length != req->length)
		error = EIO; /* its writer could not post it: see fifo_fail_part() */
	if (req->is_read && status == -EIO)
		req->held = 1; /* a DMA engine that did not stop may still write to the buffer */
	fifo_leave(ep->fifo, req);
	if (!error)
		ep->stats.mechanism[ep->connection.config.forced]++;
	else
		adma_fifo_drop_parts(ep, req, error);
	adma_complete(ep, req, error, length);
}

/* Another holder of our descriptor has reused the entry. So the request is complete, but its result is lost. */
static void fifo_lose_entry(struct adma_endpoint *ep, struct adma_req *req)
{
	adma_terminate(ep, ADMA_E_PROTOCOL);
	fifo_leave(ep->fifo, req);
	adma_complete(ep, req, ADMA_E_PROTOCOL, 0);
}

bool adma_fifo_complete_ended(struct adma_endpoint *ep)
{
	struct adma_fifo *fifo = ep->fifo;
	struct adma_list *at = fifo->posted.list.next;
	bool ended = false;

	while (at != &fifo->posted.list) {
		struct adma_req *req = adma_req_of(at);
		/* Acquire: pairs with the kernel's release of the result, which is read after this. */
		uint64_t state = atomic_load_explicit(&fifo->page[req->slot_index].state, memory_order_acquire);
		bool parts = adma_fifo_has_parts(req);

		at = at->next;
		if (state == adma_device_pending(req->slot_gen))
			continue;
		if (state >> 32 == req->slot_gen)
			fifo_complete(ep, req, (int32_t)state);
		else
			fifo_lose_entry(ep, req);
		ended = true;
		if (parts) /* they may be complete with it, and the next request of the list may be one of them */
			at = fifo->posted.list.next;
	}
	return ended;
}

void adma_fifo_fail(struct adma_endpoint *ep, bool reads, int error)
{
	struct adma_list *list = &ep->fifo->posted.list;

	for (struct adma_list *at = list->prev, *before = at->prev; at != list; at = before, before = at->prev) {
		struct adma_req *req = adma_req_of(at);

		if (req->is_read != reads || !adma_fifo_cancel(ep, req))
			continue;
		if (!reads && error == ADMA_E_CLOSED_HERE)
			adma_note_lost_request(ep, req);
		adma_complete(ep, req, error, 0);
	}
}

uint64_t adma_fifo_abandon(struct adma_endpoint *ep)
{
	uint64_t held = 0;

	(void)adma_fifo_complete_ended(ep);
	for (struct adma_req *req; (req = adma_req_queue_first(&ep->fifo->posted));) {
		held += req->length;
		req->held = 1;
		fifo_leave(ep->fifo, req);
		adma_complete(ep, req, ADMA_E_CLOSED_HERE, 0);
	}
	return held;
}
