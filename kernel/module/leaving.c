// SPDX-License-Identifier: GPL-2.0
/* leaving.c - ends the memory of processes that exited meanwhile; see leaving.h. */
#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "leaving.h"

static struct workqueue_struct *leaving;

static void leaving_work(struct work_struct *work)
{
	mmput(container_of(work, struct mm_struct, async_put_work));
	module_put(THIS_MODULE);
}

/*
 * The work that is queued has our reference. Until it runs nobody else can be the last one, and
 * use this work: mmput_async() does when it has put the last reference. Whoever enters meanwhile
 * may be the last one later.
 */
void adma_leave(struct mm_struct *mm)
{
	if (atomic_add_unless(&mm->mm_users, -1, 1))
		return;
	__module_get(THIS_MODULE);
	INIT_WORK(&mm->async_put_work, leaving_work);
	queue_work(leaving, &mm->async_put_work);
}

int adma_leaving_init(void)
{
	leaving = alloc_workqueue("adma_leaving", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return leaving ? 0 : -ENOMEM;
}

void adma_leaving_exit(void)
{
	destroy_workqueue(leaving);
}
