/* SPDX-License-Identifier: BSD-3-Clause */
/* request.h - requests of an endpoint: queued, published, completed. Called with the lock held. */
#ifndef ADMA_WORKER_REQUEST_H
#define ADMA_WORKER_REQUEST_H

#include "worker/endpoint.h"

/* May all these requests be posted? 0; -ADMA_E_FULL; or why the endpoint is terminated. */
int adma_requests_admit(const struct adma_endpoint *ep, struct adma_req **reqs, int n);

/* Add the request to the queue of its direction. */
void adma_request_enqueue(struct adma_endpoint *ep, struct adma_req *req);

/* Remove an unmatched request from that queue. */
void adma_request_dequeue(struct adma_endpoint *ep, struct adma_req *req);

/*
 * An object leaves the backlog unpublished: its parts, which are queued behind it, complete with this error, because
 * a reader takes no part without its object. To be called while the object is still queued. Others have no parts.
 */
void adma_drop_queued_parts(struct adma_endpoint *ep, struct adma_req *object, int error);

/* Complete a request that is on no list: fill in its final fields, and mark that waiters have to be woken. */
void adma_complete(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t nbytes);

/* Fill in the final fields of a request that is on no list and counted nowhere, and mark that waiters have to be woken. */
void adma_request_finish(struct adma_worker *worker, struct adma_req *req, int error, uint64_t nbytes);

/* Fill in the first fields of a request that joins a queue. */
void adma_request_start(struct adma_req *req);

/* An open read met a message of `total` bytes with its parts, `length` without: the caller has to supply a buffer. */
void adma_request_ask(struct adma_endpoint *ep, struct adma_req *req, uint64_t total, uint64_t length, uint32_t parts);

/* The caller supplies it: the read is as one that was posted with a buffer. */
void adma_request_supply(struct adma_endpoint *ep, struct adma_req *req, void *p, uint64_t n);

/* A read met a message that it cannot take. */
void adma_request_refuse(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t needed);

/* The caller has seen that the request is complete, or will never look. */
void adma_request_observe(struct adma_endpoint *ep, struct adma_req *req);

/* The caller has seen that this request, which is complete, is so. */
void adma_request_note_observed(struct adma_worker *worker, struct adma_req *req);

/* The post of the request is over: from now on its completion is told, if that is wanted. False: it is complete. */
bool adma_request_tell(struct adma_req *req);

/* From now on its completion is told to notifications (adma_notify.h). False: it is complete already. */
bool adma_request_notify(struct adma_req *req);

/* Publish writes of the backlog while there is room. True when one was published. */
bool adma_flush(struct adma_endpoint *ep);

/*
 * Nothing will meet them any more: complete the unmatched reads, or the unpublished writes, with this
 * error. Writes that fail with ADMA_E_CLOSED_HERE are lost by our close.
 */
void adma_fail_reads(struct adma_endpoint *ep, int error);
void adma_fail_backlog(struct adma_endpoint *ep, int error);

#endif
