// SPDX-License-Identifier: GPL-2.0
/* connection.c - connections; see connection.h. */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "dma.h"
#include "end.h"
#include "connection.h"
#include "user.h"

struct adma_connection *adma_connection_make(bool connected, u32 policy)
{
	struct adma_connection *connection = kzalloc(sizeof(*connection), GFP_KERNEL_ACCOUNT);

	if (!connection)
		return ERR_PTR(-ENOMEM);
	refcount_set(&connection->refs, 1);
	connection->policy = policy;
	connection->connected = connected;
	spin_lock_init(&connection->lock);
	adma_match_init(&connection->way[0]);
	adma_match_init(&connection->way[1]);
	connection->user = adma_user_add_connection(connected);
	if (IS_ERR(connection->user)) {
		int error = PTR_ERR(connection->user);

		kfree(connection);
		return ERR_PTR(error);
	}
	return connection;
}

void adma_connection_put(struct adma_connection *connection)
{
	if (!refcount_dec_and_test(&connection->refs))
		return;
	adma_user_put_connection(connection->user, connection->connected);
	kfree(connection);
}

static struct file *open_side(struct adma_connection *connection, u32 side)
{
	struct adma_end *end = adma_end_make(connection, side);
	struct file *file;

	if (IS_ERR(end))
		return ERR_CAST(end);
	file = anon_inode_getfile("[adma]", &adma_end_operations, end, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file))
		adma_end_close(end);
	return file;
}

int adma_connection_files(u32 policy, struct file *files[2])
{
	struct adma_connection *connection;
	int error = 0;

	if (policy == ADMA_BY_DMA && !adma_dma_works())
		return -ENODEV;
	connection = adma_connection_make(true, policy);
	if (IS_ERR(connection))
		return PTR_ERR(connection);
	files[0] = open_side(connection, 0);
	if (IS_ERR(files[0])) {
		error = PTR_ERR(files[0]);
		goto out;
	}
	files[1] = open_side(connection, 1);
	if (IS_ERR(files[1])) {
		error = PTR_ERR(files[1]);
		fput(files[0]);
	}
out:
	adma_connection_put(connection); /* the ends hold it now */
	return error;
}
