/* SPDX-License-Identifier: BSD-3-Clause */
/* poll_set.c - members of poll sets; see poll_set.h. */
#include "progress/poll_set.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "adma_poll.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/poll.h"
#include "base/refusal.h"
#include "progress/spin.h"

#define MEMBER_FD_MASK 3u     /* of a member's address in the epoll: which of its descriptors */
#define EPOLL_UNIT_NS 1000000 /* of the time of a sleep in epoll_pwait(2) */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct adma_list all_sets = ADMA_LIST_INIT(all_sets);

static struct adma_poll_member *member_of_worker(struct adma_list *at)
{
	return adma_container_of(at, struct adma_poll_member, of_worker);
}

static struct adma_poll_member *member_of_set(struct adma_list *at)
{
	return adma_container_of(at, struct adma_poll_member, of_set);
}

/* ---- a set's descriptors; called with the lock held ---- */

static void set_close(struct adma_poll_set *set)
{
	adma_own_close(&set->eventfd, &set->own_eventfd);
	adma_own_close(&set->epoll, &set->own_epoll);
	set->stale = false;
}

static int set_open(struct adma_poll_set *set)
{
	struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
	int rc;

	if (set->epoll >= 0)
		return 0;
	set->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (set->epoll < 0)
		return -errno;
	set->eventfd = adma_event_make();
	rc = set->eventfd < 0 ? set->eventfd : 0;
	if (!rc && epoll_ctl(set->epoll, EPOLL_CTL_ADD, set->eventfd, &wake))
		rc = -errno;
	set->own_epoll = adma_own_note(set->epoll);
	set->own_eventfd = adma_own_note(set->eventfd);
	set->looked_at = set->eventfd_used_at = adma_now();
	if (rc)
		set_close(set);
	return rc;
}

static void set_close_if_unused(struct adma_poll_set *set)
{
	if (!set->busy && !set->kept && !set->size)
		set_close(set);
}

static bool set_eventfd_is_ours(struct adma_poll_set *set)
{
	return adma_own_use(&set->own_eventfd, set->eventfd, &set->eventfd_used_at);
}

/* If that fails, the waiter wakes by itself, at the end of its second. */
static void set_call(struct adma_poll_set *set)
{
	uint64_t one = 1;

	if (set->asleep &&
	    (!set_eventfd_is_ours(set) || (write(set->eventfd, &one, sizeof(one)) < 0 && errno != EAGAIN)))
		set->looked_at = 0;
}

static void set_take_call(struct adma_poll_set *set)
{
	uint64_t count;

	if (!set_eventfd_is_ours(set) || (read(set->eventfd, &count, sizeof(count)) < 0 && errno != EAGAIN))
		set->looked_at = 0;
}

/* ---- members; called with the lock held ---- */

/* It is quiet, or dozes. */
static void member_list_as_active(struct adma_poll_member *member)
{
	member->active = true;
	atomic_fetch_sub_explicit(&member->progress->watch.quiet, 1, memory_order_relaxed);
	adma_list_remove(&member->of_active);
	adma_list_push_back(&member->set->active, &member->of_active);
}

static void member_activate(struct adma_poll_member *member)
{
	/* Relaxed: it orders nothing. What was done before is seen under the lock of the channel. */
	atomic_store_explicit(&member->fresh, true, memory_order_relaxed);
	if (member->active)
		return;
	member_list_as_active(member);
	set_call(member->set);
}

/* The member leaves its channel. Its memory stays, because the waiter may be about to look at it. */
static void member_leave(struct adma_poll_member *member)
{
	struct adma_poll_set *set = member->set;

	if (!member->active)
		atomic_fetch_sub_explicit(&member->progress->watch.quiet, 1, memory_order_relaxed);
	/* Closing a descriptor does not remove it from the epoll while a child has a copy of it. */
	for (int i = 0; i < ADMA_MEMBER_FDS; i++)
		if (member->fds[i] >= 0)
			/* A number that is not ours any more does not name what is to be removed. */
			set->stale |= epoll_ctl(set->epoll, EPOLL_CTL_DEL, member->fds[i], NULL) != 0;
	adma_list_remove(&member->of_worker);
	adma_list_remove(&member->of_active);
	member->active = member->gone = true;
	set->size--;
}

/* Of the socket, the pidfd, and the kernel helper's descriptor, which tells of messages by EPOLLPRI, not of completions. */
static const uint32_t member_events[ADMA_MEMBER_FDS] = {EPOLLIN, EPOLLIN, EPOLLPRI};

