/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * redo.h - a transfer whose copy the kernel refused is made once more, by another mechanism.
 *
 * The kernel does not let one process copy every kind of memory of another one, or at some time
 * forbids such copies. The bytes are there all the same. So a transfer that a mechanism of kind
 * ADMA_EITHER_ENDPOINT fails for such a reason becomes a second life of its slot (shm/slot.h), for
 * the same two requests, by a mechanism that guards (mech/mechanism.h). Both endpoints see the error
 * in the quiet slot, whichever of them met it. The reader decides, and the writer waits for that:
 *
 *   reader   AGAIN, and waits for the next life        or ABORTED
 *   writer   posts the next life, without a descriptor    the write fails
 *   reader   matches it with the same read
 *
 * A request is redone once. What fails then is an error of the memory, or of the other mechanism.
 */
#ifndef ADMA_WORKER_REDO_H
#define ADMA_WORKER_REDO_H

#include "worker/transfer.h"

/* Is this, of a transfer that is over, an error for which it may be made once more? Both endpoints come to one answer. */
bool adma_redo_is_due(const struct adma_transfer *t, int error);

/* Is there a mechanism that could make it? Of our write only the reader can tell for certain. */
bool adma_redo_is_possible(const struct adma_endpoint *ep, const struct adma_transfer *t);

/* Our write: the mechanisms that can serve it now. Memory that one needs is made, and passed to the peer. */
uint32_t adma_redo_offer(struct adma_endpoint *ep, const struct adma_transfer *t);

/* Our read: the mechanism to make it, from what the writer offers; ADMA_MECH_NONE: there is none. */
uint32_t adma_redo_select(const struct adma_endpoint *ep, const struct adma_req *req, uint64_t n, uint32_t offered);

#endif
