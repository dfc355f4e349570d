// SPDX-License-Identifier: GPL-2.0
/* fetch.c - what a transfer would have to wait for, waited for elsewhere; see fetch.h. */
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "counters.h"
#include "fetch.h"
#include "pin.h"
#include "user.h"

static unsigned int faults_max = 16;
module_param(faults_max, uint, 0644);
MODULE_PARM_DESC(faults_max, "waits for page faults of one user's memory at a time, a quarter of them of one process's");

struct adma_fetch {
	struct work_struct work;
	struct list_head node;      /* lane's lock: in the line, or among those that go on */
	struct adma_waiter *waiter; /* lane's lock. NULL: nobody waits, and it ends itself */
	bool going;                 /* lane's lock */
	bool over;                  /* lane's lock */
	struct adma_user *poster;
	struct adma_memory memory;  /* what it takes of it to pin */
	unsigned long start, end;
	bool lasting;
	struct adma_pin pin;        /* a lasting one's, when it is over without an error */
	int error;
	bool counted;
	ktime_t begun;
};

static struct workqueue_struct *queue;

#define STANDS_LONG (50 * NSEC_PER_MSEC)

/* ---- life ---- */

static struct adma_fetch *make(const struct adma_memory *memory, unsigned long start,
			       unsigned long end, bool lasting)
{
	struct adma_fetch *fetch = kzalloc(sizeof(*fetch), GFP_KERNEL);

	if (!fetch)
		return NULL;
	fetch->waiter = memory->waiter;
	fetch->poster = adma_user_get(memory->poster);
	/* No tally: this may outlive the end whose that is. */
	fetch->memory = (struct adma_memory){
		.mm = memory->mm,
		.user = get_uid(memory->user),
		.memlock = memory->memlock,
		.policy = memory->policy,
		.write = memory->write,
		.patience = ADMA_PIN_WAIT,
	};
	mmgrab(memory->mm);
	fetch->start = start;
	fetch->end = end;
	fetch->lasting = lasting;
	fetch->begun = ktime_get();
	__module_get(THIS_MODULE);
	return fetch;
}

static void destroy(struct adma_fetch *fetch)
{
	if (fetch->pin.entry)
		adma_pin_put(&fetch->pin, &fetch->memory);
	mmdrop(fetch->memory.mm);
	free_uid(fetch->memory.user);
	adma_user_put(fetch->poster);
	kfree(fetch);
	module_put(THIS_MODULE);
}

/* ---- lanes ---- */

void adma_lane_init(struct adma_lane *lane)
{
	spin_lock_init(&lane->lock);
	INIT_LIST_HEAD(&lane->line);
	INIT_LIST_HEAD(&lane->going);
}

/* With the lane's lock. */
static bool may_go(struct adma_lane *lane, const struct adma_fetch *fetch)
{
	unsigned int most = READ_ONCE(faults_max), same = 0;
	struct adma_fetch *other;

	if (lane->goings >= max(most, 1U))
		return false;
	list_for_each_entry(other, &lane->going, node)
		same += other->memory.mm == fetch->memory.mm;
	return same < max(most / 4, 1U);
}

/* With the lane's lock. */
static void let_go_on(struct adma_lane *lane, struct adma_fetch *fetch)
{
	list_move_tail(&fetch->node, &lane->going);
	lane->goings++;
	fetch->going = true;
	queue_work(queue, &fetch->work);
}

/* With the lane's lock: one has left, so one may go. */
static void advance(struct adma_lane *lane)
{
	struct adma_fetch *fetch;

	list_for_each_entry(fetch, &lane->line, node) {
		if (may_go(lane, fetch)) {
			let_go_on(lane, fetch);
			return;
		}
	}
}

/* ---- the work ---- */

static int fetch_now(struct adma_fetch *fetch)
{
	struct adma_memory *memory = &fetch->memory;
	int error;

	if (!mmget_not_zero(memory->mm))
		return -ESRCH;
	if (fetch->lasting)
		error = adma_pin_get(&fetch->pin, memory, fetch->start, fetch->end);
	else
		error = adma_pin_touch(memory, fetch->start, fetch->end);
	mmput_async(memory->mm);
	return error;
}

