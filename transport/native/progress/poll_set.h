/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll_set.h - the members of poll sets, and the epoll of each set. include/adma_poll.h tells what a
 * poll set is for.
 *
 * A member is either *quiet* or *active*. Invariant: whenever the lock of the channel is free and a
 * member is quiet, there is nothing for its waiter to see, and the event count of the channel is
 * armed; or what tells of the news is readable on a descriptor in the epoll of the set. An active
 * member has to be looked at before its waiter sleeps. So a quiet member costs its waiter nothing.
 *
 * A thread that looks at a channel and arms its event count may make a member quiet. A thread that
 * changes a channel restores the invariant in adma_publish(): for a waiter that sleeps, it arms the
 * event count; a waiter that is awake will look itself, so the member becomes active.
 *
 * The epoll of a set has the sockets, pidfds and kernel helper's descriptors of its members, and is
 * level-triggered: a descriptor is reported until somebody has read what is there. So no event is
 * lost when several threads read one socket. It does not have the descriptor of fileno(): while
 * that one is open the event count is always armed, and then each message costs a byte on the socket, even
 * if its reader is awake. An eventfd in the same epoll is for local wake-ups.
 *
 * One lock guards the lists of all poll sets. It is a leaf: it may be taken while the lock of a
 * channel is held, and nothing is taken while it is held. (If each set had a lock of its own, then
 * a channel that closes and a set that drops it would need each other's locks in opposite orders.)
 */
#ifndef ADMA_PROGRESS_POLL_SET_H
#define ADMA_PROGRESS_POLL_SET_H

#include <stdint.h>
#include <sys/epoll.h>

#include "progress/progress.h"

enum { ADMA_MEMBER_FDS = 3 };

struct adma_poll_member {
	struct adma_poll_set *set;
	struct adma_progress *progress; /* of the channel */
	int fds[ADMA_MEMBER_FDS]; /* in the epoll; -1: none */
	int32_t place;            /* of the channel, in the order of the caller */
	uint32_t wants;           /* enum adma_wants: what the waiter looks for; only for the waiter */
	uint32_t reported[ADMA_MEMBER_FDS]; /* what the epoll has told since the last look; only for the waiter */
	bool told;                /* it has told something since then; only for the waiter */
	bool suspect;             /* its socket may not be ours any more; only for the waiter */
	uint32_t idle_looks;      /* how many looks in a row have found nothing; only for the waiter */
	uint64_t update;          /* the last update that named the channel; only for the waiter */
	_Atomic bool fresh; /* it became active since the last look, which may be at what another thread has done */
	bool active; /* guarded by the lock, as are the lists */
	bool gone; /* the channel has left; nothing may use `progress` any more */
	bool armed; /* its event count may be, though it is active: it dozed; only for the waiter */
	struct adma_list of_worker;
	struct adma_list of_set;
	struct adma_list of_active; /* or of those that doze */
};

struct adma_poll_set {
	int epoll, eventfd; /* -1 while there are no members */
	struct adma_own own_epoll, own_eventfd;
	int64_t eventfd_used_at; /* when the eventfd was last used, or looked at */
	int64_t looked_at; /* when the descriptors were last looked at; 0: there is a reason to look */
	bool stale; /* the epoll may tell of a member that is gone: it is replaced before that is freed */
	bool busy; /* the waiter is in a call: it closes the descriptors, if that has to be done */
	bool asleep; /* the waiter sleeps, or is about to */
	bool lost; /* a channel has left since the last update */
	bool kept; /* an event loop polls the epoll: it is not closed before the set is freed */
	bool moved; /* they were closed by somebody else and opened anew since the loop was told */
	bool collected; /* a sleep has just collected what the epoll reports; only for the waiter */
	int32_t size; /* members, those that are gone not counted */
	struct adma_list members;
	struct adma_list active;
	struct adma_list dozing; /* quiet, only because their event loop was about to sleep */
	struct adma_list all; /* poll sets of this process */
	/* The rest is only for the waiter. */
	uint64_t update;
	struct adma_backoff backoff; /* how long to spin before a sleep */
	int64_t spin_end; /* an event loop looks again and again until then; 0: it has just found something */
	int64_t rests_since; /* an event loop may sleep since then; 0: it has to look */
	int64_t spun_ns; /* for so long calls of tasks have spun since the last turn of the event loop */
	uint32_t spins_in_vain, spins_to_skip; /* in a row; and of those that come next */
	int32_t capacity; /* of the two arrays: how many members they have room for */
	struct epoll_event *events;
	struct adma_poll_member **looked;
};

/* ---- calls of the waiter; it holds no lock, unless the comment says so ---- */

/* Calls of the waiter begin and end with these. False: a channel has left. (Then there is nothing to end.) */
bool adma_poll_set_begin(struct adma_poll_set *set);
void adma_poll_set_end(struct adma_poll_set *set);

/* Make room for n members. 0 or -ENOMEM. */
int adma_poll_set_reserve(struct adma_poll_set *set, int32_t n);

/* A new update begins: no member is named by it so far. The descriptors are opened. 0 or a negated errno. */
int adma_poll_set_restart(struct adma_poll_set *set);

/* Name a channel, which joins if it is no member. Called with the channel's lock held. 0 or a negated errno. */
int adma_poll_set_name(struct adma_poll_set *set, struct adma_progress *progress, int32_t place);

/* Drop the members that the update did not name, and those that are gone. */
void adma_poll_set_drop_others(struct adma_poll_set *set);

/*
 * For event loops: name one more channel, and say what is wanted of it (enum adma_wants). It is active then. Called with the
 * channel's lock held. 0 or a negated errno.
 */
int adma_poll_set_add(struct adma_poll_set *set, struct adma_progress *progress, int32_t place, uint32_t wants);

/* For event loops: open the descriptors, which are kept from now on, and make room for one more member. 0 or a negated errno. */
int adma_poll_set_keep(struct adma_poll_set *set);

/* For event loops: has the set other descriptors than when this was last called? */
bool adma_poll_set_has_moved(struct adma_poll_set *set);

/* For event loops: forget the members that are gone. True: there were some since this was last called. */
bool adma_poll_set_forget_gone(struct adma_poll_set *set);

/*
 * Look, at most once a second, whether the descriptors of the set and the sockets of its members are still ours
 * (base/own.h). Those of the set are opened anew if not; a member that may have lost its socket becomes active.
 */
void adma_poll_set_look_at_fds(struct adma_poll_set *set);

/*
 * Take note of what the epoll reports now: these members become active. `again`: ask it even if a sleep has done so just
 * now.
 */
void adma_poll_set_collect(struct adma_poll_set *set, bool again);

/*
 * Sleep on the epoll for `ns`, under a signal mask, and take note of what it reports. `also`: a descriptor that ends the
 * sleep when it is readable, or -1. 0: something happened; -ETIMEDOUT: nothing did, and less time may have passed; or
 * another negated errno. Called between adma_poll_set_fall_asleep() and adma_poll_set_wake().
 */
int adma_poll_set_sleep_on_epoll(struct adma_poll_set *set, int also, int64_t ns, const sigset_t *mask);

/* Store the active members in set->looked. Returns their number, or -1: a channel has left. */
int32_t adma_poll_set_active(struct adma_poll_set *set);

/* Does the epoll report anything? */
bool adma_poll_set_has_events(const struct adma_poll_set *set);

/*
 * The member was seen to be idle, and the event count was armed. `dozes`: only because its event loop is about to sleep. Called
 * with the lock of its channel held.
 */
void adma_poll_member_rest(struct adma_poll_member *member, bool dozes);

/* For event loops, which was woken: members that doze are active again. */
void adma_poll_set_end_doze(struct adma_poll_set *set);

/* The waiter is about to sleep on the epoll. False: a member is active, or has left, so it must not. */
bool adma_poll_set_fall_asleep(struct adma_poll_set *set);
void adma_poll_set_wake(struct adma_poll_set *set);

/* ---- calls of the channel; its lock is held ---- */

void adma_watch_init(struct adma_watch *watch);

/* Is any member quiet, so that the event count has to stay armed? */
static inline bool adma_watch_is_quiet(const struct adma_watch *watch)
{
	/* Relaxed: the lock of the channel orders it with what made a member quiet. */
	return atomic_load_explicit(&watch->quiet, memory_order_relaxed) > 0;
}

/* Does the waiter of any quiet member sleep? Only a hint, because it may wake at any time. */
bool adma_watch_is_slept_on(struct adma_watch *watch);

/* All members become active, and those of their waiters that sleep are woken. */
void adma_watch_activate(struct adma_watch *watch);

/* The channel closes: it leaves all poll sets, and waiters that sleep are woken. */
void adma_watch_leave(struct adma_watch *watch);

/* ---- forks ---- */

void adma_poll_sets_before_fork(void);
void adma_poll_sets_after_fork_parent(void);

/* In the child: all sets are empty, and their descriptors are closed. Channels are not looked at. */
void adma_poll_sets_after_fork_child(void);

/* ---- life ---- */

struct adma_poll_set *adma_poll_set_make(void);
void adma_poll_set_destroy(struct adma_poll_set *set);

#endif
