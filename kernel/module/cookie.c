// SPDX-License-Identifier: GPL-2.0
/* cookie.c - looking at requests, and waiting for them, by their cookies; see request.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "connection.h"
#include "end.h"
#include "entries.h"
#include "request.h"

static void describe_pending(const struct adma_request *request, struct adma_check *check)
{
	check->status = ADMA_PENDING;
	check->matched = request->stage == ADMA_MATCHED;
	if (request->on)
		check->length = READ_ONCE(request->on->copied);
}

int adma_request_check(struct adma_end *end, struct adma_check *check)
{
	struct adma_request *request;

	check->length = 0;
	memset(check->note, 0, sizeof(check->note));
	memset(check->times, 0, sizeof(check->times));
	spin_lock(&end->connection->lock);
	request = adma_entries_find(end->entries, check->cookie);
	if (request && !IS_ERR(request))
		describe_pending(request, check);
	else if (!request)
		adma_entries_describe(end->entries, check);
	spin_unlock(&end->connection->lock);
	return PTR_ERR_OR_ZERO(request);
}

/* 0 once the request has ended, or its entry went on to another. */
static int sleep_until_ended(struct adma_end *end, u64 cookie, s64 timeout_ns)
{
	int error;

	if (timeout_ns < 0)
		error = wait_event_interruptible(end->waiters,
						 adma_entries_ended(end->entries, cookie));
	else
		error = wait_event_interruptible_hrtimeout(end->waiters,
							   adma_entries_ended(end->entries, cookie),
							   ns_to_ktime(timeout_ns));
	if (error == -ETIME)
		return -ETIMEDOUT;
	return error ? -EINTR : 0; /* never restarted: the timeout would begin anew */
}

int adma_request_wait(struct adma_end *end, struct adma_check *check)
{
	int error = adma_request_check(end, check);

	if (error || check->status != ADMA_PENDING)
		return error;
	if (!check->timeout_ns)
		return -ETIMEDOUT;
	error = sleep_until_ended(end, check->cookie, check->timeout_ns);
	return error ?: adma_request_check(end, check);
}

int adma_request_peek(struct adma_end *end, struct adma_peek *peek)
{
	struct adma_connection *connection = end->connection;
	const struct adma_party *write;
	int error = 0;

	if (!connection->connected)
		return -ENOTCONN;
	spin_lock(&connection->lock);
	write = adma_match_peek(&connection->way[1 - end->side]);
	if (write) {
		peek->kind = write->kind;
		peek->length = write->length;
		peek->note[0] = write->note[0];
		peek->note[1] = write->note[1];
	} else {
		error = adma_end_orphaned(end) ? -EPIPE : -EAGAIN;
	}
	spin_unlock(&connection->lock);
	return error;
}
