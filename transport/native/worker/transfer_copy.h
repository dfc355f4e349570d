/* SPDX-License-Identifier: BSD-3-Clause */
/* transfer_copy.h - copying the chunks of transfers. All functions are called with the lock held. */
#ifndef ADMA_WORKER_TRANSFER_COPY_H
#define ADMA_WORKER_TRANSFER_COPY_H

#include "worker/transfer.h"

/* Copy one chunk of this transfer. Drops the lock meanwhile. True when bytes moved, or the transfer failed. */
bool adma_transfer_step(struct adma_endpoint *ep, struct adma_transfer *t, enum adma_copied_by by);

/* Copy one chunk of some transfer, on behalf of a caller that waits. */
bool adma_transfers_copy(struct adma_endpoint *ep, enum adma_copied_by by);

#endif
