/* SPDX-License-Identifier: BSD-3-Clause */
/* tagged.c - tagged messages: send, receive, probe, cancel, and waiting for them; see adma_worker.h. */
#include <errno.h>

#include "adma_notify.h"
#include "api/drive.h"
#include "api/entry.h"
#include "base/fault.h"
#include "progress/ownership.h"
#include "worker/request.h"
#include "worker/tags.h"

/* The receive has met its message, which waits in a slot: the endpoint of the message has a transfer now. */
static void tagged_begin(struct adma_worker *worker, const struct adma_req *req)
{
	struct adma_endpoint *ep = req->state == ADMA_MATCHED_STATE ? adma_tags_endpoint(worker, req->source) : NULL;

	if (ep)
		(void)adma_endpoint_advance(ep);
}

/* The request if its completion is to be told, and NULL otherwise: then it may be freed as soon as it is complete. */
static struct adma_req *tagged_told(struct adma_req *req)
{
	return req->flags & ADMA_REQ_TELL ? req : NULL;
}

/* What is left is handed over, unless the caller `waits` for it and so goes on with it at once. */
static void tagged_leave(struct adma_progress *progress, bool waits)
{
	if (!waits)
		adma_ownership_hand_over(progress);
	adma_publish_and_leave_worker(progress);
}

/* Publish, match, and leave. `req`: what the caller posted and wants to be told of. */
static void tagged_finish(struct adma_progress *progress, struct adma_req *req, bool waits)
{
	(void)adma_worker_advance(&progress->worker);
	if (req)
		(void)adma_request_tell(req);
	tagged_leave(progress, waits);
}

static int tagged_send_error(struct adma_endpoint *ep)
{
	(void)adma_note_peer_closed(ep);
	(void)adma_note_peer_ending(ep);
	return ep->control.draining ? ADMA_E_CLOSED_HERE : adma_send_error(ep);
}

/* With the lock held, which is released. */
static int tagged_send(struct adma_progress *progress, struct adma_req *req)
{
	struct adma_worker *worker = &progress->worker;
	struct adma_req *told = tagged_told(req);
	bool waits = req->flags & ADMA_REQ_BLOCKING;
	struct adma_endpoint *ep = adma_tags_endpoint(worker, req->source);
	int rc = ep ? -tagged_send_error(ep) : -ENOENT;

	if (!rc)
		rc = -ADMA_FAULT(ADMA_FAULT_POST);
	if (rc) {
		adma_publish_and_leave_worker(progress);
		return rc;
	}
	req->total = req->length;
	req->parts = 0;
	adma_request_enqueue(ep, req);
	(void)adma_endpoint_advance(ep);
	if (told)
		(void)adma_request_tell(told);
	tagged_leave(progress, waits);
	return 0;
}

int adma_worker_send(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_enter_worker(progress);

	return rc ? rc : tagged_send(progress, req);
}

int adma_worker_try_send(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_try_enter_worker(progress);

	return rc ? rc : tagged_send(progress, req);
}

/* With the lock held, which is released. */
static int tagged_receive(struct adma_progress *progress, struct adma_req *req)
{
	struct adma_worker *worker = &progress->worker;
	struct adma_req *told = tagged_told(req);
	bool waits = req->flags & ADMA_REQ_BLOCKING, named = req->source != ADMA_ANY_SOURCE;
	int rc = named && !adma_tags_endpoint(worker, req->source) ? -ENOENT : -ADMA_FAULT(ADMA_FAULT_POST);

	if (rc) {
		adma_leave_worker(progress);
		return rc;
	}
	adma_request_start(req);
	adma_tags_receive(worker, req);
	tagged_begin(worker, req);
	tagged_finish(progress, told, waits);
	return 0;
}

int adma_worker_receive(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_enter_worker(progress);

	return rc ? rc : tagged_receive(progress, req);
}

int adma_worker_try_receive(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_try_enter_worker(progress);

	return rc ? rc : tagged_receive(progress, req);
}

/* A caller may look again and again, and do nothing else. */
static void tagged_look(struct adma_progress *progress)
{
	(void)adma_worker_advance(&progress->worker);
	(void)adma_check_peers(progress, adma_now(), 0);
}

static void tagged_describe(const struct adma_arrived *arrived, struct adma_tagged_message *found)
{
	if (arrived)
		*found = arrived->message;
}

