// SPDX-License-Identifier: GPL-2.0
/* end.c - the life of a descriptor, and what can be done with it but ioctl(); see end.h. */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "command.h"
#include "dma.h"
#include "end.h"
#include "entries.h"
#include "connection.h"
#include "request.h"

static LIST_HEAD(ends);
static DEFINE_MUTEX(ends_mutex); /* innermost of what sleeps */

/* ---- life ---- */

struct adma_end *adma_end_make(struct adma_connection *connection, u32 side)
{
	struct adma_end *end = kzalloc(sizeof(*end), GFP_KERNEL_ACCOUNT);

	if (!end)
		return ERR_PTR(-ENOMEM);
	end->entries = adma_entries_make();
	if (!end->entries) {
		kfree(end);
		return ERR_PTR(-ENOMEM);
	}
	adma_dma_get();
	kref_init(&end->refs);
	init_waitqueue_head(&end->waiters);
	end->side = side;
	end->maker = task_tgid_nr(current);
	refcount_inc(&connection->refs);
	end->connection = connection;
	connection->end[side] = end;
	mutex_lock(&ends_mutex);
	list_add_tail(&end->node, &ends);
	mutex_unlock(&ends_mutex);
	return end;
}

static void destroy(struct kref *refs)
{
	struct adma_end *end = container_of(refs, struct adma_end, refs);

	mutex_lock(&ends_mutex);
	list_del(&end->node);
	mutex_unlock(&ends_mutex);
	adma_entries_put(end->entries);
	adma_connection_put(end->connection);
	kfree(end);
	adma_dma_put();
}

void adma_end_put(struct adma_end *end)
{
	kref_put(&end->refs, destroy);
}

void adma_end_close(struct adma_end *end)
{
	adma_request_withdraw_all(end);
	adma_end_put(end);
}

struct adma_end *adma_end_peer(const struct adma_end *end)
{
	return end->connection->end[1 - end->side];
}

bool adma_end_orphaned(const struct adma_end *end)
{
	return end->connection->connected && !adma_end_peer(end);
}

/* ---- the file ---- */

static int end_open(struct inode *inode, struct file *file)
{
	struct adma_connection *connection = adma_connection_make(false, ADMA_BY_ANY);
	struct adma_end *end;

	if (IS_ERR(connection))
		return PTR_ERR(connection);
	end = adma_end_make(connection, 0);
	adma_connection_put(connection);
	if (IS_ERR(end))
		return PTR_ERR(end);
	file->private_data = end;
	return stream_open(inode, file);
}

static int end_release(struct inode *inode, struct file *file)
{
	adma_end_close(file->private_data);
	return 0;
}

static ssize_t end_read(struct file *file, char __user *buffer, size_t size, loff_t *at)
{
	struct adma_end *end = file->private_data;
	u64 ended;

	if (size < sizeof(ended))
		return -EINVAL;
	spin_lock(&end->connection->lock);
	ended = end->ended;
	end->ended = 0;
	spin_unlock(&end->connection->lock);
	if (!ended)
		return -EAGAIN;
	if (!copy_to_user(buffer, &ended, sizeof(ended)))
		return sizeof(ended);
	spin_lock(&end->connection->lock);
	end->ended += ended;
	spin_unlock(&end->connection->lock);
	return -EFAULT;
}

static __poll_t end_poll(struct file *file, poll_table *table)
{
	struct adma_end *end = file->private_data;
	struct adma_connection *connection = end->connection;
	__poll_t events = 0;

	poll_wait(file, &end->waiters, table);
	spin_lock(&connection->lock);
	if (end->ended)
		events |= EPOLLIN | EPOLLRDNORM;
	if (adma_match_peek(&connection->way[1 - end->side]))
		events |= EPOLLPRI;
	if (adma_end_orphaned(end))
		events |= EPOLLHUP;
	spin_unlock(&connection->lock);
	return events;
}

static int end_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct adma_end *end = file->private_data;

	return adma_entries_map(end->entries, vma);
}

const struct file_operations adma_end_operations = {
	.owner = THIS_MODULE,
	.open = end_open,
	.release = end_release,
	.read = end_read,
	.poll = end_poll,
	.mmap = end_mmap,
	.unlocked_ioctl = adma_command,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- for people ---- */

static void show(struct seq_file *out, struct adma_end *end)
{
	const struct adma_connection *connection = end->connection;
	static const char *const policies[] = { "any", "cpu", "dma" };
	const char *state = "alone";
	u32 pending;

	spin_lock(&end->connection->lock);
	if (connection->connected)
		state = adma_end_orphaned(end) ? "orphaned" : "connected";
	if (connection->end[end->side] != end)
		state = "closed";
	pending = end->pending;
	spin_unlock(&end->connection->lock);
	seq_printf(out, "%d %s %s side %u pending %u posts %lld done %lld failed %lld\n",
		   end->maker, state, policies[connection->policy], end->side, pending,
		   atomic64_read(&end->tally.count[ADMA_COUNT_POSTS]),
		   atomic64_read(&end->tally.count[ADMA_COUNT_DONE]),
		   atomic64_read(&end->tally.count[ADMA_COUNT_FAILED]));
}

void adma_ends_show(struct seq_file *out)
{
	struct adma_end *end;

	mutex_lock(&ends_mutex);
	list_for_each_entry(end, &ends, node)
		show(out, end);
	mutex_unlock(&ends_mutex);
}
