// SPDX-License-Identifier: GPL-2.0
/* user.c - limits per user; see user.h. */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>

#include "fetch_queue.h"
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

struct adma_user {
	struct hlist_node node;
	struct rcu_head rcu;
	refcount_t refs; /* one for each request, each connection and each fetch */
	kuid_t uid;
	atomic_t requests;
	atomic_t connections;
	atomic_t opens;
	struct adma_fetch_queue fetches;
};

static DEFINE_HASHTABLE(users, 6);
static DEFINE_SPINLOCK(users_lock); /* additions and removals; an innermost lock */

/* Called under RCU or the lock. Returns the user with a reference. */
static struct adma_user *user_find(kuid_t uid)
{
	struct adma_user *user;

	hash_for_each_possible_rcu(users, user, node, __kuid_val(uid),
				   lockdep_is_held(&users_lock)) {
		if (uid_eq(user->uid, uid) && refcount_inc_not_zero(&user->refs))
			return user;
	}
	return NULL;
}

static struct adma_user *user_add(kuid_t uid)
{
	struct adma_user *user, *made = kzalloc(sizeof(*made), GFP_KERNEL_ACCOUNT);

	if (!made)
		return NULL;
	refcount_set(&made->refs, 1);
	made->uid = uid;
	adma_fetch_queue_init(&made->fetches);
	spin_lock(&users_lock);
	user = user_find(uid);
	if (!user)
		hash_add_rcu(users, &made->node, __kuid_val(uid));
	spin_unlock(&users_lock);
	if (!user)
		return made;
	kfree(made);
	return user;
}

static struct adma_user *user_of_current(void)
{
	kuid_t uid = current_uid();
	struct adma_user *user;

	rcu_read_lock();
	user = user_find(uid);
	rcu_read_unlock();
	return user ?: user_add(uid);
}

struct adma_user *adma_user_get(struct adma_user *user)
{
	refcount_inc(&user->refs);
	return user;
}

struct adma_fetch_queue *adma_user_fetch_queue(struct adma_user *user)
{
	return &user->fetches;
}

void adma_user_put(struct adma_user *user)
{
	/* sparse cannot see that a true result means a held lock. */
	if (!__cond_lock(&users_lock, refcount_dec_and_lock(&user->refs, &users_lock)))
		return;
	hash_del_rcu(&user->node);
	spin_unlock(&users_lock);
	kfree_rcu(user, rcu);
}

static bool user_charge(atomic_t *count, unsigned int most)
{
	int now = atomic_read(count);

	do {
		if ((unsigned int)now >= most)
			return false;
	} while (!atomic_try_cmpxchg(count, &now, now + 1));
	return true;
}

struct adma_user *adma_user_add_request(void)
{
	struct adma_user *user = user_of_current();

	if (!user)
		return ERR_PTR(-ENOMEM);
	if (user_charge(&user->requests, READ_ONCE(requests_max)))
		return user;
	adma_user_put(user);
	return ERR_PTR(-EDQUOT);
}

struct adma_user *adma_user_add_connection(bool connected)
{
	struct adma_user *user = user_of_current();
	bool charged;

	if (!user)
		return ERR_PTR(-ENOMEM);
	charged = connected ? user_charge(&user->connections, READ_ONCE(connections_max))
			    : user_charge(&user->opens, READ_ONCE(opens_max));
	if (charged)
		return user;
	adma_user_put(user);
	return ERR_PTR(-EDQUOT);
}

void adma_user_sub_request(struct adma_user *user)
{
	atomic_dec(&user->requests);
}

void adma_user_put_connection(struct adma_user *user, bool connected)
{
	atomic_dec(connected ? &user->connections : &user->opens);
	adma_user_put(user);
}

u32 adma_user_requests_max(void)
{
	return READ_ONCE(requests_max);
}

u32 adma_user_connections_max(void)
{
	return READ_ONCE(connections_max);
}
