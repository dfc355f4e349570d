/* SPDX-License-Identifier: GPL-2.0 */
/*
 * user.h - what one user has of the module's objects, and how many of them at most.
 *
 * A request is charged to the user who posts it, whoever made the pair or passed the file
 * descriptor on. A pair is charged to its maker until both endpoints are closed and
 * none of its requests is pending; so is an open file of the device. Users are kernel uids: each
 * user of each user namespace is a user of its own. What is charged to a user is charged to the
 * owner of its user namespace, too (owner.h), who may have a few times as much as one user. Root is
 * a user like the others.
 */
#ifndef ADMA_USER_H
#define ADMA_USER_H

#include <linux/atomic.h>
#include <linux/types.h>

struct adma_fair_queue;
struct adma_user;

/* Charge one request to current's user. ERR_PTR(-EDQUOT) or ERR_PTR(-ENOMEM) on failure. */
struct adma_user *adma_user_add_request(void);
/* The same for a connection: of a pair if @connected, else of an open file of the device. */
struct adma_user *adma_user_add_connection(bool connected);

/* Uncharge a request. The reference stays, for adma_user_put(): this may be called under a lock. */
void adma_user_sub_request(struct adma_user *user);
/* Uncharge a connection, and put the reference. */
void adma_user_put_connection(struct adma_user *user, bool connected);

struct adma_user *adma_user_get(struct adma_user *user);
void adma_user_put(struct adma_user *user);

/* Are both users' namespaces of one owner? */
bool adma_user_shares(const struct adma_user *user, const struct adma_user *other);
/* How many pages of its owner's users are pinned for long, and charged. */
atomic_long_t *adma_user_pages(struct adma_user *user);
/* The queue for fetches of this user's memory. */
struct adma_fair_queue *adma_user_fair_queue(struct adma_user *user);

u32 adma_user_requests_max(void);
u32 adma_user_connections_max(void);
/* How many users' limits the users of one owner have in all. */
u32 adma_user_sharers(void);

#endif
