// SPDX-License-Identifier: GPL-2.0
/* connection.c - makes connections, and puts them; see connection.h. */
#include <linux/err.h>
#include <linux/slab.h>

#include "connection.h"
#include "match.h"
#include "user.h"

struct adma_connection *adma_connection_make(bool connected, u32 policy)
{
	struct adma_connection *connection = kzalloc(sizeof(*connection), GFP_KERNEL_ACCOUNT);

	if (!connection)
		return ERR_PTR(-ENOMEM);
	refcount_set(&connection->refs, 1);
	connection->policy = policy;
	connection->connected = connected;
	spin_lock_init(&connection->lock);
	adma_match_init(&connection->direction[0]);
	adma_match_init(&connection->direction[1]);
	connection->user = adma_user_add_connection(connected);
	if (IS_ERR(connection->user)) {
		int error = PTR_ERR(connection->user);

		kfree(connection);
		return ERR_PTR(error);
	}
	return connection;
}

void adma_connection_put(struct adma_connection *connection)
{
	if (!refcount_dec_and_test(&connection->refs))
		return;
	adma_user_put_connection(connection->user, connection->connected);
	kfree(connection);
}
