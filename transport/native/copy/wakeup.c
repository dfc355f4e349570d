/* SPDX-License-Identifier: BSD-3-Clause */
/* wakeup.c - the futex word of waiting callers, and their descriptors. */
#include "copy/wakeup.h"

#include <unistd.h>

#include "base/event.h"
#include "base/futex.h"
#include "base/list.h"
#include "copy/state.h"

static struct adma_copy_signal *signal_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_copy_signal, link);
}

void adma_wakeup_waiters(void)
{
	uint64_t one = 1;

	atomic_fetch_add_explicit(&adma_copies.completions, 1, memory_order_relaxed);
	if (adma_copies.sleepers)
		adma_futex_wake(&adma_copies.completions, (int)adma_copies.sleepers);
	adma_list_for_each(at, &adma_copies.signals) {
		struct adma_copy_signal *signal = signal_of(at);

		if (signal->armed)
			(void)!write(signal->fd, &one, sizeof(one));
		signal->armed = 0;
	}
}

/* At most one of the descriptors is this thread's own. */
void adma_wakeup_forked(void)
{
	adma_list_for_each_safe(at, after, &adma_copies.signals) {
		struct adma_copy_signal *signal = signal_of(at);

		close(signal->fd);
		signal->fd = -1;
		adma_list_remove(at);
	}
}

int adma_copy_signal_open(struct adma_copy_signal *signal)
{
	int fd = adma_event_make();

	signal->fd = fd < 0 ? -1 : fd;
	if (fd < 0)
		return fd;
	signal->armed = 0;
	adma_engine_lock();
	adma_list_push_front(&adma_copies.signals, &signal->link);
	adma_engine_unlock();
	return 0;
}

void adma_copy_signal_arm(struct adma_copy_signal *signal)
{
	uint64_t completions;

	adma_engine_lock();
	(void)!read(signal->fd, &completions, sizeof(completions));
	signal->armed = signal->fd >= 0;
	adma_engine_unlock();
}

/* The descriptor is -1 when it could not be opened, or when a fork closed it. It is on no list then. */
void adma_copy_signal_close(struct adma_copy_signal *signal)
{
	if (signal->fd < 0)
		return;
	adma_engine_lock();
	adma_list_remove(&signal->link);
	adma_engine_unlock();
	close(signal->fd);
	signal->fd = -1;
}
