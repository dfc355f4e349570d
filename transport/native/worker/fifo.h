/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fifo.h - the requests of an endpoint that are posted to the kernel helper, and their completion.
 *
 * fifo_endpoint.h tells how messages and the parts of objects travel. All functions are called
 * with the lock held.
 */
#ifndef ADMA_WORKER_FIFO_H
#define ADMA_WORKER_FIFO_H

#include "kdev/entries.h"
#include "worker/endpoint.h"

#define ADMA_FIFO_POSTS (ADMA_DEVICE_ENTRIES / 2) /* of one direction */

struct adma_fifo {
	int fd;                                    /* our descriptor of the pair, that of the config */
	const struct adma_device_entry *page;      /* the mapped completion page */
	struct adma_entries unused[2];             /* completion entries of writes, and of reads */
	bool timed;                                /* the module measures requests that ask for it */
	struct adma_req_queue posted;              /* requests that the kernel has */
	uint32_t next_part;                        /* the number of the first part of our next object */
	uint32_t part_out;                         /* the number of the next part to be queued for writing */
	uint32_t part_in;                          /* the number of the next part to be read */
	bool reads_failed, sends_failed; /* nothing will meet them any more: the unmatched ones are withdrawn */
};

/* Make ep->fifo from the descriptor in the config. Returns 0 or a negated errno. The caller frees it. */
int adma_fifo_open(struct adma_endpoint *ep);

/* Unmap the completion page. Nothing is left but the memory of ep->fifo. */
void adma_fifo_close(struct adma_endpoint *ep);

/* Does the kernel measure this request? */
bool adma_fifo_is_timed(const struct adma_fifo *fifo, const struct adma_req *req);

/* The peer's descriptor of the pair is closed. (A peer that closes the channel says so in its segment first.) */
void adma_fifo_lose_peer(struct adma_endpoint *ep);

/* Is this request of ours an object with parts? */
bool adma_fifo_has_parts(const struct adma_req *req);

/* The object among the posted requests that this part belongs to, or NULL. */
struct adma_req *adma_fifo_object_of(const struct adma_fifo *fifo, const struct adma_req *part);

/* Fail the parts of an object that failed: nobody will read them. */
void adma_fifo_drop_parts(struct adma_endpoint *ep, const struct adma_req *object, int error);

/* Return the entry of a request that was not posted, or is complete. */
void adma_fifo_return_entry(struct adma_fifo *fifo, const struct adma_req *req);

/* Withdraw a posted request. True: it will not be carried out, and it is on no list. */
bool adma_fifo_cancel(struct adma_endpoint *ep, struct adma_req *req);

/* Complete the requests that the kernel has completed. True when there were any. */
bool adma_fifo_complete_ended(struct adma_endpoint *ep);

/*
 * Nothing will meet them any more: withdraw the unmatched reads or writes, and complete them with this
 * error. The latest goes first, so that what the peer still matches are the first ones.
 */
void adma_fifo_fail(struct adma_endpoint *ep, bool reads, int error);

/* Complete, with `held` set, requests for which the kernel still copies. Returns the bytes of their buffers. */
uint64_t adma_fifo_abandon(struct adma_endpoint *ep);

#endif
