/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.c - the descriptors of event loops that await requests; see notify.h. */
#include "base/notify.h"

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "base/list.h"
#include "base/own.h"

static struct {
	pthread_mutex_t lock;
	struct adma_list open;
} notify = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.open = ADMA_LIST_INIT(notify.open),
};

static struct adma_notification *notify_of(struct adma_list *member)
{
	return adma_container_of(member, struct adma_notification, link);
}

static struct adma_own notify_own(const struct adma_notification *notification)
{
	return (struct adma_own){.device = notification->device, .inode = notification->inode};
}

/* ---- called with the lock held ---- */

/* Other code of the process may have closed it by mistake (base/own.h). */
static bool notify_is_ours(struct adma_notification *notification)
{
	struct adma_own own = notify_own(notification);

	return adma_own_use(&own, notification->fd, &notification->used_at);
}

static void notify_tell(struct adma_notification *notification)
{
	uint64_t one = 1;

	notification->came++;
	if (!notification->armed)
		return;
	notification->armed = 0;
	notification->told = notify_is_ours(notification) && write(notification->fd, &one, sizeof(one)) > 0;
}

static void notify_begin(struct adma_notification *notification)
{
	struct adma_own own = adma_own_note(notification->fd);

	notification->device = own.device;
	notification->inode = own.inode;
	notification->used_at = adma_now();
	adma_list_push_front(&notify.open, &notification->link);
}

static void notify_end(struct adma_notification *notification)
{
	struct adma_own own = notify_own(notification);

	adma_list_remove(&notification->link);
	notification->armed = 0;
	adma_own_close(&notification->fd, &own);
}

/* ---- completions ---- */

void adma_notify_completion(void)
{
	pthread_mutex_lock(&notify.lock);
	adma_list_for_each(at, &notify.open)
		notify_tell(notify_of(at));
	pthread_mutex_unlock(&notify.lock);
}

/* ---- notifications ---- */

int adma_notification_open(struct adma_notification *notification)
{
	int fd;

	pthread_mutex_lock(&notify.lock); /* a child that is forked meanwhile would keep the descriptor */
	fd = adma_event_make();
	*notification = (struct adma_notification){.fd = fd < 0 ? -1 : fd};
	if (fd >= 0)
		notify_begin(notification);
	pthread_mutex_unlock(&notify.lock);
	return fd < 0 ? fd : 0;
}

uint32_t adma_notification_arm(struct adma_notification *notification)
{
	uint64_t completions;
	uint32_t came;

	pthread_mutex_lock(&notify.lock);
	if (notification->told && notify_is_ours(notification))
		(void)!read(notification->fd, &completions, sizeof(completions));
	came = notification->came;
	notification->told = 0;
	notification->came = 0;
	notification->armed = notification->fd >= 0;
	pthread_mutex_unlock(&notify.lock);
	return came;
}

void adma_notification_disarm(struct adma_notification *notification)
{
	pthread_mutex_lock(&notify.lock);
	notification->armed = 0;
	pthread_mutex_unlock(&notify.lock);
}

void adma_notification_close(struct adma_notification *notification)
{
	pthread_mutex_lock(&notify.lock);
	if (notification->fd >= 0)
		notify_end(notification);
	pthread_mutex_unlock(&notify.lock);
}

/* ---- fork ---- */

void adma_notify_before_fork(void)
{
	pthread_mutex_lock(&notify.lock);
}

void adma_notify_after_fork_parent(void)
{
	pthread_mutex_unlock(&notify.lock);
}

void adma_notify_after_fork_child(void)
{
	adma_list_for_each_safe(at, after, &notify.open)
		notify_end(notify_of(at));
	pthread_mutex_init(&notify.lock, NULL);
}
