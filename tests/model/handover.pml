/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover.pml - who makes progress on a channel: is anything ever left to nobody?
 *
 * The model is one channel of one process, behind store buffers (tso.pml). A caller comes in, owns
 * the channel, maybe sleeps, and releases it, a few times; then it computes for ever. After that
 * the progress thread has to see to what is pending: to events, which the peer publishes and
 * signals, and to chunks, which signal no event count. A visitor comes in once for something else.
 * With WORKER a copy worker thread assists the progress thread once that has begun to copy. With
 * QUERY a thread takes the lock and releases it, and does nothing else.
 *
 * A run that stops while an event is unconsumed, or a chunk is not copied, or was copied and nobody
 * took note of it, is an invalid end state: nobody is there who will. With HELD_UP a page may hold up
 * the progress thread in a chunk, once, for a while or for ever. Then the thread that stands by takes
 * over, and all but that chunk has to be seen to. Switches that begin with BUG_ are mutants; those that
 * begin with WITNESS_ claim what must be refuted.
 */

#define COUNT 0 /* the event count: {events, armed:1} */
#define TAIL 1  /* events published */
#define LOCK 2  /* the channel's */
#define WORDS 3

#define ARMED 1
#define EVENT 2

#define PEER 0
#define CALLER 1
#define PROGRESS 2
#define VISITOR 3
#define ASSISTANT 4
#define STANDBY 4 /* WORKER and HELD_UP are not searched together */
#if defined(WORKER) || defined(HELD_UP)
#define BUFFERED 5
#else
#define BUFFERED 4
#endif

#ifndef EVENTS
#define EVENTS 2 /* that the peer publishes */
#endif
#ifndef CALLS
#define CALLS 2 /* of the caller */
#endif
#ifndef CHUNKS
#define CHUNKS 1 /* that each event brings: a match, say */
#endif

#include "tso.pml"

byte wire; /* bytes in the socket */

/* Under the lock. */
byte consumed, chunks; /* events that were taken note of; chunks to be claimed */
byte copying;          /* claimed, and being copied without the lock */
byte held_up;          /* of these, the one that a page holds up */
bool copied;           /* some were, and nobody took note yet: the last of them may have ended the request */
byte owners;
bool delegated, sleeping, pending, gone;
bool eventfd;
bool mark_waiters; /* ADMA_MARK_WAITERS */
bool mark_rearm;   /* ADMA_MARK_REARM */

/*
 * Under the registry's lock: the channel is to be visited; the thread that serves visits it; its socket is
 * polled; and which thread serves.
 */
bool called, in_use, polled;
byte serving = PROGRESS;
bool oneshot;    /* what the kernel makes of polled: EPOLLONESHOT, spent by an event */
bool listed;     /* the channel is listed in the engine's schedule, for copy workers to assist */
bool signalling; /* the peer has yet to send a byte */

#define NEEDS (pending && (consumed < EVENTS || chunks > 0 || copying > 0 || copied))
#define THROUGH (consumed == EVENTS && chunks == 0 && copying == held_up && !copied)
#define IS_VISIT(t) ((t) == PROGRESS || (t) == STANDBY)

