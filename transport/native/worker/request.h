/* SPDX-License-Identifier: BSD-3-Clause */
/* request.h - requests of an endpoint: queued, published, completed. All with the lock. */
#ifndef ADMA_WORKER_REQUEST_H
#define ADMA_WORKER_REQUEST_H

#include "worker/endpoint.h"

/* May these be posted, all of them? 0; -ADMA_E_FULL; or why the endpoint is over. */
int adma_requests_admit(const struct adma_endpoint *ep, struct adma_req **reqs, int n);

/* It joins the queue of its direction. */
void adma_request_enqueue(struct adma_endpoint *ep, struct adma_req *req);

/* It leaves that queue, unmatched. */
void adma_request_dequeue(struct adma_endpoint *ep, struct adma_req *req);

/* A request is through: its final fields, and its waiters are marked. It is on no list any more. */
void adma_complete(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t nbytes);

/* An open read met a message of `total` bytes, `length` of them its own: its caller has to supply a buffer. */
void adma_request_ask(struct adma_endpoint *ep, struct adma_req *req, uint64_t total, uint64_t length, uint32_t parts);

/* A read met a message that it cannot take. */
void adma_request_refuse(struct adma_endpoint *ep, struct adma_req *req, int error, uint64_t needed);

/* Its caller has seen that it is complete, or will never look. */
void adma_request_observe(struct adma_endpoint *ep, struct adma_req *req);

/* Publish writes of the backlog while there is room. True when one went out. */
bool adma_flush(struct adma_endpoint *ep);

/* The endpoint is over: complete the reads that are unmatched, or the writes that are unpublished. */
void adma_fail_reads(struct adma_endpoint *ep, int error);
void adma_fail_backlog(struct adma_endpoint *ep, int error);

#endif
