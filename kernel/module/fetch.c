// SPDX-License-Identifier: GPL-2.0
/* fetch.c - waits on behalf of transfers; see fetch.h. */
#include <linux/errno.h>
#include <linux/hashtable.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "counters.h"
#include "fetch.h"
#include "fair_queue.h"
#include "owner.h"
#include "pin.h"
#include "user.h"

static unsigned int faults_max = 16;
module_param(faults_max, uint, 0644);
MODULE_PARM_DESC(faults_max, "waits for page faults of one user's memory at a time, a quarter of one process's");

static unsigned int faults_total = 256;
module_param(faults_total, uint, 0644);
MODULE_PARM_DESC(faults_total, "the same of all users; half are kept for new ones");

/* Whose fetches take turns together: of one user in one process, while there are any. */
struct fetch_process {
	struct hlist_node node;
	const struct adma_user *user; /* its fetches hold both */
	const struct mm_struct *mm;
	unsigned int fetches;
	struct adma_fair_queue queue;
};

enum fetch_stage {
	FETCH_WAITS,  /* for its turn */
	FETCH_QUEUED, /* its work is queued */
	FETCH_GOES,   /* its work runs, and has no result yet */
	FETCH_COMPLETED,
};

struct adma_fetch {
	struct work_struct work;
	struct list_head turn; /* lock: in its process's queue, while it waits for its turn */
	struct fetch_process *process;
	struct adma_waiter *waiter; /* lock. NULL: nobody waits */
	enum fetch_stage stage; /* lock */
	refcount_t refs; /* the client's, and that of the turn until it is over */
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
static DEFINE_SPINLOCK(fetch_lock); /* all queues, all processes, and the stages of all fetches */
static DEFINE_HASHTABLE(processes, 8);

#define FETCH_DELAY_MAX (50 * NSEC_PER_MSEC)

/* ---- processes ---- */

static unsigned long process_hash(const struct adma_user *user, const struct mm_struct *mm)
{
	return (unsigned long)user ^ (unsigned long)mm;
}

/* Called with the lock. If another fetch has added the same process before, @made is freed. */
static struct fetch_process *process_add(struct fetch_process *made)
{
	unsigned long hash = process_hash(made->user, made->mm);
	struct fetch_process *process;

	hash_for_each_possible(processes, process, node, hash) {
		if (process->user == made->user && process->mm == made->mm) {
			kfree(made);
			process->fetches++;
			return process;
		}
	}
	hash_add(processes, &made->node, hash);
	return made;
}

/* Called with the lock. */
static void process_put(struct fetch_process *process)
{
	if (--process->fetches)
		return;
	hash_del(&process->node);
	kfree(process);
}

/* ---- life ---- */

/* Without a process, which adma_fetch_begin() adds. */
static struct adma_fetch *fetch_make(const struct adma_memory *memory)
{
	struct adma_fetch *fetch = kzalloc(sizeof(*fetch), GFP_KERNEL);
	struct fetch_process *process = kzalloc(sizeof(*process), GFP_KERNEL);

	if (!fetch || !process) {
		kfree(fetch);
		kfree(process);
		return NULL;
	}
	fetch->user = adma_user_get(memory->poster);
	process->user = fetch->user;
	process->mm = memory->mm;
	process->fetches = 1;
	adma_fair_queue_init(&process->queue, adma_user_fair_queue(fetch->user));
	fetch->process = process;
	refcount_set(&fetch->refs, 2);
	/* Without the tally, because the fetch may outlive the endpoint that the tally is of. */
	fetch->memory = (struct adma_memory){
		.mm = memory->mm,
		.user = get_uid(memory->user),
		.poster = fetch->user,
		.memlock = memory->memlock,
		.policy = memory->policy,
		.write = memory->write,
		.wait = ADMA_PIN_WAIT,
	};
	mmgrab(memory->mm);
	fetch->begun = ktime_get();
	__module_get(THIS_MODULE);
	return fetch;
}

static void fetch_put(struct adma_fetch *fetch)
{
	if (!refcount_dec_and_test(&fetch->refs))
		return;
	if (fetch->pin.entry)
		adma_pin_put(&fetch->pin, &fetch->memory);
	mmdrop(fetch->memory.mm);
	free_uid(fetch->memory.user);
	adma_user_put(fetch->user);
	kfree(fetch);
	module_put(THIS_MODULE);
}

/* ---- turns ---- */

static struct adma_fair_queue_limits fetch_limits(void)
{
	unsigned int user = max(READ_ONCE(faults_max), 1U);
	unsigned int most = WQ_MAX_ACTIVE - 1; /* what is queued begins at once */

