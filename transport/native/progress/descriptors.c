/* SPDX-License-Identifier: BSD-3-Clause */
/* descriptors.c - looking at the descriptors of a worker; see descriptors.h. */
#include "progress/descriptors.h"

#include "worker/peer.h"

static bool waiters_are_lost(const struct adma_waiters *waiters)
{
	return waiters->lost || !adma_own_is(&waiters->own_eventfd, waiters->eventfd) ||
	       (waiters->epoll >= 0 && !adma_own_is(&waiters->own_epoll, waiters->epoll));
}

void adma_descriptors_check(struct adma_progress *progress, int64_t now)
{
	struct adma_waiters *waiters = &progress->waiters;

	if (progress->worker.torn_down || (!waiters->lost && now - waiters->owned_at < ADMA_REST_NS))
		return;
	waiters->owned_at = now;
	waiters->lost = waiters_are_lost(waiters);
	adma_worker_for_each(ep, &progress->worker) {
		if (ep->control.torn_down)
			continue;
		(void)adma_peer_check_own(ep);
		if (waiters->lost)
			adma_terminate(ep, ADMA_E_DESCRIPTOR);
	}
}

bool adma_descriptors_are_lost(const struct adma_progress *progress)
{
	const struct adma_endpoint *ep;

	if (adma_is_shared(progress))
		return !adma_own_is(&progress->waiters.own_epoll, progress->waiters.epoll);
	ep = adma_only_endpoint(progress);
	return !adma_own_is(&ep->descriptors.sock, ep->connection.config.sock);
}
