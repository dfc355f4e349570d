/* SPDX-License-Identifier: GPL-2.0 */
/*
 * connection.h - a connection: two ends, what is pending between them, and the lock of all that.
 *
 * An end that is alone (an open /dev/adma) has a connection too, for the lock
 * and the entries of its copies; it matches nothing.
 *
 * References: each end holds its connection. The pointers to the ends hold nothing:
 * adma_request_withdraw_all() takes one away, under the lock, when its file is closed.
 */
#ifndef ADMA_CONNECTION_H
#define ADMA_CONNECTION_H

#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "match.h"

struct adma_end;
struct adma_user;
struct file;

struct adma_connection {
	refcount_t refs;
	u32 policy;              /* ADMA_BY_* */
	bool connected;          /* false: of an end that is alone */
	struct adma_user *user;  /* charged for it */
	spinlock_t lock;         /* all below, the ends' entries, the stages of their requests */
	struct adma_end *end[2]; /* NULL: closed, or never there */
	struct adma_match way[2]; /* by the side that writes */
};

/* An ERR_PTR on failure. Connected: current's user is charged. */
struct adma_connection *adma_connection_make(bool connected, u32 policy);
void adma_connection_put(struct adma_connection *connection);

/* Two connected files that nobody holds a descriptor of yet. 0 or a negated errno. */
int adma_connection_files(u32 policy, struct file *files[2]);

#endif
