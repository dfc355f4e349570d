// SPDX-License-Identifier: GPL-2.0
/* fetch.c - waits on behalf of transfers; see fetch.h. */
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
#include "fetch_queue.h"
#include "pin.h"
#include "user.h"

static unsigned int faults_max = 16;
module_param(faults_max, uint, 0644);
MODULE_PARM_DESC(faults_max, "waits for page faults of one user's memory at a time, a quarter of them of one process's");

struct adma_fetch {
	struct work_struct work;
	struct list_head node;      /* queue's lock: in its waiting or running list */
	struct adma_waiter *waiter; /* queue's lock. NULL: nobody waits; the work frees the fetch */
	bool running; /* queue's lock; stays true */
	bool completed; /* queue's lock */
	struct adma_user *user;
	struct adma_memory memory; /* only what pinning needs of it */
	unsigned long start, end;
	bool long_term;
	struct adma_pin pin; /* of a long-term one that is completed without an error */
	int error;
	bool counted;
	ktime_t begun;
};

static struct workqueue_struct *fetches;

#define FETCH_DELAY_MAX (50 * NSEC_PER_MSEC)

/* ---- life ---- */

static struct adma_fetch *fetch_make(const struct adma_fetch_client *client,
				     const struct adma_memory *memory, unsigned long start,
				     unsigned long end, bool long_term)
{
	struct adma_fetch *fetch = kzalloc(sizeof(*fetch), GFP_KERNEL);

	if (!fetch)
		return NULL;
	fetch->waiter = client->waiter;
	fetch->user = adma_user_get(client->user);
	/* Without the tally, because the fetch may outlive the endpoint that the tally is of. */
	fetch->memory = (struct adma_memory){
		.mm = memory->mm,
		.user = get_uid(memory->user),
		.memlock = memory->memlock,
		.policy = memory->policy,
		.write = memory->write,
		.wait = ADMA_PIN_WAIT,
	};
	mmgrab(memory->mm);
	fetch->start = start;
	fetch->end = end;
	fetch->long_term = long_term;
	fetch->begun = ktime_get();
	__module_get(THIS_MODULE);
	return fetch;
}

static void fetch_destroy(struct adma_fetch *fetch)
{
	if (fetch->pin.entry)
		adma_pin_put(&fetch->pin, &fetch->memory);
	mmdrop(fetch->memory.mm);
	free_uid(fetch->memory.user);
	adma_user_put(fetch->user);
	kfree(fetch);
	module_put(THIS_MODULE);
}

/* ---- queues ---- */

/* Called with the queue's lock. */
static bool fetch_may_run(struct adma_fetch_queue *queue, const struct adma_fetch *fetch)
{
	unsigned int most = READ_ONCE(faults_max), same = 0;
	struct adma_fetch *other;

	if (queue->running_count >= max(most, 1U))
		return false;
	list_for_each_entry(other, &queue->running, node)
		same += other->memory.mm == fetch->memory.mm;
	return same < max(most / 4, 1U);
}

/* Called with the queue's lock. */
static void fetch_run(struct adma_fetch_queue *queue, struct adma_fetch *fetch)
{
	list_move_tail(&fetch->node, &queue->running);
	queue->running_count++;
	fetch->running = true;
	queue_work(fetches, &fetch->work);
}

