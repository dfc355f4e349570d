// SPDX-License-Identifier: GPL-2.0
/* endpoint.c - makes endpoints, puts them, and tells about them; see endpoint.h. */
#include <linux/err.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "connection.h"
#include "dma.h"
#include "endpoint.h"
#include "entries.h"
#include "match.h"

static LIST_HEAD(endpoints);
static DEFINE_MUTEX(endpoints_mutex); /* no sleeping lock of ours is taken under it */

/* ---- life ---- */

struct adma_endpoint *adma_endpoint_make(struct adma_connection *connection, u32 side)
{
	struct adma_endpoint *endpoint = kzalloc(sizeof(*endpoint), GFP_KERNEL_ACCOUNT);

	if (!endpoint)
		return ERR_PTR(-ENOMEM);
	endpoint->entries = adma_entries_make();
	if (!endpoint->entries) {
		kfree(endpoint);
		return ERR_PTR(-ENOMEM);
	}
	adma_dma_get();
	kref_init(&endpoint->refs);
	init_waitqueue_head(&endpoint->waiters);
	endpoint->side = side;
	endpoint->maker = task_tgid_nr(current);
	refcount_inc(&connection->refs);
	endpoint->connection = connection;
	connection->endpoint[side] = endpoint;
	mutex_lock(&endpoints_mutex);
	list_add_tail(&endpoint->node, &endpoints);
	mutex_unlock(&endpoints_mutex);
	return endpoint;
}

static void endpoint_destroy(struct kref *refs)
{
	struct adma_endpoint *endpoint = container_of(refs, struct adma_endpoint, refs);

	mutex_lock(&endpoints_mutex);
	list_del(&endpoint->node);
	mutex_unlock(&endpoints_mutex);
	adma_entries_put(endpoint->entries);
	adma_connection_put(endpoint->connection);
	kfree(endpoint);
	adma_dma_put();
}

void adma_endpoint_put(struct adma_endpoint *endpoint)
{
	kref_put(&endpoint->refs, endpoint_destroy);
}

/* ---- the peer ---- */

struct adma_endpoint *adma_endpoint_peer(const struct adma_endpoint *endpoint)
{
	return endpoint->connection->endpoint[1 - endpoint->side];
}

bool adma_endpoint_is_orphaned(const struct adma_endpoint *endpoint)
{
	return endpoint->connection->connected && !adma_endpoint_peer(endpoint);
}

int adma_endpoint_peek(struct adma_endpoint *endpoint, struct adma_peek *peek)
{
	struct adma_connection *connection = endpoint->connection;
	const struct adma_envelope *write;
	int error = 0;

	if (!connection->connected)
		return -ENOTCONN;
	spin_lock(&connection->lock);
	write = adma_match_peek(&connection->direction[1 - endpoint->side]);
	if (write) {
		peek->kind = write->kind;
		peek->length = write->length;
		peek->note[0] = write->note[0];
		peek->note[1] = write->note[1];
	} else {
		error = adma_endpoint_is_orphaned(endpoint) ? -EPIPE : -EAGAIN;
	}
	spin_unlock(&connection->lock);
	return error;
}

/* ---- for people ---- */

static void endpoint_show(struct seq_file *out, struct adma_endpoint *endpoint)
{
	const struct adma_connection *connection = endpoint->connection;
	static const char *const policies[] = { "any", "cpu", "dma" };
	const char *state = "alone";
	u32 pending;

	spin_lock(&endpoint->connection->lock);
	if (connection->connected)
		state = adma_endpoint_is_orphaned(endpoint) ? "orphaned" : "connected";
	if (connection->endpoint[endpoint->side] != endpoint)
		state = "closed";
	pending = endpoint->pending;
	spin_unlock(&endpoint->connection->lock);
	seq_printf(out, "%d %s %s side %u pending %u posts %lld done %lld failed %lld\n",
		   endpoint->maker, state, policies[connection->policy], endpoint->side, pending,
		   atomic64_read(&endpoint->tally.count[ADMA_COUNT_POSTS]),
		   atomic64_read(&endpoint->tally.count[ADMA_COUNT_DONE]),
		   atomic64_read(&endpoint->tally.count[ADMA_COUNT_FAILED]));
}

void adma_endpoints_show(struct seq_file *out)
{
	struct adma_endpoint *endpoint;

	mutex_lock(&endpoints_mutex);
	list_for_each_entry(endpoint, &endpoints, node)
		endpoint_show(out, endpoint);
	mutex_unlock(&endpoints_mutex);
}
