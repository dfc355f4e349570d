/* SPDX-License-Identifier: GPL-2.0 */
/*
 * request.h - a request from its post to its end.
 *
 * A request holds its end and is charged to its poster. Until it ends it is found
 * through its completion entry and, while it waits, in its direction's match;
 * whoever changes its stage from ADMA_WAITING, under the connection's lock, ends it. A
 * transfer owns the two requests that met. What ends a request lets its
 * memory go first, then gives back the charge, then stores the result: who sees the
 * result may use all of that again.
 */
#ifndef ADMA_REQUEST_H
#define ADMA_REQUEST_H

#include <linux/bits.h>
#include <linux/ktime.h>
#include <linux/types.h>

#include "match.h"
#include "memory.h"
#include "transfer.h"

#include <uapi/linux/adma.h>

#define ADMA_IOV_MAX    64
#define ADMA_LENGTH_MAX BIT_ULL(40) /* far from any wrap-around */

struct adma_end;
struct adma_user;

enum adma_stage {
	ADMA_WAITING, /* in a match */
	ADMA_LEAVING, /* taken out of it; ends with party.error */
	ADMA_MATCHED, /* a transfer's */
};

struct adma_request {
	struct adma_party party;    /* connection's lock while waiting, then whoever ends it */
	enum adma_stage stage;      /* connection's lock */
	u64 cookie;
	struct adma_end *end;
	struct adma_user *user;     /* charged for it */
	struct adma_memory memory;
	struct adma_memory source;  /* of a copy, whose destination is memory */
	struct adma_transfer transfer; /* the younger's is used; so a match needs no memory */
	struct adma_request *older; /* of the younger: the one it met; NULL in a copy */
	struct adma_transfer *on;   /* connection's lock: the transfer, once matched */
	ktime_t begun;
	u64 post_ns;
	u64 pin_ns;                 /* of its memory, once that was let go */
	u64 *times;                 /* for the entry, if they were asked for */
};

/* The commands, with current as the poster; errors as in the UAPI header. */
int adma_request_post(struct adma_end *end, const struct adma_post *post);
int adma_request_copy(struct adma_end *end, const struct adma_copy *copy);
int adma_request_peek(struct adma_end *end, struct adma_peek *peek);
int adma_request_check(struct adma_end *end, struct adma_check *check);
int adma_request_wait(struct adma_end *end, struct adma_check *check);
int adma_request_cancel(struct adma_end *end, u64 cookie);

/* The end is being closed: its requests are withdrawn, its peer's fail. */
void adma_request_withdraw_all(struct adma_end *end);

int adma_requests_init(void);
void adma_requests_exit(void);

#endif
