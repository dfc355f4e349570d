/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover.pml - who sees to a channel: is anything ever left to nobody?
 *
 * One channel of one process, behind store buffers (tso.pml). A caller comes
 * in, attends, maybe sleeps, and leaves, a few times; then it computes for ever. The mover has to
 * see to what is pending then: events that the peer publishes and rings for, and
 * chunks, which ring no bell. A visitor comes in once for something else. With QUEUE a queue of the
 * copy engine helps the mover once that has begun to copy.
 *
 * A run that stops while an event is unconsumed, or a chunk not copied, or copied and not taken note of,
 * is an invalid end state: nobody is there who will. Switches that begin with BUG are mutants.
 */

#define BELL 0  /* {events, armed:1} */
#define TAIL 1  /* events published */
#define LOCK 2  /* the channel's */
#define WORDS 3

#define ARMED 1
#define EVENT 2

#define PEER 0
#define CALLER 1
#define MOVER 2
#define VISITOR 3
#define HELPER 4
#ifdef QUEUE
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

#ifdef BUG_HELP_BARE
#define HELPER_SETTLES false
#else
#define HELPER_SETTLES true
#endif

#include "tso.pml"

byte wire; /* bytes in the socket */

/* Under the lock. */
byte consumed, chunks; /* events taken note of; chunks to be claimed */
byte copying;          /* claimed, being copied without the lock */
bool copied;           /* some were, since somebody took note: the last of them may have ended the request */
byte attending;
bool watched, sleeping, pending, gone;
bool eventfd;

/* The book's: called is the line of channels to look at, pinned what the mover is at. */
bool called, pinned, polled;
bool oneshot; /* what the kernel makes of polled: EPOLLONESHOT, spent by an event */
bool lent;    /* the channel stands in the engine's lines */
bool ringing; /* the peer has yet to send a byte */

#define NEEDS (pending && (consumed < EVENTS || chunks > 0 || copying > 0 || copied))
#define THROUGH (consumed == EVENTS && chunks == 0 && copying == 0 && !copied)