int adma_worker_probe(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask,
		      struct adma_tagged_message *found)
{
	struct adma_progress *progress = adma_progress_of(worker);
	const struct adma_arrived *arrived;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	tagged_look(progress);
	arrived = adma_tags_find(worker, source, tag, mask);
	tagged_describe(arrived, found);
	adma_publish_and_leave_worker(progress);
	return arrived != NULL;
}

int adma_worker_take(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask,
		     struct adma_tagged_message *found, struct adma_arrived **taken)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_arrived *arrived;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	tagged_look(progress);
	do
		arrived = adma_tags_find(worker, source, tag, mask);
	while (arrived && adma_tags_take(arrived) == -ECANCELED);
	tagged_describe(arrived, found);
	*taken = arrived;
	adma_publish_and_leave_worker(progress);
	return arrived != NULL;
}

int adma_worker_receive_taken(struct adma_worker *worker, struct adma_arrived *taken, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	struct adma_req *told = tagged_told(req);
	bool waits = req->flags & ADMA_REQ_BLOCKING;
	int rc = adma_enter_worker(progress);

	if (rc)
		return rc;
	rc = adma_tags_receive_taken(worker, taken, req);
	if (!rc)
		tagged_begin(worker, req);
	tagged_finish(progress, rc ? NULL : told, waits);
	return rc;
}

static bool tagged_cancel(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_endpoint *ep = adma_tags_endpoint(worker, req->source);

	if (req->is_read && req->state == ADMA_QUEUED_STATE) {
		adma_tags_withdraw(worker, req);
		adma_tags_complete(worker, req, ADMA_E_CANCELLED);
		return true;
	}
	if (req->is_read || !ep)
		return false;
	if (req->state == ADMA_QUEUED_STATE)
		adma_request_dequeue(ep, req);
	else if (req->state != ADMA_POSTED_STATE || !ep->ops->cancel(ep, req))
		return false;
	adma_complete(ep, req, ADMA_E_CANCELLED, 0);
	return true;
}

int adma_worker_cancel(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	bool won;

	if (adma_enter_worker(progress))
		return 0;
	won = tagged_cancel(worker, req);
	tagged_finish(progress, NULL, false);
	return won;
}

int adma_worker_notify(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	bool pending;

	if (adma_enter_worker(progress))
		return 1;
	pending = adma_request_notify(req);
	adma_leave_worker(progress);
	return !pending;
}

/* With the lock held, which is released. */
static void tagged_observe(struct adma_progress *progress, struct adma_req *req)
{
	if (req->state == ADMA_DONE_STATE)
		adma_request_note_observed(&progress->worker, req);
	else
		req->flags |= ADMA_REQ_DROPPED;
	adma_publish_and_leave_untold(progress);
}

void adma_worker_observe(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);

	if (!adma_enter_worker(progress))
		tagged_observe(progress, req);
}

int adma_worker_try_observe(struct adma_worker *worker, struct adma_req *req)
{
	struct adma_progress *progress = adma_progress_of(worker);
	int rc = adma_try_enter_worker(progress);

	if (rc)
		return rc == -ADMA_E_BUSY ? rc : 0;
	tagged_observe(progress, req);
	return 0;
}

int adma_worker_progress(struct adma_worker *worker)
{
	return adma_drive_once(adma_progress_of(worker));
}

static struct adma_wait tagged_wait(struct adma_worker **worker, struct adma_req **reqs, int n, int need)
{
	return (struct adma_wait){
		.workers = worker,
		.nworkers = 1,
		.reqs = reqs,
		.nreqs = n,
		.need = need,
		.also = -1,
	};
}

int adma_worker_drive(struct adma_worker *worker, struct adma_req **reqs, int n, int need, int64_t spin_ns,
		      int64_t budget_ns)
{
	struct adma_wait wait = tagged_wait(&worker, reqs, n, need);

	return adma_drive(&wait, spin_ns, budget_ns);
}

int adma_worker_sleep(struct adma_worker *worker, struct adma_req **reqs, int n, int need, int64_t timeout_ns,
		      const sigset_t *mask)
{
	struct adma_wait wait = tagged_wait(&worker, reqs, n, need);

	return adma_sleep(&wait, timeout_ns, mask);
}
