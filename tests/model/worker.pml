/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * worker.pml - one worker with several endpoints: is a message ever missed?
 *
 * The model is a worker with two endpoints and its summary, behind store buffers (tso.pml). Each of
 * two peers publishes messages: in its ring, then in the summary, then by the event count of the
 * pair. One thread of the worker polls by the summary, and sleeps on all sockets at once. With
 * DRIVER a second thread calls into the worker while the first one sleeps. With LIAR peer 1 changes
 * any bit of the summary at any time, so that it may name any endpoints or none whenever it is
 * read; then only the messages of peer 0 have to be found.
 *
 * A thread that sleeps while a message waits and no byte is on its way is found by monitor(). A
 * message that polling misses is found by an assertion in poll(). Switches that begin with BUG_ are
 * mutants; those that begin with WITNESS_ claim what must be refuted.
 */

/* ---- words that are shared; endpoint e is the one towards peer e ---- */

#define COUNT(e) (e)         /* event count of the pair, {events, armed:1} */
#define TAIL(e) (2 + (e))    /* messages that the peer has published */
#define TOP 4                /* summary: one bit for each of its words */
#define SUMMARY(w) (5 + (w)) /* summary: one bit for each endpoint */
#define LOCK 7               /* the worker's */
#define WORDS 8

#define ARMED 1
#define EVENT 2

#define SLEEPER 2
#define CALLER 3
#ifdef DRIVER
#define BUFFERED 4
#else
#define BUFFERED 3
#endif

#ifndef EVENTS
#define EVENTS 2 /* messages of peer 0 */
#endif
#ifndef OTHERS
#define OTHERS 1 /* messages of peer 1 */
#endif
#ifndef SOCKET
#define SOCKET 2 /* bytes that a socket takes; one more is dropped (MSG_DONTWAIT) */
#endif
#ifndef PERIOD
#define PERIOD 2 /* looks by the summary until all endpoints are looked at: a millisecond */
#endif
#ifndef CALLS
#define CALLS 2 /* of the second thread */
#endif

/* Where endpoint e has its bit. Endpoints share a word, or only the top word. */
#ifdef ONE_WORD
#define WORD_OF(e) 0
#define BIT_OF(e) (1 << (e))
#else
#define WORD_OF(e) (e)
#define BIT_OF(e) 1
#endif

/* A peer of another uid has no summary. Its ring is looked at in each round. */
#ifdef DIRECT
#define IS_DIRECT(e) ((e) == 1)
#else
#define IS_DIRECT(e) false
#endif

#ifdef LIAR
#define IS_HONEST(e) ((e) == 0)
#define LATE_ROUNDS PERIOD
#else
#define IS_HONEST(e) true
#define LATE_ROUNDS 0
#endif

#include "tso.pml"

byte wire[2];     /* bytes in the socket of each endpoint */
byte claimed[2];  /* bytes that a peer has yet to send */
byte grants[2];   /* armings that no peer took and no disarm ended */
byte finished[2]; /* messages of which all words are written */

/* Under the lock. */
byte got[2];
bool listed[2]; /* worker->to_arm: the event count may not be armed */
bool joined[2];
bool sleeping, eventfd;
bool mark_waiters; /* ADMA_MARK_WAITERS: the sleeper's request is complete */
byte copying;      /* threads that have dropped the lock, and will publish */
byte rounds;       /* by the summary, since all were looked at */

#define HAS_ALL (got[0] == EVENTS && (got[1] == OTHERS || !IS_HONEST(1)))
#define IS_SET(set, e) (((set) >> (e)) & 1)

