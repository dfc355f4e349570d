// SPDX-License-Identifier: GPL-2.0
/* pair.c - makes pairs of connected files; see pair.h. */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>

#include "connection.h"
#include "dma.h"
#include "endpoint.h"
#include "pair.h"
#include "withdraw.h"

static struct file *pair_open_side(struct adma_connection *connection, u32 side,
				   const struct file_operations *operations)
{
	struct adma_endpoint *endpoint = adma_endpoint_make(connection, side);
	struct file *file;

	if (IS_ERR(endpoint))
		return ERR_CAST(endpoint);
	file = anon_inode_getfile("[adma]", operations, endpoint, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file)) {
		adma_withdraw_all(endpoint);
		adma_endpoint_put(endpoint);
	}
	return file;
}

int adma_pair_make(u32 policy, const struct file_operations *operations, struct file *files[2])
{
	struct adma_connection *connection;
	int error = 0;

	if (policy == ADMA_BY_DMA && !adma_dma_works())
		return -ENODEV;
	connection = adma_connection_make(true, policy);
	if (IS_ERR(connection))
		return PTR_ERR(connection);
	files[0] = pair_open_side(connection, 0, operations);
	if (IS_ERR(files[0])) {
		error = PTR_ERR(files[0]);
		goto out;
	}
	files[1] = pair_open_side(connection, 1, operations);
	if (IS_ERR(files[1])) {
		error = PTR_ERR(files[1]);
		fput(files[0]);
	}
out:
	adma_connection_put(connection); /* the endpoints hold it now */
	return error;
}
