/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fifo.h - what the kernel helper has of an endpoint: posted requests, and how they end.
 *
 * fifo_endpoint.h tells how messages and the parts of objects travel. All functions are called
 * with the lock.
 */
#ifndef ADMA_WORKER_FIFO_H
#define ADMA_WORKER_FIFO_H

#include "kdev/entries.h"
#include "worker/endpoint.h"

#define ADMA_FIFO_POSTS (ADMA_DEVICE_ENTRIES / 2) /* of one direction */

struct adma_fifo {
	int fd;                                    /* our end of the pair, the configuration's */
	const struct adma_device_entry *page;      /* the mapped completion page */
	struct adma_entries unused[2];             /* completion entries of writes, and of reads */
	bool timed;                                /* the module keeps times, of those who ask for them */
	struct adma_req_queue posted;              /* requests that the kernel has */
	uint32_t next_part;                        /* the number of our next object's first part */
	uint32_t part_out;                         /* that of the next part to be queued for writing */
	uint32_t part_in;                          /* that of the next part to be read */
	bool swept;                                /* the endpoint is over, and what was unmatched is withdrawn */
};

/* ep->fifo for the descriptor in the configuration: 0 or a negated errno. The caller frees it. */
int adma_fifo_open(struct adma_endpoint *ep);

/* Unmap the completion page; what is left is memory. */
void adma_fifo_close(struct adma_endpoint *ep);

/* Does the kernel keep the times of this request? */
bool adma_fifo_is_timed(const struct adma_fifo *fifo, const struct adma_req *req);

/* The peer's descriptor is closed. (It says that it closes before it does so.) */
void adma_fifo_lose_peer(struct adma_endpoint *ep);

/* Is this request of ours an object with parts? */
bool adma_fifo_has_parts(const struct adma_req *req);

/* The object among the posted requests that this part belongs to, or NULL. */
struct adma_req *adma_fifo_object_of(const struct adma_fifo *fifo, const struct adma_req *part);

/* An object that failed takes its parts along: nobody will read them. */
void adma_fifo_drop_parts(struct adma_endpoint *ep, const struct adma_req *object, int error);

/* The entry of a request that was not posted, or has ended, is unused again. */
void adma_fifo_return_entry(struct adma_fifo *fifo, const struct adma_req *req);

/* True: nothing of the posted request will happen, and it is on no list. */
bool adma_fifo_cancel(struct adma_endpoint *ep, struct adma_req *req);

/* Complete what the kernel says has ended. True when something did. */
bool adma_fifo_complete_ended(struct adma_endpoint *ep);

/* The endpoint is over: withdraw what is unmatched. */
void adma_fifo_sweep(struct adma_endpoint *ep);

/* Nothing more is waited for: requests that the kernel still copies for complete, `held`. Their bytes. */
uint64_t adma_fifo_abandon(struct adma_endpoint *ep);

#endif
