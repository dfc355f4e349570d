// SPDX-License-Identifier: GPL-2.0
/* command.c - ioctl() on a descriptor; see command.h and the UAPI header. */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "command.h"
#include "connection.h"
#include "dma.h"
#include "end.h"
#include "entries.h"
#include "memory.h"
#include "request.h"
#include "user.h"

/* Every structure begins with its size, as the caller knows it: that is fetched first, and once. */
static int take(void *into, size_t size, const void __user *from)
{
	u32 theirs;
	int error;

	if (get_user(theirs, (const u32 __user *)from))
		return -EFAULT;
	if (theirs < size)
		return -EINVAL;
	if (theirs > PAGE_SIZE)
		return -E2BIG;
	error = copy_struct_from_user(into, size, from, theirs);
	*(u32 *)into = theirs;
	return error;
}

static int give(void __user *to, const void *from, size_t size)
{
	u32 theirs = *(const u32 *)from;

	return copy_to_user(to, from, min_t(size_t, size, theirs)) ? -EFAULT : 0;
}

static long info(struct adma_end *end, void __user *argument)
{
	struct adma_info info;
	int error = take(&info, sizeof(info), argument);

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
	info.window = adma_window_bytes();
	info.pin_limit = adma_pin_limit();
	info.dma_min = adma_dma_min();
	info.requests_max = adma_user_requests_max();
	info.connections_max = adma_user_connections_max();
	return give(argument, &info, sizeof(info));
}

static long channel(struct adma_end *end, void __user *argument)
{
	struct adma_channel channel;
	int error = take(&channel, sizeof(channel), argument);

	if (error)
		return error;
	if (channel.flags || channel.pad)
		return -EINVAL;
	error = adma_dma_describe(channel.index, &channel);
	if (error)
		return error;
	return give(argument, &channel, sizeof(channel));
}

static long counters(struct adma_end *end, void __user *argument)
{
	struct adma_counters counters;
	int error = take(&counters, sizeof(counters), argument);

	if (error)
		return error;
	if (counters.flags & ~ADMA_COUNTERS_MODULE)
		return -EINVAL;
	adma_tally_read(counters.flags ? &adma_total : &end->tally, &counters);
	return give(argument, &counters, sizeof(counters));
}

/* Gives current the files, as the last thing: descriptors cannot be taken back. */
static int install(struct adma_pair *pair, struct file *files[2], void __user *argument)
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
	error = give(argument, pair, sizeof(*pair));
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

static long pair(struct adma_end *end, void __user *argument)
{
	struct file *files[2];
	struct adma_pair pair;
	int error = take(&pair, sizeof(pair), argument);

	if (error)
		return error;
	if (pair.flags || pair.pad || pair.policy > ADMA_BY_DMA)
		return -EINVAL;
	error = adma_connection_files(pair.policy, files);
	if (error)
		return error;
	error = install(&pair, files, argument);
	if (error) {
		fput(files[0]);
		fput(files[1]);
	}
	return error;
}

static long post(struct adma_end *end, void __user *argument)
{
	struct adma_post post;
	int error = take(&post, sizeof(post), argument);

	return error ?: adma_request_post(end, &post);
}

static long copy(struct adma_end *end, void __user *argument)
{
	struct adma_copy copy;
	int error = take(&copy, sizeof(copy), argument);

	return error ?: adma_request_copy(end, &copy);
}

static long peek(struct adma_end *end, void __user *argument)
{
	struct adma_peek peek;
	int error = take(&peek, sizeof(peek), argument);

	if (error)
		return error;
	if (peek.flags || peek.pad)
		return -EINVAL;
	error = adma_request_peek(end, &peek);
	return error ?: give(argument, &peek, sizeof(peek));
}

static long check(struct adma_end *end, void __user *argument)
{
	struct adma_check check;
	int error = take(&check, sizeof(check), argument);

	if (error)
		return error;
	if (check.flags || check.timeout_ns)
		return -EINVAL;
	error = adma_request_check(end, &check);
	return error ?: give(argument, &check, sizeof(check));
}

static long wait(struct adma_end *end, void __user *argument)
{
	struct adma_check check;
	int error = take(&check, sizeof(check), argument);

	if (error)
		return error;
	if (check.flags)
		return -EINVAL;
	error = adma_request_wait(end, &check);
	return error ?: give(argument, &check, sizeof(check));
}

static long cancel(struct adma_end *end, void __user *argument)
{
	struct adma_cancel cancel;
	int error = take(&cancel, sizeof(cancel), argument);

	if (error)
		return error;
	if (cancel.flags)
		return -EINVAL;
	return adma_request_cancel(end, cancel.cookie);
}

/* A command with its structure's size left out: that may differ, see take(). */
#define WITHOUT_SIZE(command) ((command) & ~IOCSIZE_MASK)

long adma_command(struct file *file, unsigned int command, unsigned long argument)
{
	struct adma_end *end = file->private_data;
	void __user *structure = (void __user *)argument;

	switch (WITHOUT_SIZE(command)) {
	case WITHOUT_SIZE(ADMA_IOC_INFO):
		return info(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_CHANNEL):
		return channel(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_COUNTERS):
		return counters(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_PAIR):
		return pair(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_POST):
		return post(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_COPY):
		return copy(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_PEEK):
		return peek(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_CHECK):
		return check(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_WAIT):
		return wait(end, structure);
	case WITHOUT_SIZE(ADMA_IOC_CANCEL):
		return cancel(end, structure);
	default:
		return -ENOTTY;
	}
}
