/* SPDX-License-Identifier: BSD-3-Clause */
/* wakeup.c - the futex word of waiting callers, and their descriptors. */
#include "copy/wakeup.h"

#include <unistd.h>

#include "base/event.h"
#include "base/futex.h"
#include "base/list.h"
#include "base/own.h"
#include "copy/state.h"

static struct adma_copy_signal *signal_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_copy_signal, link);
}

/* Other code of the process may have closed it by mistake (base/own.h). */
static bool signal_is_ours(const struct adma_copy_signal *signal)
{
	struct adma_own own = {.device = signal->device, .inode = signal->inode};

	return adma_own_is(&own, signal->fd);
}

static void signal_close(struct adma_copy_signal *signal)
{
	struct adma_own own = {.device = signal->device, .inode = signal->inode};

	adma_own_close(&signal->fd, &own);
}

void adma_wakeup_waiters(void)
{
	uint64_t one = 1;

	atomic_fetch_add_explicit(&adma_copies.completions, 1, memory_order_relaxed);
	if (adma_copies.sleepers)
		adma_futex_wake(&adma_copies.completions, (int)adma_copies.sleepers);
	adma_list_for_each(at, &adma_copies.signals) {
		struct adma_copy_signal *signal = signal_of(at);

		/* If that fails, the sleeper looks by itself, at the end of its second. */
		if (signal->armed && signal_is_ours(signal))
			(void)!write(signal->fd, &one, sizeof(one));
		signal->armed = 0;
	}
}

/* At most one of the descriptors is this thread's own. */
void adma_wakeup_forked(void)
{
	adma_list_for_each_safe(at, after, &adma_copies.signals) {
		struct adma_copy_signal *signal = signal_of(at);

		signal_close(signal);
		adma_list_remove(at);
	}
}

int adma_copy_signal_open(struct adma_copy_signal *signal)
{
	int fd = adma_event_make();
	struct adma_own own;

	signal->fd = fd < 0 ? -1 : fd;
	if (fd < 0)
		return fd;
	own = adma_own_note(fd);
	signal->device = own.device;
	signal->inode = own.inode;
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
	signal->armed = signal->fd >= 0 && signal_is_ours(signal);
	if (signal->armed)
		(void)!read(signal->fd, &completions, sizeof(completions)); /* which may be empty */
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
	signal_close(signal);
}
