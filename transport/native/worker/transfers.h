/* SPDX-License-Identifier: BSD-3-Clause */
/* transfers.h - transfers begin and complete. All functions are called with the lock. */
#ifndef ADMA_WORKER_TRANSFERS_H
#define ADMA_WORKER_TRANSFERS_H

#include "worker/transfer.h"

/* Our read met the message in `desc`. 0, -ECANCELED (pass it over), or a negated reason. */
int adma_transfer_begin_read(struct adma_endpoint *ep, struct adma_req *req, const struct adma_desc *desc);

/* The next message is of no use to anybody: tell its writer. 0, -ECANCELED or -EPROTO. */
int adma_transfer_refuse(struct adma_endpoint *ep, const struct adma_desc *desc, int error);

/* Our posted write was matched. 0; -ENOMEM: it stays posted; -EPROTO. */
int adma_transfer_begin_write(struct adma_endpoint *ep, uint32_t slot_index);

/* The transfer fails for this errno: no more chunks are claimed, and the peer is told. */
void adma_transfer_fail(struct adma_endpoint *ep, struct adma_transfer *t, int error);

/* Complete what has come to its end. True when a transfer did. */
bool adma_transfers_complete(struct adma_endpoint *ep);

/* No more chunks are claimed, since the channel closes. */
void adma_transfers_close(struct adma_endpoint *ep);

/* Give up on transfers that a peer holds. The bytes of their buffers. */
uint64_t adma_transfers_abandon(struct adma_endpoint *ep);

#endif
