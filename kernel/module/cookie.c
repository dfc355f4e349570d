// SPDX-License-Identifier: GPL-2.0
/* cookie.c - looks at requests, and waits for them, by their cookies; see cookie.h. */
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "connection.h"
#include "cookie.h"
#include "endpoint.h"
#include "entries.h"
#include "request.h"

static void cookie_describe_pending(const struct adma_request *request, struct adma_check *check)
{
	check->status = ADMA_PENDING;
	check->matched = request->stage == ADMA_MATCHED;
	if (request->on)
		check->length = READ_ONCE(request->on->copied);
}

int adma_cookie_check(struct adma_endpoint *endpoint, struct adma_check *check)
{
	struct adma_request *request;

	check->length = 0;
	memset(check->note, 0, sizeof(check->note));
	memset(check->times, 0, sizeof(check->times));
	spin_lock(&endpoint->connection->lock);
	request = adma_entries_find(endpoint->entries, check->cookie);
	if (request && !IS_ERR(request))
		cookie_describe_pending(request, check);
	else if (!request)
		adma_entries_describe(endpoint->entries, check);
	spin_unlock(&endpoint->connection->lock);
	return PTR_ERR_OR_ZERO(request);
}

/* 0 once the request is completed, or its entry holds a later one. */
static int cookie_sleep(struct adma_endpoint *endpoint, u64 cookie, s64 timeout_ns)
{
	struct adma_entries *entries = endpoint->entries;
	int error;

	if (timeout_ns < 0)
		error = wait_event_interruptible(endpoint->waiters,
						 adma_entries_completed(entries, cookie));
	else
		error = wait_event_interruptible_hrtimeout(endpoint->waiters,
							   adma_entries_completed(entries, cookie),
							   ns_to_ktime(timeout_ns));
	if (error == -ETIME)
		return -ETIMEDOUT;
	return error ? -EINTR : 0; /* not restarted, because the timeout would begin again */
}

int adma_cookie_wait(struct adma_endpoint *endpoint, struct adma_check *check)
{
	int error = adma_cookie_check(endpoint, check);

	if (error || check->status != ADMA_PENDING)
		return error;
	if (!check->timeout_ns)
		return -ETIMEDOUT;
	error = cookie_sleep(endpoint, check->cookie, check->timeout_ns);
	return error ?: adma_cookie_check(endpoint, check);
}
