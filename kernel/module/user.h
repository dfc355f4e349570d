/* SPDX-License-Identifier: GPL-2.0 */
/*
 * user.h - what a user has of the module's, and how much of it at most.
 *
 * A request is charged to its poster, whoever made the pair or passed the
 * descriptor on; a pair is charged to its maker until both ends are closed and
 * nothing of it is on its way, an open device likewise. Users are kernel uids:
 * each user of each user namespace is one of its own. Root is one like the others.
 */
#ifndef ADMA_USER_H
#define ADMA_USER_H

#include <linux/types.h>

struct adma_lane;
struct adma_user;

/* Charge current's user with one. ERR_PTR(-EDQUOT) or ERR_PTR(-ENOMEM). */
struct adma_user *adma_user_add_request(void);
/* Not connected: of an open device. */
struct adma_user *adma_user_add_connection(bool connected);

/* No longer charged. The reference stays, for adma_user_put(): this is fit for a spinlock. */
void adma_user_sub_request(struct adma_user *user);

struct adma_user *adma_user_get(struct adma_user *user);
void adma_user_put(struct adma_user *user);
/* Where its memory's fetches stand. */
struct adma_lane *adma_user_lane(struct adma_user *user);
/* No longer charged, and put. */
void adma_user_put_connection(struct adma_user *user, bool connected);

u32 adma_user_requests_max(void);
u32 adma_user_connections_max(void);

#endif
