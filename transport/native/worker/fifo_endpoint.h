/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fifo_endpoint.h - the endpoint whose messages wait in the FIFO of the kernel helper.
 *
 * With `dma` or `mapped:helper` forced, a request is posted to the kernel as soon as it is at the
 * head of its queue. The kernel alone matches, copies, and decides whether a cancel is in time.
 * Rings and slots stay empty. Segments, socket and pidfd still tell of close and death.
 *
 * Messages and objects go through the FIFO of their direction (key 0). Each part of an object has
 * a key, by which it matches the read that recv() posts for it. The object's note tells the first
 * of these keys:
 *
 *   note[0]  bytes of the object with its parts
 *   note[1]  {number of its first part:32, parts:32}
 *
 * A post needs a completion entry. One half of the entries is for reads and one for writes, so that
 * neither can keep the other from going out; a request that finds none stays queued.
 */
#ifndef ADMA_WORKER_FIFO_ENDPOINT_H
#define ADMA_WORKER_FIFO_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_fifo_endpoint_ops;

#endif
