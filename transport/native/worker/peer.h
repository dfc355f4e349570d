/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.h - the peer beside the rings: wake-ups, passed segments, its death. Called with the lock held. */
#ifndef ADMA_WORKER_PEER_H
#define ADMA_WORKER_PEER_H

#include "worker/endpoint.h"

/* Tell the peer that something happened. This function, and no other one here, may be called without the lock. */
void adma_signal_peer(struct adma_endpoint *ep);

/*
 * A read of ours was matched with a message in a slot. The peer is signalled at once, unless this thread is about to copy
 * (`copies_next`). Then it is signalled before the copy, if there is anything left that the peer could do, and otherwise
 * once the transfer is over: so a message of one chunk costs one signal.
 */
void adma_signal_match(struct adma_endpoint *ep);

/* Signal the peers of all endpoints that are untold, but for this one (or NULL). What follows is signalled at once. */
void adma_signal_untold(struct adma_worker *worker, const struct adma_endpoint *but);

/* A ring that the peer has not drained is half full: if the peer wants to know that, wake its progress thread. */
void adma_ask_for_drain(struct adma_endpoint *ep);

/* Read wake-ups, segments and end of file from the socket; look for the peer's death. True when something changed. */
bool adma_peer_check(struct adma_endpoint *ep);

/* The same for a caller that has polled the socket and the pidfd, and was told these events of them. */
bool adma_peer_look(struct adma_endpoint *ep, short sock, short pidfd);

/*
 * Look whether the descriptors of the endpoint are still ours, by a system call for each. If not, the endpoint is
 * terminated, or does without. True when that changed anything.
 */
bool adma_peer_check_own(struct adma_endpoint *ep);

/*
 * Give a mechanism the memory that it lacks, and pass that to the peer. 0: *fd is -1 afterwards. A negated errno: the
 * descriptor is still the caller's.
 */
int adma_give_segment(struct adma_endpoint *ep, const struct adma_mechanism *mechanism, int *fd);

/* Pass our segment to the peer, if one is still to be passed. */
void adma_send_segment(struct adma_endpoint *ep);

/* Offer the summary of the worker to the peer, which may be of the same user only. */
void adma_offer_summary(struct adma_endpoint *ep);

#endif