static int member_poll(struct adma_poll_member *member, int which, int fd)
{
	/* A member is aligned: the number of the descriptor fits into its address. */
	struct epoll_event event = {.events = member_events[which], .data.u64 = (uintptr_t)member | (unsigned)which};

	if (fd < 0)
		return 0;
	if (epoll_ctl(member->set->epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	member->fds[which] = fd;
	return 0;
}

/* The socket may have been read to its end: then it is not polled. The channel is terminated, and so always ready. */
static int member_poll_all(struct adma_poll_member *member)
{
	const struct adma_endpoint *ep = adma_only_endpoint(member->progress);
	int fds[ADMA_MEMBER_FDS] = {
		adma_polled_sock(ep),
		adma_polled_pidfd(ep),
		ep->ops->silent ? ep->ops->data_fd(ep) : -1,
	};
	int rc = 0;

	for (int i = 0; i < ADMA_MEMBER_FDS && !rc; i++)
		rc = member_poll(member, i, fds[i]);
	return rc;
}

static int member_join(struct adma_poll_set *set, struct adma_progress *progress, struct adma_poll_member **out)
{
	struct adma_poll_member *member = calloc(1, sizeof(*member));
	int rc;

	if (!member)
		return -ENOMEM;
	member->set = set;
	member->progress = progress;
	member->wants = ADMA_WANTS_MESSAGES;
	member->active = true;
	atomic_init(&member->fresh, true);
	for (int i = 0; i < ADMA_MEMBER_FDS; i++)
		member->fds[i] = -1;
	adma_list_push_front(&progress->watch.members, &member->of_worker);
	adma_list_push_back(&set->members, &member->of_set);
	adma_list_push_back(&set->active, &member->of_active);
	set->size++;
	rc = member_poll_all(member);
	if (rc)
		member_leave(member); /* the next update frees it */
	*out = member;
	return rc;
}

static void member_free(struct adma_poll_member *member)
{
	if (!member->gone)
		member_leave(member);
	adma_list_remove(&member->of_set);
	free(member);
}

/* What was reported meanwhile may be lost: so all members have to be looked at. */
static void set_reopen(struct adma_poll_set *set)
{
	set_close(set);
	set->moved = true;
	if (set_open(set))
		return; /* the next look tries again */
	adma_list_for_each(at, &set->members) {
		struct adma_poll_member *member = member_of_set(at);

		if (member->gone)
			continue;
		for (int i = 0; i < ADMA_MEMBER_FDS; i++)
			(void)member_poll(member, i, member->fds[i]);
		member_activate(member);
	}
}

/* ---- what the channel calls ---- */

void adma_watch_init(struct adma_watch *watch)
{
	adma_list_init(&watch->members);
	atomic_init(&watch->quiet, 0);
}

bool adma_watch_is_slept_on(struct adma_watch *watch)
{
	bool slept_on = false;

	if (!adma_watch_is_quiet(watch))
		return false;
	pthread_mutex_lock(&lock);
	adma_list_for_each(at, &watch->members)
		slept_on |= member_of_worker(at)->set->asleep;
	pthread_mutex_unlock(&lock);
	return slept_on;
}

void adma_watch_activate(struct adma_watch *watch)
{
	pthread_mutex_lock(&lock);
	adma_list_for_each(at, &watch->members)
		member_activate(member_of_worker(at));
	pthread_mutex_unlock(&lock);
}

void adma_watch_leave(struct adma_watch *watch)
{
	pthread_mutex_lock(&lock);
	adma_list_for_each_safe(at, after, &watch->members) {
		struct adma_poll_set *set = member_of_worker(at)->set;

		member_leave(member_of_worker(at));
		set->lost = true;
		set_call(set);
		set_close_if_unused(set);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- what the waiter calls ---- */

bool adma_poll_set_begin(struct adma_poll_set *set)
{
	bool lost;

	pthread_mutex_lock(&lock);
	lost = set->lost;
	set->busy = !lost;
	pthread_mutex_unlock(&lock);
	return !lost;
}

void adma_poll_set_end(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	set->busy = false;
	set_close_if_unused(set);
	pthread_mutex_unlock(&lock);
}

int adma_poll_set_reserve(struct adma_poll_set *set, int32_t n)
{
	size_t most = (size_t)n, events = most * ADMA_MEMBER_FDS + 1;
	void *p;

	if (n <= set->capacity)
		return 0;
	p = realloc(set->events, events * sizeof(*set->events));
	if (!p)
		return -ENOMEM;
	set->events = p;
	p = realloc(set->looked, most * sizeof(struct adma_poll_member *));
	if (!p)
		return -ENOMEM;
	set->looked = p;
	set->capacity = n;
	return 0;
}

int adma_poll_set_restart(struct adma_poll_set *set)
{
	int rc;

	pthread_mutex_lock(&lock);
	set->busy = true;
	set->lost = false;
	set->update++;
	rc = set_open(set);
	pthread_mutex_unlock(&lock);
	return rc;
}

/* The member that the channel is, or becomes. */
static int set_find_or_join(struct adma_poll_set *set, struct adma_progress *progress, struct adma_poll_member **out)
{
	adma_list_for_each(at, &progress->watch.members) {
		*out = member_of_worker(at);
		if ((*out)->set == set)
			return 0;
	}
	return member_join(set, progress, out);
}

int adma_poll_set_name(struct adma_poll_set *set, struct adma_progress *progress, int32_t place)
{
	struct adma_poll_member *member;
	int rc;

	pthread_mutex_lock(&lock);
	rc = set_find_or_join(set, progress, &member);
	if (!rc) {
		member->place = place;
		member->update = set->update;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int adma_poll_set_keep(struct adma_poll_set *set)
{
	int32_t size;
	int rc;

	pthread_mutex_lock(&lock);
	set->kept = true;
	rc = set_open(set);
	size = set->size;
	pthread_mutex_unlock(&lock);
	if (rc || size < set->capacity)
		return rc;
	return adma_poll_set_reserve(set, 2 * size + 1);
}

int adma_poll_set_add(struct adma_poll_set *set, struct adma_progress *progress, int32_t place, uint32_t wants)
{
	struct adma_poll_member *member;
	int rc;

	pthread_mutex_lock(&lock);
	rc = set_find_or_join(set, progress, &member);
	if (!rc) {
		member->place = place;
		member->wants = wants;
		member_activate(member);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

bool adma_poll_set_has_moved(struct adma_poll_set *set)
{
	bool moved;

	pthread_mutex_lock(&lock);
	moved = set->moved;
	set->moved = false;
	pthread_mutex_unlock(&lock);
	return moved;
}

bool adma_poll_set_forget_gone(struct adma_poll_set *set)
{
	bool lost;

	pthread_mutex_lock(&lock);
	lost = set->lost;
	set->lost = false;
	if (lost)
		adma_list_for_each_safe(at, after, &set->members)
			if (member_of_set(at)->gone)
				member_free(member_of_set(at));
	if (set->stale && set->epoll >= 0)
		set_reopen(set);
	pthread_mutex_unlock(&lock);
	return lost;
}

void adma_poll_set_drop_others(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	adma_list_for_each_safe(at, after, &set->members) {
		struct adma_poll_member *member = member_of_set(at);

		if (member->gone || member->update != set->update)
			member_free(member);
	}
	if (set->stale && set->epoll >= 0)
		set_reopen(set);
	pthread_mutex_unlock(&lock);
}

static void set_look_at_fds(struct adma_poll_set *set)
{
	if (!adma_own_is(&set->own_epoll, set->epoll) || !adma_own_is(&set->own_eventfd, set->eventfd))
		set_reopen(set);
	adma_list_for_each(at, &set->members) {
		struct adma_poll_member *member = member_of_set(at);

		if (member->gone || member->fds[0] < 0 ||
		    adma_own_is(&adma_only_endpoint(member->progress)->descriptors.sock, member->fds[0]))
			continue;
		member->suspect = true;
		member_activate(member);
	}
}

void adma_poll_set_look_at_fds(struct adma_poll_set *set)
{
	int64_t now = adma_now();

	pthread_mutex_lock(&lock);
	if (now - set->looked_at >= ADMA_REST_NS) {
		set->looked_at = now;
		set_look_at_fds(set);
	}
	pthread_mutex_unlock(&lock);
}

static void set_note_event(struct adma_poll_set *set, const struct epoll_event *event)
{
	struct adma_poll_member *member = (void *)(uintptr_t)(event->data.u64 & ~(uint64_t)MEMBER_FD_MASK);

	if (!member) {
		set_take_call(set);
	} else if (!member->gone) {
		member->reported[event->data.u64 & MEMBER_FD_MASK] |= event->events;
		member->told = true;
		member_activate(member);
	}
}

/* The epoll was asked, and stored `n` events; if that is < 0, `error` is the errno. */
static void set_note_events(struct adma_poll_set *set, int n, int error)
{
	if (!n || (n < 0 && error == EINTR))
		return;
	pthread_mutex_lock(&lock);
	set->asleep = false; /* the waiter needs no call from now on */
	if (n < 0)
		set->looked_at = 0;
	for (int i = 0; i < n; i++)
		set_note_event(set, &set->events[i]);
	pthread_mutex_unlock(&lock);
}

static int set_event_room(const struct adma_poll_set *set)
{
	return set->capacity * ADMA_MEMBER_FDS + 1;
}

void adma_poll_set_collect(struct adma_poll_set *set, bool again)
{
	int n;

	if (set->collected && !again) {
		set->collected = false;
		return;
	}
	set->collected = false;
	n = epoll_wait(set->epoll, set->events, set_event_room(set), 0);
	set_note_events(set, n, errno);
}

/* Sleep on two descriptors, or for less than epoll_pwait(2) can: the next look collects what there is. */
static int set_sleep_in_poll(const struct adma_poll_set *set, int also, int64_t ns, const sigset_t *mask)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	struct pollfd fds[2] = {{.fd = set->epoll, .events = POLLIN}, {.fd = also, .events = POLLIN}};
	int rc = adma_ppoll(fds, 2, &ts, mask);

	if (rc < 0)
		return -errno;
	return rc ? 0 : -ETIMEDOUT;
}

int adma_poll_set_sleep_on_epoll(struct adma_poll_set *set, int also, int64_t ns, const sigset_t *mask)
{
	int n, error;

	if (also >= 0 || ns < EPOLL_UNIT_NS)
		return set_sleep_in_poll(set, also, ns, mask);
	n = epoll_pwait(set->epoll, set->events, set_event_room(set), (int)(ns / EPOLL_UNIT_NS), mask);
	error = errno;
	if (n < 0 && adma_is_refusal(error))
		return set_sleep_in_poll(set, also, ns, mask);
	set_note_events(set, n, error);
	set->collected = n > 0;
	if (n < 0)
		return -error;
	return n ? 0 : -ETIMEDOUT;
}

int32_t adma_poll_set_active(struct adma_poll_set *set)
{
	int32_t n = 0;

	pthread_mutex_lock(&lock);
	adma_list_for_each(at, &set->active)
		set->looked[n++] = adma_container_of(at, struct adma_poll_member, of_active);
	if (set->lost)
		n = -1;
	pthread_mutex_unlock(&lock);
	return n;
}

bool adma_poll_set_has_events(const struct adma_poll_set *set)
{
	struct epoll_event event;

	return epoll_wait(set->epoll, &event, 1, 0) > 0;
}

void adma_poll_member_rest(struct adma_poll_member *member, bool dozes)
{
	pthread_mutex_lock(&lock);
	if (!member->gone) {
		member->active = false;
		atomic_fetch_add_explicit(&member->progress->watch.quiet, 1, memory_order_relaxed);
		adma_list_remove(&member->of_active);
		if (dozes)
			adma_list_push_back(&member->set->dozing, &member->of_active);
	}
	pthread_mutex_unlock(&lock);
}

bool adma_poll_set_fall_asleep(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	set->asleep = !set->lost && adma_list_empty(&set->active);
	pthread_mutex_unlock(&lock);
	return set->asleep;
}

void adma_poll_set_wake(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	set->asleep = false;
	pthread_mutex_unlock(&lock);
}

void adma_poll_set_end_doze(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	adma_list_for_each_safe(at, after, &set->dozing) {
		struct adma_poll_member *member = adma_container_of(at, struct adma_poll_member, of_active);

		member->armed = true;
		member_list_as_active(member);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- life ---- */

struct adma_poll_set *adma_poll_set_make(void)
{
	struct adma_poll_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->epoll = set->eventfd = -1;
	adma_spin_begin(&set->backoff);
	adma_list_init(&set->members);
	adma_list_init(&set->active);
	adma_list_init(&set->dozing);
	pthread_mutex_lock(&lock);
	adma_list_push_front(&all_sets, &set->all);
	pthread_mutex_unlock(&lock);
	return set;
}

void adma_poll_set_destroy(struct adma_poll_set *set)
{
	pthread_mutex_lock(&lock);
	adma_list_for_each_safe(at, after, &set->members)
		member_free(member_of_set(at));
	set->busy = set->kept = false;
	set_close_if_unused(set);
	adma_list_remove(&set->all);
	pthread_mutex_unlock(&lock);
	free(set->events);
	free(set->looked);
	free(set);
}

/* ---- forks ---- */

void adma_poll_sets_before_fork(void)
{
	pthread_mutex_lock(&lock);
}

void adma_poll_sets_after_fork_parent(void)
{
	pthread_mutex_unlock(&lock);
}

/* The epoll is only closed, and nothing is removed from it, because the parent uses the same epoll. */
static void set_forget(struct adma_poll_set *set)
{
	set_close(set);
	adma_list_for_each(at, &set->members) {
		struct adma_poll_member *member = member_of_set(at);

		adma_list_init(&member->of_worker);
		adma_list_init(&member->of_active);
		member->gone = true;
	}
	adma_list_init(&set->active);
	adma_list_init(&set->dozing);
	set->busy = set->kept = set->asleep = false;
	set->lost = true;
	set->size = 0;
}

void adma_poll_sets_after_fork_child(void)
{
	pthread_mutex_init(&lock, NULL);
	adma_list_for_each(at, &all_sets)
		set_forget(adma_container_of(at, struct adma_poll_set, all));
}
