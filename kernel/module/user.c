// SPDX-License-Identifier: GPL-2.0
/* user.c - limits per user; see user.h. */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/hashtable.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>

#include "compat.h"
#include "fair_queue.h"
#include "owner.h"
#include "user.h"

static unsigned int requests_max = 8192;
module_param(requests_max, uint, 0644);
MODULE_PARM_DESC(requests_max, "pending requests of one user");

static unsigned int connections_max = 256;
module_param(connections_max, uint, 0644);
MODULE_PARM_DESC(connections_max, "pairs of one user");

static unsigned int opens_max = 1024;
module_param(opens_max, uint, 0644);
MODULE_PARM_DESC(opens_max, "open file descriptors of the device itself of one user");

static unsigned int owner_users = 4;
module_param(owner_users, uint, 0644);
MODULE_PARM_DESC(owner_users, "users' limits that the users of one owner's user namespaces have in all");

struct adma_user {
	struct hlist_node node;
	struct rcu_head rcu;
	refcount_t refs; /* one for each request, each connection and each fetch */
	kuid_t uid;
	struct adma_owner *owner;
	atomic_t used[ADMA_QUOTAS];
	struct adma_fair_queue queue; /* of its fetches; fetch.c's lock */
};

static DEFINE_HASHTABLE(users, 6);
static DEFINE_SPINLOCK(users_lock); /* additions and removals; an innermost lock */

/*
 * Called under RCU or the lock. Returns the user with a reference. A user that is about to be freed
 * still has its owner until the end of a grace period.
 */
static struct adma_user *user_find(kuid_t uid, kuid_t owner)
{
	struct adma_user *user;

	hash_for_each_possible_rcu(users, user, node, __kuid_val(uid),
				   lockdep_is_held(&users_lock)) {
		if (uid_eq(user->uid, uid) && uid_eq(user->owner->uid, owner) &&
		    refcount_inc_not_zero(&user->refs))
			return user;
	}
	return NULL;
}

static void user_free(struct adma_user *user)
{
	adma_owner_put(user->owner);
	kfree_rcu(user, rcu);
}

static struct adma_user *user_make(kuid_t uid, kuid_t owner)
{
	struct adma_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);

	if (!user)
		return NULL;
	user->owner = adma_owner_get(owner);
	if (!user->owner) {
		kfree(user);
		return NULL;
	}
	refcount_set(&user->refs, 1);
	user->uid = uid;
	adma_fair_queue_init(&user->queue, &user->owner->queue);
	return user;
}

static struct adma_user *user_add(kuid_t uid, kuid_t owner)
{
	struct adma_user *user, *made = user_make(uid, owner);

	if (!made)
		return NULL;
	spin_lock(&users_lock);
	user = user_find(uid, owner);
	if (!user)
		hash_add_rcu(users, &made->node, __kuid_val(uid));
	spin_unlock(&users_lock);
	if (!user)
		return made;
	user_free(made);
	return user;
}

static struct adma_user *user_of_current(void)
{
	kuid_t uid = current_uid(), owner = adma_owner_uid();
	struct adma_user *user;

	rcu_read_lock();
	user = user_find(uid, owner);
	rcu_read_unlock();
	return user ?: user_add(uid, owner);
}

struct adma_user *adma_user_get(struct adma_user *user)
{
	refcount_inc(&user->refs);
	return user;
}

void adma_user_put(struct adma_user *user)
{
	if (!__cond_lock(&users_lock, refcount_dec_and_lock(&user->refs, &users_lock)))
		return;
	hash_del_rcu(&user->node);
	spin_unlock(&users_lock);
	user_free(user);
}

bool adma_user_shares(const struct adma_user *user, const struct adma_user *other)
{
	return user->owner == other->owner;
}

atomic_long_t *adma_user_pages(struct adma_user *user)
{
	return &user->owner->pages;
}

struct adma_fair_queue *adma_user_fair_queue(struct adma_user *user)
{
	return &user->queue;
}

/* ---- quotas ---- */

static void user_uncharge(struct adma_user *user, enum adma_quota quota)
{
	atomic_dec(&user->owner->used[quota]);
	atomic_dec(&user->used[quota]);
}

static bool user_charge(struct adma_user *user, enum adma_quota quota, unsigned int most)
{
	unsigned int owners = min_t(u64, (u64)most * adma_user_sharers(), UINT_MAX);

	if (!adma_quota_charge(&user->used[quota], most))
		return false;
	if (adma_quota_charge(&user->owner->used[quota], owners))
		return true;
	atomic_dec(&user->used[quota]);
	return false;
}

static struct adma_user *user_add_one(enum adma_quota quota, unsigned int most)
{
	struct adma_user *user = user_of_current();

	if (!user)
		return ERR_PTR(-ENOMEM);
	if (user_charge(user, quota, most))
		return user;
	adma_user_put(user);
	return ERR_PTR(-EDQUOT);
}

struct adma_user *adma_user_add_request(void)
{
	return user_add_one(ADMA_QUOTA_REQUESTS, READ_ONCE(requests_max));
}

struct adma_user *adma_user_add_connection(bool connected)
{
	if (connected)
		return user_add_one(ADMA_QUOTA_CONNECTIONS, READ_ONCE(connections_max));
	return user_add_one(ADMA_QUOTA_OPENS, READ_ONCE(opens_max));
}

void adma_user_sub_request(struct adma_user *user)
{
	user_uncharge(user, ADMA_QUOTA_REQUESTS);
}

void adma_user_put_connection(struct adma_user *user, bool connected)
{
	user_uncharge(user, connected ? ADMA_QUOTA_CONNECTIONS : ADMA_QUOTA_OPENS);
	adma_user_put(user);
}

/* ---- limits ---- */

u32 adma_user_requests_max(void)
{
	return READ_ONCE(requests_max);
}

u32 adma_user_connections_max(void)
{
	return READ_ONCE(connections_max);
}

u32 adma_user_sharers(void)
{
	return max(READ_ONCE(owner_users), 1U);
}