/* Called with the queue's lock: one fetch has been completed, so another one may run. */
static void fetch_run_next(struct adma_fetch_queue *queue)
{
	struct adma_fetch *fetch;

	list_for_each_entry(fetch, &queue->waiting, node) {
		if (fetch_may_run(queue, fetch)) {
			fetch_run(queue, fetch);
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
	if (fetch->long_term)
		error = adma_pin_get(&fetch->pin, memory, fetch->start, fetch->end);
	else
		error = adma_pin_fault_in(memory, fetch->start, fetch->end);
	mmput_async(memory->mm);
	return error;
}

static void fetch_work(struct work_struct *work)
{
	struct adma_fetch *fetch = container_of(work, struct adma_fetch, work);
	struct adma_fetch_queue *queue = adma_user_fetch_queue(fetch->user);
	bool released;

	fetch->error = fetch_now(fetch);
	spin_lock(&queue->lock);
	list_del(&fetch->node);
	queue->running_count--;
	fetch_run_next(queue);
	fetch->completed = true;
	released = !fetch->waiter;
	if (!released) /* with the lock, which keeps the waiter from going away */
		fetch->waiter->wake(fetch->waiter);
	spin_unlock(&queue->lock);
	if (released)
		fetch_destroy(fetch);
}

/* ---- what transfers do with it ---- */

static bool fetch_is_completed(struct adma_fetch *fetch)
{
	struct adma_fetch_queue *queue = adma_user_fetch_queue(fetch->user);
	bool completed;

	spin_lock(&queue->lock);
	completed = fetch->completed;
	spin_unlock(&queue->lock);
	return completed;
}

bool adma_fetch_is_delayed(const struct adma_fetch_client *client)
{
	struct adma_fetch *fetch = client->fetch;
	struct adma_fetch_queue *queue;
	bool running;

	if (!fetch)
		return false;
	queue = adma_user_fetch_queue(fetch->user);
	spin_lock(&queue->lock);
	running = fetch->running;
	spin_unlock(&queue->lock);
	return !running && ktime_to_ns(ktime_sub(ktime_get(), fetch->begun)) > FETCH_DELAY_MAX;
}

void adma_fetch_begin(struct adma_fetch_client *client, struct adma_memory *memory,
		      unsigned long start, unsigned long end, bool long_term)
{
	struct adma_fetch *fetch = client->fetch;
	struct adma_fetch_queue *queue;

	if (fetch && fetch->start == start && fetch->long_term >= long_term &&
	    !fetch_is_completed(fetch))
		return;
	adma_fetch_release(client, memory);
	fetch = fetch_make(client, memory, start, end, long_term);
	if (!fetch)
		return;
	client->fetch = fetch;
	INIT_WORK(&fetch->work, fetch_work);
	queue = adma_user_fetch_queue(fetch->user);
	spin_lock(&queue->lock);
	list_add_tail(&fetch->node, &queue->waiting);
	if (fetch_may_run(queue, fetch))
		fetch_run(queue, fetch);
	spin_unlock(&queue->lock);
}

/*
 * The module's total has counted the pins when the fetch made them. The tally of the endpoint
 * that wanted them is added to here.
 */
static void fetch_count(struct adma_fetch *fetch, struct adma_tally *tally)
{
	if (fetch->counted)
		return;
	fetch->counted = true;
	atomic64_inc(&tally->count[ADMA_COUNT_PIN_MISSES]);
	atomic64_add(adma_pin_pages(&fetch->pin), &tally->count[ADMA_COUNT_PAGES_PINNED]);
}

int adma_fetch_pin(struct adma_fetch_client *client, struct adma_pin *pin,
		   struct adma_memory *memory, unsigned long start, unsigned long end,
		   bool long_term)
{
	struct adma_fetch *fetch = client->fetch;
	int error;

	if (!fetch || fetch->start != start || fetch->long_term != long_term ||
	    !fetch_is_completed(fetch))
		return -EAGAIN;
	if (fetch->error)
		return fetch->error;
	if (!long_term)
		return -EAGAIN;
	error = adma_pin_share(pin, &fetch->pin, start, end);
	if (!error)
		fetch_count(fetch, memory->tally);
	return error;
}

void adma_fetch_release(struct adma_fetch_client *client, struct adma_memory *memory)
{
	struct adma_fetch *fetch = client->fetch;
	struct adma_fetch_queue *queue;
	bool in_work;

	if (!fetch)
		return;
	client->fetch = NULL;
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), fetch->begun));
	queue = adma_user_fetch_queue(fetch->user);
	spin_lock(&queue->lock);
	in_work = fetch->running && !fetch->completed;
	fetch->waiter = NULL;
	if (!fetch->running)
		list_del(&fetch->node);
	spin_unlock(&queue->lock);
	if (!in_work) /* otherwise its work destroys it */
		fetch_destroy(fetch);
}

/* ---- module ---- */

/*
 * The queue runs as many works at a time as a queue may: each may have to wait for
 * somebody's page faults.
 */
int adma_fetches_init(void)
{
	fetches = alloc_workqueue("adma_faults", WQ_UNBOUND | WQ_SYSFS, WQ_MAX_ACTIVE);
	return fetches ? 0 : -ENOMEM;
}

void adma_fetches_exit(void)
{
	destroy_workqueue(fetches);
}
