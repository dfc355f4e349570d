/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fifo_endpoint.h - the endpoint whose messages wait in the FIFO of the kernel helper.
 *
 * With `dma` or `mapped:helper` forced, a request is posted to the kernel as soon as it is the
 * first of its queue, and the kernel alone matches, copies and judges a cancel. Rings and slots
 * stay empty; segments, socket and pidfd still tell of close and death.
 *
 * Messages and objects go through the FIFO of their direction (key 0). The parts of an object
 * meet the reads that recv() posts for them by keys of their own, the first of which comes with
 * the object:
 *
 *   note[0]  bytes of the object with its parts
 *   note[1]  {number of its first part:32, parts:32}
 *
 * A post needs a completion entry. Reads and writes have half of the entries each, so that
 * neither can keep the other from going out; a request that finds none stays queued.
 */
#ifndef ADMA_WORKER_FIFO_ENDPOINT_H
#define ADMA_WORKER_FIFO_ENDPOINT_H

#include "worker/endpoint.h"

extern const struct adma_endpoint_ops adma_fifo_endpoint_ops;

#endif
