/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_worker.h - workers: one process, many peers, messages that match by tags.
 *
 * A worker (struct adma_worker) owns matching and progress for any number of endpoints. Each
 * endpoint is connected with one endpoint of another worker, by a handshake like that of a channel,
 * or with itself. It has a number, which is its name as the source of messages. Numbers are not
 * used twice.
 *
 * A message carries a tag of 64 bits. A receive names a source or any, a tag, and a mask of the bits
 * that have to be equal. Of several posted receives that accept a message the oldest one gets it; a
 * receive gets the oldest message that it accepts. Messages of one endpoint match in the order in
 * which they were sent, whatever their size.
 *
 * Requests are those of adma.h, with `tag`, `mask` and `source` filled in, and with kind
 * ADMA_TAGGED. A request that is complete names the source and the tag of its message. Requests
 * belong to the caller and must not be touched until their `state` is ADMA_DONE_STATE. There is no
 * limit to how many are outstanding. Waiting is that of adma.h: struct adma_wait.
 *
 * A result is as in adma.h.
 */
#ifndef ADMA_WORKER_H
#define ADMA_WORKER_H

#include "adma.h"

#define ADMA_ANY_TAG 0 /* the mask under which all tags are equal */

struct adma_tagged_message {
	uint64_t tag;
	uint64_t length;
	uint32_t source;
};

/* ---- life ---- */

/* Make a worker without endpoints. `secret` is random, and no peer may know it. 0 or a negated errno. */
int adma_worker_new(uint64_t secret, struct adma_worker **out);

/*
 * Close all endpoints as adma_worker_drop() does, and then free the worker, without waiting for peers. No other
 * thread may be in a call about the worker, nor begin one.
 */
void adma_worker_free(struct adma_worker *worker);

/* Add an endpoint; its number in *number. The worker takes over descriptors and maps on success only. */
int adma_worker_connect(struct adma_worker *worker, const struct adma_config *config, uint32_t *number);

/* Add an endpoint to ourselves: what is sent to it is received from it. */
int adma_worker_connect_self(struct adma_worker *worker, uint32_t *number);

/* Begin an orderly end of an endpoint: see adma_chan_drain(). Nothing happens if there is none with this number. */
void adma_worker_drain(struct adma_worker *worker, uint32_t number);

/*
 * Close an endpoint: take back its unmatched sends, fail the receives that name it, drop what arrived from
 * it, and wait for at most timeout_ns until the peer has finished its chunks. 0: the endpoint is gone;
 * -EAGAIN: the peer still copies; call again, or give up with adma_worker_abandon(). An endpoint that does
 * not exist is gone.
 */
int adma_worker_drop(struct adma_worker *worker, uint32_t number, int64_t timeout_ns);

/* Give up on a peer that does not finish its chunks: see adma_chan_abandon(). */
uint64_t adma_worker_abandon(struct adma_worker *worker, uint32_t number);

/* 0 while the endpoint can be used, or why it cannot (negative). */
int adma_worker_health(struct adma_worker *worker, uint32_t number);

/* How many endpoints the worker has, and how many of them each round looks at directly. */
void adma_worker_counts(struct adma_worker *worker, uint32_t *endpoints, uint32_t *direct);

/* What adma_get_stats() tells, for an endpoint. -ENOENT: there is none with this number. */
int adma_worker_stats(struct adma_worker *worker, uint32_t number, struct adma_stats *stats);

/* adma_wants_bulk(), adma_give_bulk() and adma_no_bulk() of adma.h, for an endpoint. */
bool adma_worker_wants_bulk(struct adma_worker *worker, uint32_t number, uint64_t n);
int adma_worker_give_bulk(struct adma_worker *worker, uint32_t number, int fd);
void adma_worker_no_bulk(struct adma_worker *worker, uint32_t number, int err);

