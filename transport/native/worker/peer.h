/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.h - the other endpoint, seen from outside the rings: wake-ups, segments, its death. With the lock. */
#ifndef ADMA_WORKER_PEER_H
#define ADMA_WORKER_PEER_H

#include "worker/endpoint.h"

/* Tell the peer that something happened. The one function here that may be called without the lock. */
void adma_signal_peer(struct adma_endpoint *ep);

/* Read wake-ups, segments and the end of file from the socket; look for the peer's death. True when something changed. */
bool adma_peer_check(struct adma_endpoint *ep);

/* Pass memory of ours to the peer, if some is still to be passed. */
void adma_send_segment(struct adma_endpoint *ep);

#endif
