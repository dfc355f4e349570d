/* SPDX-License-Identifier: GPL-2.0 */
/*
 * request.h - a request, from its post to its completion.
 *
 * A request holds its endpoint, and is charged to its poster. Until it is completed it is found
 * through its completion entry and, while it waits, in the match of its direction. Whoever
 * changes its stage from ADMA_WAITING, under the connection's lock, completes it. A
 * transfer owns the two requests that matched. Completing a request first releases its
 * memory, then gives back the charge, then stores the result: so whoever sees the
 * result may use all of that again.
 */
#ifndef ADMA_REQUEST_H
#define ADMA_REQUEST_H

#include <linux/ktime.h>
#include <linux/types.h>

#include "buffer.h"
#include "match.h"
#include "transfer.h"

#include <uapi/linux/adma.h>

struct adma_endpoint;
struct adma_user;

enum adma_stage {
	ADMA_WAITING,   /* in a match */
	ADMA_WITHDRAWN, /* taken out of it without a match; completed with envelope.error */
	ADMA_MATCHED,   /* a transfer's */
};

struct adma_request {
	struct adma_envelope envelope; /* connection's lock while waiting, then its completer's */
	enum adma_stage stage;      /* connection's lock */
	u64 cookie;
	struct adma_endpoint *endpoint;
	struct adma_user *user;     /* charged for it */
	struct adma_buffer buffer;
	struct adma_buffer source;  /* of a copy, whose destination is buffer */
	struct adma_transfer transfer; /* the younger's is used; so a match allocates nothing */
	struct adma_request *older; /* of the younger: the one that it matched; NULL in a copy */
	struct adma_transfer *on;   /* connection's lock: the transfer, once matched */
	ktime_t begun;
	u64 post_ns;
	u64 pin_ns;                 /* of its buffers, once they are released */
	u64 *times;                 /* for the entry, if they were asked for */
};

static inline struct adma_request *adma_request_of(struct adma_envelope *envelope)
{
	return container_of(envelope, struct adma_request, envelope);
}

/* A new request, charged to current's user. An ERR_PTR on failure. */
struct adma_request *adma_request_make(struct adma_endpoint *endpoint, u64 cookie, u32 flags);

/* Free one that was never posted. */
void adma_request_discard(struct adma_request *request);

/* The request is posted: it is pending from here on. Called with the connection's lock. */
void adma_request_begin(struct adma_request *request, enum adma_stage stage);

/*
 * Take the requests of @list out of a match. Called with the connection's lock; after that the
 * caller has to complete them, with the next function.
 */
void adma_request_claim_all(struct list_head *list);

/* Complete a withdrawn request, or all of a list, with envelope.error. Called without the lock. */
void adma_request_complete_withdrawn(struct adma_request *request);
void adma_request_complete_all_withdrawn(struct list_head *list);

/*
 * Complete the two requests of a transfer, or the one of a copy; both at once, so that nobody
 * sees one completed and the other one pending. This is a transfer's done().
 */
void adma_request_complete_transfer(struct adma_transfer *transfer, int error);

int adma_requests_init(void);
void adma_requests_exit(void);

#endif