/* adma_choose(), adma_candidates(), adma_learnt() and adma_withdrawn() of adma.h, for an endpoint. -ENOENT: there is none. */
int adma_worker_choose(struct adma_worker *worker, uint32_t number, uint64_t n);
int adma_worker_candidates(struct adma_worker *worker, uint32_t number, uint64_t n, struct adma_candidate *found);
int adma_worker_learnt(struct adma_worker *worker, uint32_t number, uint64_t n, struct adma_learnt_way *found);
uint32_t adma_worker_withdrawn(struct adma_worker *worker, uint32_t number, int32_t *errs);

/* A descriptor to poll: readable while a completed request is unobserved, or a message waits for a receive. */
int adma_worker_fileno(struct adma_worker *worker);

/*
 * ---- messages ----
 *
 * A request with ADMA_REQ_BLOCKING is one for which its caller waits at once: it is not left to the progress thread before.
 */

/*
 * Send to the endpoint `req->source`. With ADMA_REQ_SLOT the send is synchronous: it completes when it is
 * matched and copied, whatever its size. 0; -ENOENT: there is no such endpoint; or why it is terminated.
 */
int adma_worker_send(struct adma_worker *worker, struct adma_req *req);

/*
 * Receive. A message that is too long fails the receive with ADMA_E_TOOLONG and stays; with
 * ADMA_REQ_CONSUME it is gone, and what fits of it was copied if it was eager. 0 or -ENOENT.
 *
 * With ADMA_REQ_TAKE the receive needs no buffer, and no message is too long for it. It is posted and matched like any
 * other one. When it meets its message it takes it, as adma_worker_take() does, and is complete: `taken` is the
 * message, `needed` is its length, and done_bytes is 0. `needed` is what the sender says, and nothing limits it but
 * for eager messages. The message has to be received. Until then it does not count against what the peer may send
 * unexpected: a peer makes us hold at most one eager message more for each receive of this kind.
 */
int adma_worker_receive(struct adma_worker *worker, struct adma_req *req);

/* Find the message that such a receive would get. 1: it is in *found; 0: none has arrived; negative: the worker is closed. */
int adma_worker_probe(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask,
		      struct adma_tagged_message *found);

/*
 * The same, and take the message out of the queue: no receive and no probe finds it any more, and its sender
 * cannot cancel it. It has to be received.
 */
int adma_worker_take(struct adma_worker *worker, uint32_t source, uint64_t tag, uint64_t mask,
		     struct adma_tagged_message *found, struct adma_arrived **taken);

/*
 * Receive a message that was taken, which is gone afterwards. 0; -ADMA_E_TOOLONG: it is too long, and without
 * ADMA_REQ_CONSUME it stays taken; the request is not posted, and `needed` tells its length.
 */
int adma_worker_receive_taken(struct adma_worker *worker, struct adma_arrived *taken, struct adma_req *req);

/* Cancel a send or a receive. 1: it is cancelled; 0: too late. */
int adma_worker_cancel(struct adma_worker *worker, struct adma_req *req);

/* The caller has seen that the request is done, or will never look. */
void adma_worker_observe(struct adma_worker *worker, struct adma_req *req);

/*
 * For callers that hold what other threads of the process may wait for, such as the lock of an interpreter: the same as
 * their namesakes, but -ADMA_E_BUSY where those would wait for the lock of the worker. Then nothing has happened.
 */
int adma_worker_try_send(struct adma_worker *worker, struct adma_req *req);
int adma_worker_try_receive(struct adma_worker *worker, struct adma_req *req);
int adma_worker_try_observe(struct adma_worker *worker, struct adma_req *req);

/* One round of progress, without waiting. 1: something changed, so that another round may find more; 0; negative: closed. */
int adma_worker_progress(struct adma_worker *worker);

/* Drive and sleep for `need` of `n` requests; with n 0, for a message without a receive. See adma.h. */
int adma_worker_drive(struct adma_worker *worker, struct adma_req **reqs, int n, int need, int64_t spin_ns,
		      int64_t budget_ns);
int adma_worker_sleep(struct adma_worker *worker, struct adma_req **reqs, int n, int need, int64_t timeout_ns,
		      const sigset_t *mask);

#endif
