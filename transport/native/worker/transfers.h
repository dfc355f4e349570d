/* SPDX-License-Identifier: BSD-3-Clause */
/* transfers.h - beginning and completing transfers. All functions are called with the lock held. */
#ifndef ADMA_WORKER_TRANSFERS_H
#define ADMA_WORKER_TRANSFERS_H

#include "worker/transfer.h"

/* Our read met the message in `desc`. 0; -ECANCELED: its writer withdrew it, so pass over it; or a negated error. */
int adma_transfer_begin_read(struct adma_endpoint *ep, struct adma_req *req, const struct adma_desc *desc);

/* Refuse the next message, which nobody will read: its write fails with this error, or succeeds with ADMA_E_TOOLONG. 0, -ECANCELED or -EPROTO. */
int adma_transfer_refuse(struct adma_endpoint *ep, const struct adma_desc *desc, int error);

/* Our posted write was matched. 0; -ENOMEM: it stays posted, so try again later; -EPROTO. */
int adma_transfer_begin_write(struct adma_endpoint *ep, uint32_t slot_index);

/* The peer may have something to do for this transfer: let it know which one, and signal. */
void adma_transfer_tell(struct adma_endpoint *ep, const struct adma_transfer *t);

/* Fail the transfer with this errno: no more chunks are claimed, and the peer is told. */
void adma_transfer_fail(struct adma_endpoint *ep, struct adma_transfer *t, int error);

/* The peer tells of news about this slot: of ours (`outbound`), or of its own. It means nothing if there is no transfer. */
void adma_transfer_note_news(struct adma_endpoint *ep, bool outbound, uint32_t slot_index);

/* Bring `done_bytes` of its request up to date. */
void adma_transfer_refresh(struct adma_endpoint *ep, struct adma_transfer *t);

/* Complete the transfers that are over. True when there was one. */
bool adma_transfers_complete(struct adma_endpoint *ep);

/* Stop the claiming of chunks, because the channel closes. */
void adma_transfers_close(struct adma_endpoint *ep);

/* Give up on the transfers in which the peer still copies. Returns the bytes of their buffers. */
uint64_t adma_transfers_abandon(struct adma_endpoint *ep);

/* Bytes that these requests of one direction, and the transfers before theirs in it, have still to move. */
uint64_t adma_transfers_remainder(struct adma_endpoint *ep, struct adma_req **reqs, int n);

#endif
