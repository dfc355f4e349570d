// SPDX-License-Identifier: GPL-2.0
/* owner.c - for whom users share; see owner.h. */
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/user_namespace.h>

#include "owner.h"

static DEFINE_HASHTABLE(owners, 6);
static DEFINE_SPINLOCK(owners_lock); /* additions and removals; an innermost lock */
static struct adma_fair_queue everybody = {
	.level = ADMA_FAIR_QUEUE_ALL,
	.node = LIST_HEAD_INIT(everybody.node),
	.waiting = LIST_HEAD_INIT(everybody.waiting),
};

kuid_t adma_owner_uid(void)
{
	const struct user_namespace *space = current_user_ns();

	if (space == &init_user_ns)
		return current_uid();
	while (space->parent != &init_user_ns)
		space = space->parent;
	return space->owner;
}

/* Called under RCU or the lock. Returns the owner with a reference. */
static struct adma_owner *owner_find(kuid_t uid)
{
	struct adma_owner *owner;

	hash_for_each_possible_rcu(owners, owner, node, __kuid_val(uid),
				   lockdep_is_held(&owners_lock)) {
		if (uid_eq(owner->uid, uid) && refcount_inc_not_zero(&owner->refs))
			return owner;
	}
	return NULL;
}

static struct adma_owner *owner_add(kuid_t uid)
{
	struct adma_owner *owner, *made = kzalloc(sizeof(*made), GFP_KERNEL_ACCOUNT);

	if (!made)
		return NULL;
	refcount_set(&made->refs, 1);
	made->uid = uid;
	adma_fair_queue_init(&made->queue, &everybody);
	spin_lock(&owners_lock);
	owner = owner_find(uid);
	if (!owner)
		hash_add_rcu(owners, &made->node, __kuid_val(uid));
	spin_unlock(&owners_lock);
	if (!owner)
		return made;
	kfree(made);
	return owner;
}

struct adma_owner *adma_owner_get(kuid_t uid)
{
	struct adma_owner *owner;

	rcu_read_lock();
	owner = owner_find(uid);
	rcu_read_unlock();
	return owner ?: owner_add(uid);
}

void adma_owner_put(struct adma_owner *owner)
{
	bool last;

	spin_lock(&owners_lock);
	last = refcount_dec_and_test(&owner->refs);
	if (last)
		hash_del_rcu(&owner->node);
	spin_unlock(&owners_lock);
	if (last)
		kfree_rcu(owner, rcu);
}

struct adma_fair_queue *adma_owner_everybody(void)
{
	return &everybody;
}

bool adma_quota_charge(atomic_t *used, unsigned int most)
{
	int now = atomic_read(used);

	do {
		if ((unsigned int)now >= most)
			return false;
	} while (!atomic_try_cmpxchg(used, &now, now + 1));
	return true;
}
