/* SPDX-License-Identifier: BSD-3-Clause */
/* holds.c - the list of what is complete and was not seen; see holds.h. */
#include "base/holds.h"

#include <pthread.h>

#include "base/list.h"

_Atomic bool adma_holds_untold;
_Atomic uint64_t adma_holds_listed;

static struct {
	pthread_mutex_t telling; /* held during tell(); taken before `lock` */
	pthread_mutex_t lock;
	struct adma_list listed;
	int (*tell)(void);       /* written with both locks held */
} holds = {
	.telling = PTHREAD_MUTEX_INITIALIZER,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.listed = ADMA_LIST_INIT(holds.listed),
};

/* ---- called with the lock held ---- */

static void set_untold(bool untold)
{
	atomic_store_explicit(&adma_holds_untold, untold, memory_order_relaxed);
}

static void set_count(uint64_t count)
{
	atomic_store_explicit(&adma_holds_listed, count, memory_order_relaxed);
	if (!count)
		set_untold(false);
}

static uint64_t count_now(void)
{
	return atomic_load_explicit(&adma_holds_listed, memory_order_relaxed);
}

/* Whose owners see this may free them. */
static void unlist(struct adma_hold *hold)
{
	adma_list_remove(&hold->link);
	__atomic_store_n(&hold->listed, 0, __ATOMIC_RELAXED);
	set_count(count_now() - 1);
}

static void unlist_all(void)
{
	adma_list_for_each_safe(at, after, &holds.listed)
		unlist(adma_container_of(at, struct adma_hold, link));
}

/* ---- the list ---- */

void adma_holds_list(struct adma_hold *hold)
{
	pthread_mutex_lock(&holds.lock);
	if (holds.tell && !hold->listed) {
		adma_list_push_back(&holds.listed, &hold->link);
		__atomic_store_n(&hold->listed, 1, __ATOMIC_RELAXED);
		set_count(count_now() + 1);
		set_untold(true);
	}
	pthread_mutex_unlock(&holds.lock);
}

void adma_holds_remove(void *member)
{
	struct adma_hold *hold = member;

	if (!__atomic_load_n(&hold->listed, __ATOMIC_RELAXED))
		return; /* nobody lists it any more */
	pthread_mutex_lock(&holds.lock);
	if (hold->listed)
		unlist(hold);
	pthread_mutex_unlock(&holds.lock);
}

void *adma_holds_first(void)
{
	struct adma_list *first;

	pthread_mutex_lock(&holds.lock);
	first = adma_list_first(&holds.listed);
	pthread_mutex_unlock(&holds.lock);
	return first ? adma_container_of(first, struct adma_hold, link) : NULL;
}

bool adma_holds_any(void)
{
	return count_now() > 0;
}

/* ---- telling ---- */

void adma_holds_tell_by(int (*tell)(void))
{
	pthread_mutex_lock(&holds.telling);
	pthread_mutex_lock(&holds.lock);
	holds.tell = tell;
	if (!tell)
		unlist_all();
	pthread_mutex_unlock(&holds.lock);
	pthread_mutex_unlock(&holds.telling);
}

void adma_holds_tell_now(void)
{
	bool due;

	pthread_mutex_lock(&holds.telling);
	pthread_mutex_lock(&holds.lock);
	due = atomic_load_explicit(&adma_holds_untold, memory_order_relaxed) && holds.tell;
	set_untold(false); /* before the call: what is listed from now on is told again */
	pthread_mutex_unlock(&holds.lock);
	if (due && holds.tell()) {
		pthread_mutex_lock(&holds.lock);
		set_untold(count_now() > 0);
		pthread_mutex_unlock(&holds.lock);
	}
	pthread_mutex_unlock(&holds.telling);
}

/* ---- fork ---- */

void adma_holds_before_fork(void)
{
	pthread_mutex_lock(&holds.telling);
	pthread_mutex_lock(&holds.lock);
}

void adma_holds_after_fork_parent(void)
{
	pthread_mutex_unlock(&holds.lock);
	pthread_mutex_unlock(&holds.telling);
}

void adma_holds_after_fork_child(void)
{
	unlist_all();
	pthread_mutex_init(&holds.lock, NULL);
	pthread_mutex_init(&holds.telling, NULL);
}