#ifdef DRIVER
inline take_lock(t)
{
	d_step { DRAINED(t) && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

inline drop_lock(t)
{
	store(t, LOCK, 0)
}
#else
inline take_lock(t) { skip }
inline drop_lock(t) { skip }
#endif

/* ---- the event count, as in wakeup.pml ---- */

inline signal(t, e, hit)
{
	d_step {
		DRAINED(t) ->
		hit = mem[COUNT(e)] & ARMED;
		mem[COUNT(e)] = mem[COUNT(e)] + EVENT
	}
	if
	:: hit ->
		d_step {
			DRAINED(t) ->
			hit = mem[COUNT(e)] & ARMED;
			mem[COUNT(e)] = mem[COUNT(e)] & 254;
			claimed[e] = claimed[e] + hit
		}
		if
		:: hit ->
			atomic {
				assert(grants[e] > 0 || !IS_HONEST(e)); /* at most one byte for each arming */
				grants[e] = (grants[e] > 0 -> grants[e] - 1 : 0);
				claimed[e]--;
				if
				:: wire[e] < SOCKET -> wire[e]++
				:: else
				fi
			}
		:: else
		fi
	:: else
	fi
}

inline arm(t, e, seen, ok)
{
	d_step {
		DRAINED(t) ->
		ok = (mem[COUNT(e)] == seen);
		if
		:: ok && !(seen & ARMED) -> grants[e]++; mem[COUNT(e)] = seen | ARMED
		:: else
		fi
	}
}

inline disarm(t, e)
{
	d_step {
		DRAINED(t) ->
		grants[e] = (grants[e] >= (mem[COUNT(e)] & ARMED) -> grants[e] - (mem[COUNT(e)] & ARMED) : 0);
		mem[COUNT(e)] = mem[COUNT(e)] & 254
	}
}

/* ---- the summary ---- */

/* fetch_or(); `hit` is a local of the caller. */
inline set_bit(t, w, mask, hit)
{
#if defined(LIAR)
	DRAINED(t) /* whatever it sets may be changed at once */
#elif defined(BUG_SET_BY_LOAD)
	/* Saves the read-modify-write when the bit looks set. */
	hit = (LOAD(t, w) & (mask) -> true : false);
	if
	:: hit
	:: else ->
		d_step { DRAINED(t) -> mem[w] = mem[w] | (mask) }
	fi;
	hit = false
#else
	d_step { DRAINED(t) -> mem[w] = mem[w] | (mask) }
#endif
}

inline set_bits(t, e, hit)
{
	if
	:: IS_DIRECT(e)
	:: else ->
#ifdef BUG_TOP_FIRST
		set_bit(t, TOP, 1 << WORD_OF(e), hit);
		set_bit(t, SUMMARY(WORD_OF(e)), BIT_OF(e), hit)
#else
		set_bit(t, SUMMARY(WORD_OF(e)), BIT_OF(e), hit);
		set_bit(t, TOP, 1 << WORD_OF(e), hit)
#endif
	fi
}

inline exchange(t, w, old)
{
	d_step { DRAINED(t) -> old = mem[w]; mem[w] = 0 }
}

/* The endpoints that the summary names, as a set in `named`. */
inline take_summary(t)
{
#ifdef LIAR
	if
	:: named = 0
	:: named = 1
	:: named = 2
	:: named = 3
	fi
#else
#ifdef BUG_CLEAR_TOP_LATE
	bits = LOAD(t, TOP);
#else
	exchange(t, TOP, bits);
#endif
	if
	:: bits & 1 -> exchange(t, SUMMARY(0), named)
	:: else
	fi;
#ifndef ONE_WORD
	if
	:: bits & 2 ->
		exchange(t, SUMMARY(1), word);
		d_step { named = named | (word << 1); word = 0 }
	:: else
	fi;
#endif
#ifdef BUG_CLEAR_TOP_LATE
	exchange(t, TOP, bits);
#endif
	d_step { bits = 0; named = named | (IS_DIRECT(1) << 1) }
#endif
}

/* ---- looking; all with the lock ---- */

/* adma_endpoint_advance() of one endpoint. It takes all that is there. */
inline look(t, e)
{
	d_step {
		value = LOAD(t, TAIL(e));
		if
		:: joined[e] ->
			if
			:: value > got[e] ->
#ifdef BUG_TAKE_ONE
				/* Takes one message, and forgets that there may be more. */
				got[e]++;
#else
				got[e] = value;
#endif
				found = true;
				mark_waiters = mark_waiters || HAS_ALL
			:: else
			fi;
#ifndef LAZY
			listed[e] = true
#endif
		:: else
		fi;
		value = 0
	}
}

inline look_at(t, set)
{
	if
	:: IS_SET(set, 0) -> look(t, 0)
	:: else
	fi;
	if
	:: IS_SET(set, 1) -> look(t, 1)
	:: else
	fi;
	set = 0
}

/* adma_peer_check() of all sockets that have something; those endpoints are looked at whatever the summary says. */
inline read_sockets(t)
{
	d_step {
		named = (wire[0] > 0) | ((wire[1] > 0) << 1);
#ifndef BUG_RUNG_UNLISTED
		listed[0] = listed[0] || wire[0] > 0;
		listed[1] = listed[1] || wire[1] > 0;
#endif
		wire[0] = 0;
		wire[1] = 0
	}
	look_at(t, named)
}

/* One round of progress: by the summary, or after some of these, over all endpoints. */
inline advance(t)
{
	if
#ifdef BUG_NO_FULL_LOOK
	:: true ->
#else
	:: rounds < PERIOD -> rounds++;
#endif
		take_summary(t);
		look_at(t, named)
#ifndef BUG_NO_FULL_LOOK
	:: else ->
		d_step { rounds = 0; named = 3 }
		look_at(t, named)
#endif
	fi
}

/* ---- the peers ---- */

proctype peer(byte me, messages)
{
	byte k;
	bool hit;

	do
	:: k < messages ->
		atomic { k++; store(me, TAIL(me), k) }
#ifdef BUG_BIT_LATE
		signal(me, me, hit);
		hit = false;
		set_bits(me, me, hit);
#else
		set_bits(me, me, hit);
		signal(me, me, hit);
#endif
		d_step { hit = false; finished[me] = k }
	:: else -> break
	od
}

/* Peer 1 may also send bytes and disarm for no reason, but that belongs to its own pair. */
proctype liar()
{
end:
	do
	:: d_step { mem[COUNT(1)] & ARMED -> mem[COUNT(1)] = mem[COUNT(1)] & 254; grants[1] = 0 }
	:: d_step { wire[1] == 0 -> wire[1] = 1 }
	od
}

/* ---- the thread that waits ---- */

/* Look by the summary or at all. What was finished before the round has to be found, by peers that lie in time. */
inline poll(t)
{
	d_step { want[0] = finished[0]; want[1] = (joined[1] -> finished[1] : 0) }
	advance(t);
	d_step {
		late[0] = (got[0] < want[0] -> late[0] + 1 : 0);
		late[1] = (got[1] < want[1] && IS_HONEST(1) -> late[1] + 1 : 0);
		assert(late[0] <= LATE_ROUNDS && late[1] <= LATE_ROUNDS);
		want[0] = 0;
		want[1] = 0;
		found = false
	}
}

/* An endpoint that is listed is looked at and armed. The others are armed, or a byte is on its way. */
inline prepare_one(t, e)
{
	if
	:: ok && listed[e] ->
#ifdef BUG_ARM_UNLOOKED
		seen = LOAD(t, COUNT(e));
#elif defined(BUG_ARM_FRESH)
		look(t, e);
		seen = LOAD(t, COUNT(e));
#else
		seen = LOAD(t, COUNT(e));
		look(t, e);
#endif
		if
		:: found -> ok = false
#ifdef BUG_SKIP_DISARMED
		:: !found && !(seen & ARMED)
		:: !found && (seen & ARMED) ->
#else
		:: else ->
#endif
			arm(t, e, seen, ok);
			listed[e] = !ok
		fi;
		d_step { seen = 0; found = false }
	:: else
	fi
}

#ifdef TRUST
/* Trusts the summary: an endpoint that it does not name is armed without a look at its ring. */
inline prepare(t)
{
	seen = LOAD(t, COUNT(0));
	seen1 = LOAD(t, COUNT(1));
	take_summary(t);
	look_at(t, named);
	ok = !found;
	found = false;
	if
	:: ok && listed[0] -> arm(t, 0, seen, ok); listed[0] = !ok
	:: else
	fi;
	if
	:: ok && listed[1] -> arm(t, 1, seen1, ok); listed[1] = !ok
	:: else
	fi;
	d_step { seen = 0; seen1 = 0 }
}
#else
inline prepare(t)
{
	ok = true;
	prepare_one(t, 0);
	prepare_one(t, 1)
}
#endif

/* sleep_prepare(), one epoll_pwait() on all sockets and the eventfd, sleep_finish() */
inline sleep(t)
{
	prepare(t);
	if
	:: ok && !HAS_ALL ->
		d_step { sleeping = true; mark_waiters = false; ok = false }
		drop_lock(t);
#ifdef WITNESS_SLEEPS_AGAIN
		assert(got[0] == 0 || got[1] == 0);
#endif
		(wire[0] > 0 || wire[1] > 0 || eventfd);
		take_lock(t);
		d_step { sleeping = false; eventfd = false }
#ifdef DISARM
		disarm(t, 0);
		disarm(t, 1);
#ifndef BUG_DISARM_UNLISTED
		d_step { listed[0] = true; listed[1] = joined[1] }
#endif
#endif
		read_sockets(t);
		found = false
	:: else -> ok = false
	fi
}

proctype sleeper()
{
	byte seen, value, bits, word, named;
	byte want[2], late[2];
#ifdef TRUST
	byte seen1;
#endif
	bool ok, found;

	take_lock(SLEEPER);
	do
	:: HAS_ALL -> break
	:: else ->
		if
		:: true ->
			poll(SLEEPER);
#ifdef DRIVER
			drop_lock(SLEEPER);
			take_lock(SLEEPER)
#endif
		:: true -> sleep(SLEEPER)
		fi
	od;
	drop_lock(SLEEPER)
}

/* ---- the thread that drives meanwhile ---- */

#ifdef DRIVER

/* publish_arm() over worker->to_arm. It may give up, and then wakes the sleeper. */
inline publish_one(t, e)
{
	do
	:: !listed[e] -> break
	:: listed[e] ->
		seen = LOAD(t, COUNT(e));
		look(t, e);
		if
		:: !found -> arm(t, e, seen, ok); listed[e] = !ok
		:: else
		fi;
		d_step { found = false; ok = false; seen = 0 }
	:: listed[e] -> eventfd = true; break /* ARM_TRIES */
	od
}

inline wake_marked()
{
	d_step {
		eventfd = eventfd || (mark_waiters && sleeping);
		mark_waiters = false
	}
}

inline publish(t)
{
	wake_marked();
	if
	:: sleeping ->
		publish_one(t, 0);
#ifndef BUG_PUBLISH_FIRST
		publish_one(t, 1);
#endif
		wake_marked()
	:: else
	fi;
#ifdef BUG_LIST_CLEARED
	/* What nobody waits for is forgotten, as the marks are. */
	d_step { listed[0] = false; listed[1] = false }
#endif
	mark_waiters = false
}

proctype driver()
{
	byte k, seen, value, bits, word, named;
	bool ok, found;

	do
	:: k < CALLS ->
		k++;
		take_lock(CALLER);
#ifdef WITNESS_FOR_SLEEPER
		assert(!(sleeping && wire[0] == 0 && wire[1] == 0 && !(mem[COUNT(0)] & ARMED)));
#endif
		if
		:: !joined[1] ->
			/* A peer has connected: adma_accept() or adma_connect() */
			joined[1] = true;
#ifdef BUG_JOIN_UNLISTED
			look(CALLER, 1);
			listed[1] = false
#elif defined(BUG_JOIN_UNLOOKED)
			/* What the peer published before has no bit any more. */
			listed[1] = true
#else
			look(CALLER, 1);
			listed[1] = true
#endif
		:: joined[1] -> advance(CALLER)
		:: joined[1] -> read_sockets(CALLER)
		fi;
		found = false;
		if
		:: true ->
			/* It copies a chunk without the lock. */
			wake_marked();
			copying++;
			drop_lock(CALLER);
			take_lock(CALLER);
			copying--
		:: true
		fi;
#ifndef BUG_NO_PUBLISH
		publish(CALLER);
#endif
		drop_lock(CALLER)
	:: else -> break
	od
}
#endif

#define NO_WAKE (wire[0] == 0 && wire[1] == 0 && !eventfd)
#define UNARMED(e) (joined[e] && IS_HONEST(e) && !(mem[COUNT(e)] & ARMED) && claimed[e] == 0)
#define LOST(e) (joined[e] && IS_HONEST(e) && claimed[e] == 0 && got[e] < finished[e])

/*
 * The invariant of progress/waiters.h for each endpoint: whenever the lock is free and the thread
 * sleeps, the event count is armed, or a byte is on its way, or the eventfd is readable, or a
 * thread is in a call that will publish. And no message of an honest peer waits for nobody.
 */
proctype monitor()
{
end:
	atomic {
		mem[LOCK] == 0 && copying == 0 && sleeping && NO_WAKE &&
		(UNARMED(0) || UNARMED(1) || LOST(0) || LOST(1)) ->
		assert(false)
	}
}

init
{
	byte t;

	atomic {
		do
		:: t < BUFFERED -> run memory(t); t++
		:: else -> break
		od;
		t = 0;
		joined[0] = true;
		listed[0] = true;
#ifndef JOIN
		joined[1] = true;
		listed[1] = true;
#endif
		run peer(0, EVENTS);
		run peer(1, OTHERS);
		run sleeper();
#ifdef DRIVER
		run driver();
#endif
#ifdef LIAR
		run liar();
#endif
		run monitor()
	}
}