inline take_lock(t)
{
	d_step { DRAINED(t) && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

inline drop_lock(t)
{
	store(t, LOCK, 0)
}

/* ---- shm/eventcount.h, as wakeup.pml proves it ---- */

inline signal(t, hit)
{
	d_step {
		DRAINED(t) ->
		hit = mem[COUNT] & ARMED;
		signalling = hit;
		mem[COUNT] = (mem[COUNT] + EVENT) & 254
	}
	if
	:: hit -> atomic { wire++; signalling = false }
	:: else
	fi;
	hit = false
}

inline arm(t, seen, ok)
{
	d_step {
		DRAINED(t) ->
		ok = (mem[COUNT] == seen);
		if
		:: ok -> mem[COUNT] = seen | ARMED
		:: else
		fi
	}
}

inline disarm(t)
{
	d_step { DRAINED(t) -> mem[COUNT] = mem[COUNT] & 254 }
}

/* ---- the marks, publishing, and ownership; all with the lock ---- */

/* adma_waiters_wake_marked() */
inline wake_marked()
{
	d_step {
		eventfd = eventfd || (mark_waiters && sleeping);
		mark_waiters = false
	}
}

/* adma_endpoint_advance(): what was published is taken note of, and brings chunks. */
inline advance(t)
{
	value = LOAD(t, TAIL);
	d_step {
		found = value > consumed;
		chunks = chunks + (value - consumed) * CHUNKS;
		consumed = value;
		found = found || (copied && copying == held_up);
		copied = copied && copying > held_up;
		mark_waiters = mark_waiters || found;
		mark_rearm = true;
		value = 0
	}
}

/* One chunk is claimed with the lock and copied without it. Afterwards chunk_relock() marks. */
inline copy_one(t)
{
	wake_marked();
	d_step { chunks--; copying++ }
	drop_lock(t);
	take_lock(t);
	d_step {
		copying--;
		copied = true;
#ifndef BUG_NO_REMARK
		mark_rearm = true
#endif
	}
}

inline delegation_end(t)
{
	delegated = false;
	if
	:: !sleeping -> disarm(t)
	:: else
	fi
}

/* adma_progress_poll() */
inline progress_poll(t)
{
	d_step {
		DRAINED(t) ->
		oneshot = oneshot || !polled; /* a system call is made only where it seems to be needed */
		polled = true
	}
}

inline delegation_rearm(t)
{
	if
	:: !NEEDS -> delegation_end(t)
	:: else ->
#ifndef BUG_NO_CALL
		d_step {
			DRAINED(t) ->
			called = called || (chunks > 0 && !IS_VISIT(t))
		}
#endif
#ifdef BUG_POLL_ONCE
		/* The progress thread forgets on its own way out that what is polled fires once. */
		if
		:: !IS_VISIT(t) -> progress_poll(t)
		:: else
		fi
#else
		progress_poll(t)
#endif
	fi
}

/* adma_publish(). `cares` is false for a mutant that publishes for sleepers only. */
inline publish(t, cares)
{
	wake_marked();
	if
	:: mark_rearm && (sleeping || (delegated && cares)) ->
		do
		:: true ->
			seen = LOAD(t, COUNT);
			advance(t);
#ifdef BUG_ARM_FRESH
			seen = LOAD(t, COUNT);
#endif
			if
			:: !found -> arm(t, seen, ok)
			:: else -> ok = false
			fi;
			if
			:: ok -> break
			:: else
			fi
		od;
		seen = 0;
		ok = false;
		wake_marked();
		eventfd = eventfd || (sleeping && chunks > 0);
		if
		:: delegated && cares -> delegation_rearm(t)
		:: else
		fi
	:: else
	fi;
	d_step { mark_waiters = false; mark_rearm = false }
}

inline acquire(t)
{
	owners++;
	if
	:: delegated -> delegation_end(t)
	:: else
	fi
}

/* adma_ownership_release() for good, with adma_ownership_hand_over() */
inline release()
{
	owners--;
	delegated = delegated || (NEEDS && owners == 0);
	mark_rearm = true
}

/* ---- the threads ---- */

proctype peer()
{
	byte k;
	bool hit;

	do
	:: k < EVENTS ->
		k++;
		store(PEER, TAIL, k);
		signal(PEER, hit)
	:: else -> break
	od
}

/*
 * sleep_prepare(), ppoll(), sleep_finish(): the caller is woken, or its time is up. A thread that
 * is about to sleep has just looked and armed, so it clears the marks.
 */
inline sleep(t)
{
	seen = LOAD(t, COUNT);
	advance(t);
	if
	:: !found && chunks == 0 ->
		arm(t, seen, ok);
		if
		:: ok ->
			sleeping = true;
			d_step { DRAINED(t) -> polled = false; oneshot = false } /* adma_progress_unpoll() */
			wake_marked();
			mark_rearm = false;
			drop_lock(t);
			if
			:: wire > 0 || eventfd
			:: true /* its time is up */
			fi;
			take_lock(t);
			sleeping = false;
			eventfd = false;
			disarm(t);
			wire = 0;
			ok = false
		:: else
		fi
	:: else
	fi;
	found = false;
	seen = 0
}

proctype caller()
{
	byte k, seen, value, sleeps;
	bool ok, found;

	do
	:: k < CALLS ->
		k++;
		sleeps = 0;
		take_lock(CALLER);
		acquire(CALLER);
		pending = true; /* the first call posts */
		advance(CALLER);
		do
		:: chunks > 0 -> copy_one(CALLER)
		:: sleeps < 2 -> sleeps++; sleep(CALLER)
		:: break
		od;
		found = false;
		release();
#ifndef BUG_RELEASE_BARE
		publish(CALLER, true);
#endif
		drop_lock(CALLER)
	:: else -> break
	od;
	gone = true
}

/* Looks into the channel for something else, and reads the socket empty on its way. */
proctype visitor()
{
	byte seen, value;
	bool ok, found;

	take_lock(VISITOR);
	wire = 0;
	advance(VISITOR);
	found = false;
#if defined(BUG_NO_PUBLISH)
#elif defined(BUG_VISITOR_BARE)
	publish(VISITOR, false);
#else
	publish(VISITOR, true);
#endif
	drop_lock(VISITOR)
}

/*
 * adma_health() and the like: takes the lock, and releases it. It stores nothing that others
 * could see late, so it needs no store buffer.
 */
proctype query()
{
	d_step { mem[LOCK] == 0 -> mem[LOCK] = 1 }
	mem[LOCK] = 0
}

/*
 * thread_serve() and thread_visit() around adma_visit(), without its policy. The thread that stands by begins
 * where it takes over: standby_take_over().
 */
proctype progress(byte t)
{
	byte seen, value;
	bool ok, found, again;

	if
	:: t == STANDBY ->
end_stands_by:
		held_up == 1;
		d_step {
			serving = t;
			in_use = false
#ifndef BUG_NO_CALL_AGAIN
			;
			called = true
#endif
		}
	:: else
	fi;
	do
	:: serving != t || (gone && THROUGH) -> break
	:: serving == t && (called || (oneshot && wire > 0)) ->
		/* The registry's lock is held once for epoll_take_events() and the beginning of thread_visit(). */
		d_step {
#ifndef BUG_STILL_POLLED
			polled = polled && !(oneshot && wire > 0);
#endif
			oneshot = oneshot && wire == 0;
#ifndef BUG_CLEAR_CALL_LATE
			called = false;
#endif
			in_use = true
		}
		take_lock(t);
		wire = 0;
#ifdef WITNESS_TAKEN_BACK
		assert(delegated);
#endif
		advance(t);
		found = false;
		do
#ifdef BUG_IN_THE_WAY
		:: chunks > 0 -> assert(owners == 0); copy_one(t); advance(t); found = false
#else
#ifdef HELD_UP
		:: delegated && chunks > 0 && t == PROGRESS && serving == t ->
			wake_marked();
			d_step { chunks--; copying++; held_up = 1 }
			drop_lock(t);
			serving != t; /* what does not last so long is copy_one() */
			if
			:: true -> /* the page comes */
#ifdef WITNESS_GOES_ON
				assert(!(gone && THROUGH));
#endif
				take_lock(t);
				d_step { copying--; held_up = 0; copied = true; mark_rearm = true };
				advance(t);
				found = false
			:: true ->
end_for_ever:
				false
			fi
#endif
		:: delegated && chunks > 0 ->
			assert(owners == 0);
#ifdef WITNESS_STOOD_IN
			assert(serving == PROGRESS);
#endif
#ifdef WITNESS_COPIED
			assert(!gone);
#endif
			copy_one(t);
			listed = listed || (delegated && chunks > 0); /* adma_policy_ask_assist() */
			advance(t);
			found = false
#endif
		:: else -> break
		od;
		/* adma_publish(), then adma_policy_next(), and then the lock is dropped. */
		publish(t, true);
#ifdef BUG_NO_AGAIN
		again = false;
#else
		again = delegated && chunks > 0;
#endif
		drop_lock(t);
		d_step {
			DRAINED(t) ->
#ifdef BUG_CLEAR_CALL_LATE
			called = again
#else
			called = called || again
#endif
			;
			in_use = in_use && serving != t;
			again = false
		}
	od
}

/*
 * adma_visit_assist(), as long as the channel is listed. The code looks after the chunk. With
 * LOOK_FIRST it looks before, and leaves the look after the chunk to adma_publish(), which has to
 * find a mark for that.
 */
proctype worker()
{
	byte seen, value;
	bool ok, found;

	do
	:: gone && THROUGH -> break
	:: listed ->
		take_lock(ASSISTANT);
		if
		:: delegated && chunks > 0 ->
			assert(owners == 0);
#ifdef LOOK_FIRST
			advance(ASSISTANT);
			found = false;
#endif
#ifdef WITNESS_ASSISTED
			assert(copying == 0);
#endif
			copy_one(ASSISTANT);
#if !defined(BUG_ASSIST_BARE) && !defined(LOOK_FIRST)
			advance(ASSISTANT);
			found = false
#endif
		:: else -> listed = false
		fi;
#ifndef BUG_ASSIST_BARE
		publish(ASSISTANT, true);
#endif
		drop_lock(ASSISTANT)
	od
}

/* The invariant of progress/ownership.h. */
proctype monitor()
{
end:
	atomic {
		mem[LOCK] == 0 && delegated && NEEDS && !called && !in_use &&
		!(oneshot && (mem[COUNT] & ARMED || wire > 0 || signalling)) ->
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
		run peer();
		run caller();
		run progress(PROGRESS);
#ifdef HELD_UP
		run progress(STANDBY);
#endif
		run visitor();
#ifdef QUERY
		run query();
#endif
#ifdef WORKER
		run worker();
#endif
#ifdef MONITOR
		run monitor()
#endif
	}
}
