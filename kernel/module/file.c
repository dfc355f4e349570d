// SPDX-License-Identifier: GPL-2.0
/* file.c - the file operations of an endpoint; ioctl() is in command.c. */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "command.h"
#include "connection.h"
#include "endpoint.h"
#include "entries.h"
#include "file.h"
#include "match.h"
#include "withdraw.h"

static int endpoint_open(struct inode *inode, struct file *file)
{
	struct adma_connection *connection = adma_connection_make(false, ADMA_BY_ANY);
	struct adma_endpoint *endpoint;

	if (IS_ERR(connection))
		return PTR_ERR(connection);
	endpoint = adma_endpoint_make(connection, 0);
	adma_connection_put(connection);
	if (IS_ERR(endpoint))
		return PTR_ERR(endpoint);
	file->private_data = endpoint;
	return stream_open(inode, file);
}

static int endpoint_release(struct inode *inode, struct file *file)
{
	struct adma_endpoint *endpoint = file->private_data;

	adma_withdraw_all(endpoint);
	adma_endpoint_put(endpoint);
	return 0;
}

static ssize_t endpoint_read(struct file *file, char __user *buffer, size_t size, loff_t *at)
{
	struct adma_endpoint *endpoint = file->private_data;
	u64 completed;

	if (size < sizeof(completed))
		return -EINVAL;
	spin_lock(&endpoint->connection->lock);
	completed = endpoint->completed;
	endpoint->completed = 0;
	spin_unlock(&endpoint->connection->lock);
	if (!completed)
		return -EAGAIN;
	if (!copy_to_user(buffer, &completed, sizeof(completed)))
		return sizeof(completed);
	spin_lock(&endpoint->connection->lock);
	endpoint->completed += completed;
	spin_unlock(&endpoint->connection->lock);
	return -EFAULT;
}

static __poll_t endpoint_poll(struct file *file, poll_table *table)
{
	struct adma_endpoint *endpoint = file->private_data;
	struct adma_connection *connection = endpoint->connection;
	__poll_t events = 0;

	poll_wait(file, &endpoint->waiters, table);
	spin_lock(&connection->lock);
	if (endpoint->completed)
		events |= EPOLLIN | EPOLLRDNORM;
	if (adma_match_peek(&connection->direction[1 - endpoint->side]))
		events |= EPOLLPRI;
	if (adma_endpoint_is_orphaned(endpoint))
		events |= EPOLLHUP;
	spin_unlock(&connection->lock);
	return events;
}

static int endpoint_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct adma_endpoint *endpoint = file->private_data;

	return adma_entries_map(endpoint->entries, vma);
}

const struct file_operations adma_file_operations = {
	.owner = THIS_MODULE,
	.open = endpoint_open,
	.release = endpoint_release,
	.read = endpoint_read,
	.poll = endpoint_poll,
	.mmap = endpoint_mmap,
	.unlocked_ioctl = adma_command,
	.compat_ioctl = compat_ptr_ioctl,
};
