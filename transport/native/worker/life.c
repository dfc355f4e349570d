/* SPDX-License-Identifier: BSD-3-Clause */
/* life.c - the memory of an endpoint; see life.h. */
#include "worker/life.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "worker/transfer_lists.h"

/* Does one read of the socket take one packet? An endpoint to ourselves has no socket. */
static bool life_reads_packets(int sock)
{
	int type = SOCK_STREAM;
	socklen_t length = sizeof(type);

	return !getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &length) && type != SOCK_STREAM;
}

int adma_endpoint_init(struct adma_endpoint *ep, const struct adma_config *config, const struct adma_endpoint_ops *ops)
{
	ep->connection.config = *config;
	ep->ops = ops;
	ep->send.ring.segment = config->local;
	ep->receive.ring.segment = config->remote;
	ep->send.segment_fd = -1;
	ep->pending_max = ADMA_PENDING_MAX;
	adma_req_queue_init(&ep->send.backlog);
	adma_posted_init(&ep->receive.reads, 0); /* with two keys there is nothing to keep secret */
	adma_peer_slots_init(&ep->receive.slots, config->remote);
	adma_transfer_lists_init(&ep->transfers);
	adma_list_init(&ep->member);
	adma_list_init(&ep->direct);
	adma_list_init(&ep->rearm);
	adma_list_init(&ep->receive.taken);
	ep->bit = ADMA_NO_BIT;
	adma_list_init(&ep->active);
	adma_list_init(&ep->untold);
	ep->descriptors.sock = adma_own_note(config->sock);
	ep->descriptors.pidfd = adma_own_note(config->pidfd);
	ep->descriptors.packets = life_reads_packets(config->sock);
	atomic_init(&ep->descriptors.sock_used_at, adma_now());
	return adma_slots_init(&ep->send.slots, config->local);
}

void adma_endpoint_free(struct adma_endpoint *ep)
{
	adma_posted_free(&ep->receive.reads);
	adma_slots_free(&ep->send.slots);
	adma_peer_slots_free(&ep->receive.slots);
	free(ep->fifo);
}
