/* SPDX-License-Identifier: GPL-2.0 */
/*
 * connection.h - two connected endpoints, what is pending between them, and the lock of that.
 *
 * An endpoint that is alone (an open /dev/adma) has a connection, too, for the lock
 * and for the entries of its copies; nothing is matched there.
 *
 * References: each endpoint holds its connection. The pointers to the endpoints hold nothing:
 * adma_withdraw_all() clears one, under the lock, when the endpoint's file is closed.
 */
#ifndef ADMA_CONNECTION_H
#define ADMA_CONNECTION_H

#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "match.h"

struct adma_endpoint;
struct adma_user;

struct adma_connection {
	refcount_t refs;
	u32 policy;              /* ADMA_BY_* */
	bool connected;          /* false: of an endpoint that is alone */
	struct adma_user *user;  /* charged for it */
	spinlock_t lock;         /* all below, the endpoints' entries, their requests' stages */
	struct adma_endpoint *endpoint[2]; /* NULL: closed, or never there */
	struct adma_match direction[2]; /* by the side that writes */
};

/* An ERR_PTR on failure. Charged to current's user. */
struct adma_connection *adma_connection_make(bool connected, u32 policy);
void adma_connection_put(struct adma_connection *connection);

#endif
