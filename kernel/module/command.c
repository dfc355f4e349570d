// SPDX-License-Identifier: GPL-2.0
/* command.c - ioctl() on an endpoint; see command.h and the UAPI header. */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "buffer.h"
#include "command.h"
#include "cookie.h"
#include "counters.h"
#include "dma.h"
#include "endpoint.h"
#include "entries.h"
#include "memory.h"
#include "pair.h"
#include "pin_cache.h"
#include "post.h"
#include "user.h"
#include "withdraw.h"

/*
 * Every structure begins with its size, as the caller knows it. The size is fetched first, and only
 * once, so that the caller cannot change it in between.
 */
static int command_fetch(void *into, size_t size, const void __user *from)
{
	u32 user_size;
	int error;

	if (get_user(user_size, (const u32 __user *)from))
		return -EFAULT;
	if (user_size < size)
		return -EINVAL;
	if (user_size > PAGE_SIZE)
		return -E2BIG;
	error = copy_struct_from_user(into, size, from, user_size);
	*(u32 *)into = user_size;
	return error;
}

static int command_return(void __user *to, const void *from, size_t size)
{
	u32 user_size = *(const u32 *)from;

	return copy_to_user(to, from, min_t(size_t, size, user_size)) ? -EFAULT : 0;
}

static long command_info(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_info info;
	int error = command_fetch(&info, sizeof(info), argument);

	if (error)
		return error;
	if (info.flags)
		return -EINVAL;
	info.abi = ADMA_ABI_VERSION;
	info.features = ADMA_FEATURE_CPU | ADMA_FEATURE_COPY | ADMA_FEATURE_TIMES;
	if (adma_dma_works())
		info.features |= ADMA_FEATURE_DMA;
	adma_dma_count(&info.channels, &info.retired);
	info.entries = ADMA_ENTRIES;
	info.iov_max = ADMA_IOV_MAX;
	info.length_max = ADMA_LENGTH_MAX;
	info.window = adma_buffer_window();
	info.pin_limit = adma_pin_cache_limit();
	info.dma_min = adma_dma_min();
	info.requests_max = adma_user_requests_max();
	info.connections_max = adma_user_connections_max();
	return command_return(argument, &info, sizeof(info));
}

static long command_channel(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_channel channel;
	int error = command_fetch(&channel, sizeof(channel), argument);

	if (error)
		return error;
	if (channel.flags || channel.pad)
		return -EINVAL;
	error = adma_dma_describe(channel.index, &channel);
	if (error)
		return error;
	return command_return(argument, &channel, sizeof(channel));
}

static long command_refused(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_refused refused;
	int error = command_fetch(&refused, sizeof(refused), argument);

	if (error)
		return error;
	if (refused.flags)
		return -EINVAL;
	error = adma_dma_describe_refused(refused.index, &refused);
	if (error)
		return error;
	return command_return(argument, &refused, sizeof(refused));
}

static long command_counters(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_counters counters;
	int error = command_fetch(&counters, sizeof(counters), argument);

	if (error)
		return error;
	if (counters.flags & ~ADMA_COUNTERS_MODULE)
		return -EINVAL;
	if (counters.flags && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	adma_tally_read(counters.flags ? &adma_total : &endpoint->tally, &counters);
	return command_return(argument, &counters, sizeof(counters));
}

/*
 * Installs the files as file descriptors of current. This comes last, because file descriptors
 * cannot be taken back.
 */
static int command_install(struct adma_pair *pair, struct file *files[2], void __user *argument)
{
	int error;

	pair->fd[0] = get_unused_fd_flags(O_CLOEXEC);
	if (pair->fd[0] < 0)
		return pair->fd[0];
	pair->fd[1] = get_unused_fd_flags(O_CLOEXEC);
	if (pair->fd[1] < 0) {
		error = pair->fd[1];
		goto no_second;
	}
	error = command_return(argument, pair, sizeof(*pair));
	if (error)
		goto no_room;
	fd_install(pair->fd[0], files[0]);
	fd_install(pair->fd[1], files[1]);
	return 0;

no_room:
	put_unused_fd(pair->fd[1]);
no_second:
	put_unused_fd(pair->fd[0]);
	return error;
}

static long command_pair(const struct file_operations *operations, void __user *argument)
{
	struct file *files[2];
	struct adma_pair pair;
	int error = command_fetch(&pair, sizeof(pair), argument);

	if (error)
		return error;
	if (pair.flags || pair.pad || pair.policy > ADMA_BY_DMA)
		return -EINVAL;
	error = adma_pair_make(pair.policy, operations, files);
	if (error)
		return error;
	error = command_install(&pair, files, argument);
	if (error) {
		fput(files[0]);
		fput(files[1]);
	}
	return error;
}

static long command_post(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_post post;
	int error = command_fetch(&post, sizeof(post), argument);

	return error ?: adma_post_message(endpoint, &post);
}

static long command_copy(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_copy copy;
	int error = command_fetch(&copy, sizeof(copy), argument);

	return error ?: adma_post_copy(endpoint, &copy);
}

static long command_peek(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_peek peek;
	int error = command_fetch(&peek, sizeof(peek), argument);

	if (error)
		return error;
	if (peek.flags || peek.pad)
		return -EINVAL;
	error = adma_endpoint_peek(endpoint, &peek);
	return error ?: command_return(argument, &peek, sizeof(peek));
}

static long command_check(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_check check;
	int error = command_fetch(&check, sizeof(check), argument);

	if (error)
		return error;
	if (check.flags || check.timeout_ns)
		return -EINVAL;
	error = adma_cookie_check(endpoint, &check);
	return error ?: command_return(argument, &check, sizeof(check));
}

static long command_wait(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_check check;
	int error = command_fetch(&check, sizeof(check), argument);

	if (error)
		return error;
	if (check.flags)
		return -EINVAL;
	error = adma_cookie_wait(endpoint, &check);
	return error ?: command_return(argument, &check, sizeof(check));
}

static long command_cancel(struct adma_endpoint *endpoint, void __user *argument)
{
	struct adma_cancel cancel;
	int error = command_fetch(&cancel, sizeof(cancel), argument);

	if (error)
		return error;
	if (cancel.flags)
		return -EINVAL;
	return adma_withdraw_cancel(endpoint, cancel.cookie);
}

/* A command without its structure's size, which may differ: see command_fetch(). */
#define WITHOUT_SIZE(command) ((command) & ~IOCSIZE_MASK)

long adma_command(struct file *file, unsigned int command, unsigned long argument)
{
	struct adma_endpoint *endpoint = file->private_data;
	void __user *structure = (void __user *)argument;

	switch (WITHOUT_SIZE(command)) {
	case WITHOUT_SIZE(ADMA_IOC_INFO):
		return command_info(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_CHANNEL):
		return command_channel(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_REFUSED):
		return command_refused(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_COUNTERS):
		return command_counters(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_PAIR):
		/* The files of a pair have the operations of the file that it is made with. */
		return command_pair(file->f_op, structure);
	case WITHOUT_SIZE(ADMA_IOC_POST):
		return command_post(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_COPY):
		return command_copy(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_PEEK):
		return command_peek(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_CHECK):
		return command_check(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_WAIT):
		return command_wait(endpoint, structure);
	case WITHOUT_SIZE(ADMA_IOC_CANCEL):
		return command_cancel(endpoint, structure);
	default:
		return -ENOTTY;
	}
}
