// SPDX-License-Identifier: GPL-2.0
/* withdraw.c - withdraws requests that have not matched; see withdraw.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/poll.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "connection.h"
#include "endpoint.h"
#include "entries.h"
#include "match.h"
#include "request.h"
#include "transfer.h"
#include "withdraw.h"

int adma_withdraw_cancel(struct adma_endpoint *endpoint, u64 cookie)
{
	struct adma_connection *connection = endpoint->connection;
	struct adma_request *request;
	int error = 0;

	spin_lock(&connection->lock);
	request = adma_entries_find(endpoint->entries, cookie);
	if (IS_ERR(request)) {
		error = PTR_ERR(request);
	} else if (!request || request->stage == ADMA_WITHDRAWN) {
		error = -EALREADY;
	} else if (request->stage == ADMA_MATCHED) {
		error = -EBUSY;
	} else {
		list_del_init(&request->envelope.node);
		request->envelope.error = -ECANCELED;
		request->stage = ADMA_WITHDRAWN;
	}
	spin_unlock(&connection->lock);
	if (!error)
		adma_request_complete_withdrawn(request);
	return error;
}

/* Called with the connection's lock, without which the request cannot be completed. */
static void withdraw_close_transfer(struct adma_request *request)
{
	if (request->stage == ADMA_MATCHED)
		adma_transfer_close(request->on);
}

void adma_withdraw_all(struct adma_endpoint *endpoint)
{
	struct adma_connection *connection = endpoint->connection;
	struct adma_envelope *envelope;
	struct adma_endpoint *peer;
	LIST_HEAD(withdrawn);
	bool own;

	spin_lock(&connection->lock);
	connection->endpoint[endpoint->side] = NULL;
	adma_entries_each(endpoint->entries, withdraw_close_transfer);
	adma_match_drain(&connection->direction[0], &withdrawn);
	adma_match_drain(&connection->direction[1], &withdrawn);
	adma_request_claim_all(&withdrawn);
	list_for_each_entry(envelope, &withdrawn, node) {
		own = adma_request_of(envelope)->endpoint == endpoint;
		envelope->error = own ? -ECANCELED : -EPIPE;
	}
	peer = adma_endpoint_peer(endpoint);
	if (peer)
		wake_up_poll(&peer->waiters, EPOLLHUP);
	spin_unlock(&connection->lock);
	adma_request_complete_all_withdrawn(&withdrawn);
}