inline take_lock(t)
{
	d_step { DRAINED(t) && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

inline drop_lock(t)
{
	store(t, LOCK, 0)
}

/* ---- bell.h, as wakeup.pml proves it ---- */

inline ring(t, hit)
{
	d_step {
		DRAINED(t) ->
		hit = mem[BELL] & ARMED;
		ringing = hit;
		mem[BELL] = (mem[BELL] + EVENT) & 254
	}
	if
	:: hit -> atomic { wire++; ringing = false }
	:: else
	fi;
	hit = false
}

inline arm(t, seen, ok)
{
	d_step {
		DRAINED(t) ->
		ok = (mem[BELL] == seen);
		if
		:: ok -> mem[BELL] = seen | ARMED
		:: else
		fi
	}
}

inline disarm(t)
{
	d_step { DRAINED(t) -> mem[BELL] = mem[BELL] & 254 }
}

/* ---- progress.c, wait.c, attendance.c; all with the lock ---- */

/* adma_advance(): what was published is taken note of, and brings chunks. */
inline look(t)
{
	value = LOAD(t, TAIL);
	d_step {
		found = value > consumed;
		chunks = chunks + (value - consumed) * CHUNKS;
		consumed = value;
		found = found || (copied && copying == 0);
		copied = copied && copying > 0;
		eventfd = eventfd || (found && sleeping);
		value = 0
	}
}

/* One chunk: claimed with the lock, copied without. */
inline copy_one(t)
{
	d_step { chunks--; copying++ }
	drop_lock(t);
	take_lock(t);
	d_step { copying--; copied = true }
}

inline unwatch(t)
{
	watched = false;
	if
	:: !sleeping -> disarm(t)
	:: else
	fi
}

/* adma_progress_poll() */
inline poll(t)
{
	d_step {
		DRAINED(t) ->
		oneshot = oneshot || !polled; /* a system call only where it seems to be needed */
		polled = true
	}
}

/* adma_delegation_rearm() */
inline watch(t)
{
	if
	:: !NEEDS -> unwatch(t)
	:: else ->
#ifndef BUG_NO_CALL
		d_step {
			DRAINED(t) ->
			called = called || (chunks > 0 && t != MOVER)
		}
#endif
#ifdef BUG_POLL_ONCE
		/* The mover's own way out forgets that what is polled fires once. */
		if
		:: t != MOVER -> poll(t)
		:: else
		fi
#else
		poll(t)
#endif
	fi
}

/* adma_leave() */
inline leave(t, settles)
{
	if
	:: (sleeping || watched) && settles ->
		do
		:: true ->
			seen = LOAD(t, BELL);
			look(t);
#ifdef BUG_ARM_FRESH
			seen = LOAD(t, BELL);
#endif
			arm(t, seen, ok);
			if
			:: ok -> break
			:: else
			fi
		od;
		seen = 0;
		eventfd = eventfd || (sleeping && chunks > 0);
		if
		:: watched -> watch(t)
		:: else
		fi
	:: else
	fi;
	drop_lock(t)
}

inline attend(t)
{
	attending++;
	if
	:: watched -> unwatch(t)
	:: else
	fi
}

/* adma_disown() for good, and adma_hand_over() */
inline depart()
{
	attending--;
	watched = watched || (NEEDS && attending == 0)
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
		ring(PEER, hit)
	:: else -> break
	od
}

/* lie_down(), ppoll(), get_up(): woken, or timed out. */
inline sleep(t)
{
	seen = LOAD(t, BELL);
	look(t);
	if
	:: !found && chunks == 0 ->
		arm(t, seen, ok);
		if
		:: ok ->
			sleeping = true;
			d_step { DRAINED(t) -> polled = false; oneshot = false }
			drop_lock(t);
			if
			:: wire > 0 || eventfd
			:: true /* its time is up */
			fi;
			take_lock(t);
			sleeping = false;
			eventfd = false;
			disarm(t);
			wire = 0
		:: else
		fi
	:: else
	fi;
	seen = 0
}

proctype caller()
{
	byte k, seen, value, naps;
	bool ok, found;

	do
	:: k < CALLS ->
		k++;
		naps = 0;
		take_lock(CALLER);
		attend(CALLER);
		pending = true; /* the first call posts */
		look(CALLER);
		do
		:: chunks > 0 -> copy_one(CALLER)
		:: naps < 2 -> naps++; sleep(CALLER)
		:: break
		od;
		depart();
#ifdef BUG_DEPART_BARE
		leave(CALLER, false)
#else
		leave(CALLER, true)
#endif
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
	look(VISITOR);
#ifdef BUG_VISITOR_BARE
	leave(VISITOR, sleeping)
#else
	leave(VISITOR, true)
#endif
}

proctype mover()
{
	byte seen, value;
	bool ok, found, again;

	do
	:: gone && THROUGH -> break
	:: called || (oneshot && wire > 0) ->
		/* take_events() and visit(): one hold of the book. */
		d_step {
#ifndef BUG_STILL_POLLED
			polled = polled && !(oneshot && wire > 0);
#endif
			oneshot = oneshot && wire == 0;
#ifndef BUG_STRIKE_LATE
			called = false;
#endif
			pinned = true
		}
		take_lock(MOVER);
		wire = 0;
#ifdef WITNESS_TAKEN_BACK
		assert(watched);
#endif
		look(MOVER);
		do
#ifdef BUG_IN_THE_WAY
		:: chunks > 0 -> assert(attending == 0); copy_one(MOVER)
#else
		:: watched && chunks > 0 ->
			assert(attending == 0);
#ifdef WITNESS_COPIED
			assert(!gone);
#endif
			copy_one(MOVER);
			lent = watched && chunks > 0;
#endif
		:: else -> break
		od;
		/* adma_rearm(), then when to look again, then the lock is dropped */
		if
		:: sleeping || watched ->
			do
			:: true ->
				seen = LOAD(MOVER, BELL);
				look(MOVER);
				arm(MOVER, seen, ok);
				if
				:: ok -> break
				:: else
				fi
			od;
			seen = 0;
			eventfd = eventfd || (sleeping && chunks > 0);
			if
			:: watched -> watch(MOVER)
			:: else
			fi
		:: else
		fi;
#ifdef BUG_NO_AGAIN
		again = false;
#else
		again = watched && chunks > 0;
#endif
		drop_lock(MOVER);
		d_step {
			DRAINED(MOVER) ->
#ifdef BUG_STRIKE_LATE
			called = again
#else
			called = called || again
#endif
			;
			pinned = false;
			again = false
		}
	od
}

/* adma_visit_assist(), as long as it is listed */
proctype queue()
{
	byte seen, value;
	bool ok, found;

	do
	:: gone && THROUGH -> break
	:: lent ->
		take_lock(HELPER);
		if
		:: watched && chunks > 0 ->
			assert(attending == 0);
#ifdef WITNESS_HELPED
			assert(copying == 0);
#endif
			copy_one(HELPER);
#ifndef BUG_HELP_BARE
			look(HELPER);
#endif
			leave(HELPER, HELPER_SETTLES)
		:: else ->
			lent = false;
			leave(HELPER, HELPER_SETTLES)
		fi
	od
}

/* The invariant of attendance.h. */
proctype monitor()
{
end:
	atomic {
		mem[LOCK] == 0 && watched && NEEDS && !called && !pinned &&
		!(oneshot && (mem[BELL] & ARMED || wire > 0 || ringing)) ->
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
		run peer();
		run caller();
		run mover();
		run visitor();
#ifdef QUEUE
		run queue();
#endif
#ifdef MONITOR
		run monitor()
#endif
	}
}