	return (struct adma_fair_queue_limits){
		.most = {
			[ADMA_FAIR_QUEUE_ALL] = clamp(READ_ONCE(faults_total), 1U, most),
			[ADMA_FAIR_QUEUE_OWNER] = min_t(u64, (u64)user * adma_user_sharers(), most),
			[ADMA_FAIR_QUEUE_USER] = user,
			[ADMA_FAIR_QUEUE_PROCESS] = max(user / 4, 1U),
		},
	};
}

/* Called with the lock: whatever may run now is queued. */
static void fetch_run_next(void)
{
	const struct adma_fair_queue_limits limits = fetch_limits();
	struct adma_fetch *fetch;
	struct list_head *turn;

	while ((turn = adma_fair_queue_next(adma_owner_everybody(), &limits))) {
		fetch = list_entry(turn, struct adma_fetch, turn);
		fetch->stage = FETCH_QUEUED;
		queue_work(fetches, &fetch->work);
	}
}

/* ---- the work ---- */

static int fetch_now(struct adma_fetch *fetch)
{
	struct adma_memory *memory = &fetch->memory;

	if (fetch->long_term)
		return adma_pin_get(&fetch->pin, memory, fetch->start, fetch->end);
	return adma_pin_fault_in(memory, fetch->start, fetch->end);
}

static void fetch_work(struct work_struct *work)
{
	struct adma_fetch *fetch = container_of(work, struct adma_fetch, work);
	struct mm_struct *mm = fetch->memory.mm;
	const bool entered = mmget_not_zero(mm);

	spin_lock(&fetch_lock);
	fetch->stage = FETCH_GOES;
	spin_unlock(&fetch_lock);
	fetch->error = entered ? fetch_now(fetch) : -ESRCH;
	spin_lock(&fetch_lock);
	fetch->stage = FETCH_COMPLETED;
	if (fetch->waiter) /* with the lock, which keeps the waiter from going away */
		fetch->waiter->wake(fetch->waiter);
	spin_unlock(&fetch_lock);
	/* If its process has exited this may wait for a file system. The turn lasts meanwhile. */
	if (entered)
		mmput(mm);
	spin_lock(&fetch_lock);
	adma_fair_queue_leave(&fetch->process->queue);
	process_put(fetch->process);
	fetch_run_next();
	spin_unlock(&fetch_lock);
	fetch_put(fetch);
}

/* ---- what transfers do with it ---- */

static enum fetch_stage fetch_stage(const struct adma_fetch *fetch)
{
	enum fetch_stage stage;

	spin_lock(&fetch_lock);
	stage = fetch->stage;
	spin_unlock(&fetch_lock);
	return stage;
}

static bool fetch_is_completed(const struct adma_fetch *fetch)
{
	return fetch_stage(fetch) == FETCH_COMPLETED;
}

bool adma_fetch_is_delayed(const struct adma_fetch_client *client)
{
	const struct adma_fetch *fetch = client->fetch;

	if (!fetch || fetch_stage(fetch) >= FETCH_GOES)
		return false;
	return ktime_to_ns(ktime_sub(ktime_get(), fetch->begun)) > FETCH_DELAY_MAX;
}

void adma_fetch_begin(struct adma_fetch_client *client, struct adma_memory *memory,
		      unsigned long start, unsigned long end, bool long_term)
{
	struct adma_fetch *fetch = client->fetch;

	if (fetch && fetch->start == start && fetch->long_term >= long_term &&
	    !fetch_is_completed(fetch))
		return;
	adma_fetch_release(client, memory);
	fetch = fetch_make(memory);
	if (!fetch)
		return;
	client->fetch = fetch;
	fetch->waiter = client->waiter;
	fetch->start = start;
	fetch->end = end;
	fetch->long_term = long_term;
	INIT_WORK(&fetch->work, fetch_work);
	spin_lock(&fetch_lock);
	fetch->process = process_add(fetch->process);
	adma_fair_queue_wait(&fetch->process->queue, &fetch->turn);
	fetch_run_next();
	spin_unlock(&fetch_lock);
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

/* Called with the lock. Its turn does not come any more, if it has not come. */
static bool fetch_withdraw(struct adma_fetch *fetch)
{
	fetch->waiter = NULL;
	if (fetch->stage != FETCH_WAITS)
		return false;
	adma_fair_queue_withdraw(&fetch->process->queue, &fetch->turn);
	process_put(fetch->process);
	return true;
}

void adma_fetch_release(struct adma_fetch_client *client, struct adma_memory *memory)
{
	struct adma_fetch *fetch = client->fetch;
	bool withdrawn;

	if (!fetch)
		return;
	client->fetch = NULL;
	memory->pin_ns += ktime_to_ns(ktime_sub(ktime_get(), fetch->begun));
	spin_lock(&fetch_lock);
	withdrawn = fetch_withdraw(fetch);
	spin_unlock(&fetch_lock);
	if (withdrawn)
		fetch_put(fetch);
	fetch_put(fetch);
}

/* ---- module ---- */

/* The queue runs as many works at a time as a queue may, and more than are queued at a time. */
int adma_fetches_init(void)
{
	fetches = alloc_workqueue("adma_faults", WQ_UNBOUND | WQ_SYSFS, WQ_MAX_ACTIVE);
	return fetches ? 0 : -ENOMEM;
}

void adma_fetches_exit(void)
{
	destroy_workqueue(fetches);
}