static void work(struct work_struct *work)
{
	struct adma_fetch *fetch = container_of(work, struct adma_fetch, work);
	struct adma_lane *lane = adma_user_lane(fetch->poster);
	bool forgotten;

	fetch->error = fetch_now(fetch);
	spin_lock(&lane->lock);
	list_del(&fetch->node);
	lane->goings--;
	advance(lane);
	fetch->over = true;
	forgotten = !fetch->waiter;
	if (!forgotten) /* with the lock, so that it is there still */
		fetch->waiter->wake(fetch->waiter);
	spin_unlock(&lane->lock);
	if (forgotten)
		destroy(fetch);
}

/* ---- what transfers do with it ---- */

static bool is_over(struct adma_fetch *fetch)
{
	struct adma_lane *lane = adma_user_lane(fetch->poster);
	bool over;

	spin_lock(&lane->lock);
	over = fetch->over;
	spin_unlock(&lane->lock);
	return over;
}

static bool is_of(const struct adma_fetch *fetch, unsigned long start, bool lasting)
{
	return fetch && fetch->start == start && fetch->lasting == lasting;
}

bool adma_fetch_stands(const struct adma_memory *memory)
{
	struct adma_fetch *fetch = memory->fetch;
	struct adma_lane *lane;
	bool going;

	if (!fetch)
		return false;
	lane = adma_user_lane(fetch->poster);
	spin_lock(&lane->lock);
	going = fetch->going;
	spin_unlock(&lane->lock);
	return !going && ktime_to_ns(ktime_sub(ktime_get(), fetch->begun)) > STANDS_LONG;
}

void adma_fetch_begin(struct adma_memory *memory, unsigned long start, unsigned long end,
		      bool lasting)
{
	struct adma_fetch *fetch = memory->fetch;
	struct adma_lane *lane;

	if (fetch && fetch->start == start && fetch->lasting >= lasting && !is_over(fetch))
		return;
	adma_fetch_end(memory);
	fetch = make(memory, start, end, lasting);
	if (!fetch)
		return;
	memory->fetch = fetch;
	INIT_WORK(&fetch->work, work);
	lane = adma_user_lane(fetch->poster);
	spin_lock(&lane->lock);
	list_add_tail(&fetch->node, &lane->line);
	if (may_go(lane, fetch))
		let_go_on(lane, fetch);
	spin_unlock(&lane->lock);
}

/* The pins that a fetch made are counted in total there, and for the end that wanted them here. */
static void count(struct adma_fetch *fetch, struct adma_tally *tally)
{
	if (fetch->counted)
		return;
	fetch->counted = true;
	atomic64_inc(&tally->count[ADMA_COUNT_PIN_MISSES]);
	atomic64_add(adma_pin_pages(&fetch->pin), &tally->count[ADMA_COUNT_PAGES_PINNED]);
}

int adma_fetch_pin(struct adma_pin *pin, struct adma_memory *memory, unsigned long start,
		   unsigned long end, bool lasting)
{
	struct adma_fetch *fetch = memory->fetch;
	int error;

	if (!is_of(fetch, start, lasting) || !is_over(fetch))
		return -EAGAIN;
	if (fetch->error)
		return fetch->error;
	if (!lasting)
		return -EAGAIN;
	error = adma_pin_share(pin, &fetch->pin, start, end);
	if (!error)
		count(fetch, memory->tally);
	return error;
}

void adma_fetch_end(struct adma_memory *memory)
{
	struct adma_fetch *fetch = memory->fetch;
	struct adma_lane *lane;
	bool going;

	if (!fetch)
		return;
	memory->fetch = NULL;
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), fetch->begun));
	lane = adma_user_lane(fetch->poster);
	spin_lock(&lane->lock);
	going = fetch->going && !fetch->over;
	fetch->waiter = NULL;
	if (!fetch->going)
		list_del(&fetch->node);
	spin_unlock(&lane->lock);
	if (!going)
		destroy(fetch);
}

/* ---- module ---- */

/* As many at a time as there may be: each may have to wait for somebody's page faults. */
int adma_fetches_init(void)
{
	queue = alloc_workqueue("adma_faults", WQ_UNBOUND | WQ_SYSFS, WQ_MAX_ACTIVE);
	return queue ? 0 : -ENOMEM;
}

void adma_fetches_exit(void)
{
	destroy_workqueue(queue);
}
