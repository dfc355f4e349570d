/* SPDX-License-Identifier: GPL-2.0 */
/*
 * owner.h - for whom users share: the owner of their user namespace.
 *
 * A user can have many uids: those of a user namespace that he made, such as a container
 * without privileges, are his. If each of them had a user's limits, he would have them some ten
 * thousand times. So all users below one of the outermost user namespaces share what its owner
 * may have. A user of the initial user namespace is his own owner, and shares with the namespaces
 * that he made.
 */
#ifndef ADMA_OWNER_H
#define ADMA_OWNER_H

#include <linux/atomic.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#include "fair_queue.h"

/* What is counted of a user and of his owner. */
enum adma_quota {
	ADMA_QUOTA_REQUESTS,    /* pending */
	ADMA_QUOTA_CONNECTIONS, /* pairs */
	ADMA_QUOTA_OPENS,       /* open files of the device itself */
	ADMA_QUOTAS,
};

struct adma_owner {
	struct hlist_node node;
	struct rcu_head rcu;
	refcount_t refs; /* one for each of its users */
	kuid_t uid;
	atomic_t used[ADMA_QUOTAS];
	atomic_long_t pages;   /* pinned for long, and charged */
	struct adma_fair_queue queue; /* of its users' fetches; fetch.c's lock */
};

/* Who owns current's user namespace. */
kuid_t adma_owner_uid(void);

/* NULL: no memory. */
struct adma_owner *adma_owner_get(kuid_t uid);
void adma_owner_put(struct adma_owner *owner);

/* The queue of all owners' fetches. */
struct adma_fair_queue *adma_owner_everybody(void);

/* Count one more of @used, if there are less than @most. */
bool adma_quota_charge(atomic_t *used, unsigned int most);

#endif
