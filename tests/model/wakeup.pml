/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wakeup.pml - arm and sleep: does a thread ever sleep through an event?
 *
 * The model takes shm/eventcount.h in small steps, behind store buffers (tso.pml). It has three
 * scenes:
 *
 *   SIGNALLERS  two threads of the peer publish and signal, and one sleeper consumes
 *   PAIR        two endpoints exchange messages over two bounded rings, so that each of them
 *               sleeps for messages and for room, and each signals the other
 *   CREW        threads of one process share event count, socket and local wake-up; the thread
 *               that holds the lock makes progress for all of them
 *
 * A run that stops while an event is unconsumed is an invalid end state: that is how a lost
 * wake-up shows. With LOSS somebody closes descriptors by mistake: from then on no byte is sent, and no
 * local wake-up comes. A sleeper then wakes by itself, once a second. The switches that begin with BUG_ are mutants, which must be caught, and so must
 * NAIVE and NAIVE_SIGNALLER with store buffers. docs/models.md lists them.
 */

/* ---- words of the segments; PAIR numbers its endpoints 0 and 1 ---- */

#define COUNT(whose) (whose)      /* event count of an endpoint, {events, armed:1}; its peer signals it */
#define TAIL(whose) (2 + (whose)) /* what a signaller or an endpoint has published */
#define HEAD(whose) (4 + (whose)) /* what the other endpoint has consumed of that */
#define LOCK 6                    /* CREW: the channel's lock */
#define WANTS(whose) (6 + (whose)) /* PAIR: an endpoint has found no room, and is to be told of some */
#define WORDS 8

#define ARMED 1
#define EVENT 2

#if defined(CREW)
#ifndef CREWMEN
#define CREWMEN 2
#endif
#define BUFFERED (CREWMEN + 2)
#else
#define BUFFERED 3
#endif

#ifndef EVENTS
#define EVENTS 2 /* that each signaller publishes, or each endpoint of PAIR sends */
#endif
#ifndef SOCKET
#define SOCKET 4 /* bytes that a socket takes; one more is dropped (MSG_DONTWAIT) */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0 /* sleeps of SIGNALLERS that may end for another reason than a byte */
#endif
#ifdef CREW
#define MOST_BYTES SOCKET /* a thread may publish and arm although the sleeper's byte lies unread */
#else
#define MOST_BYTES (TIMEOUTS + 1) /* that are ever in a socket at once */
#endif

#include "tso.pml"

#ifdef LOSS
bool lost; /* neither the socket nor the eventfd is ours any more */
#define LOST lost
#else
#define LOST false
#endif

/* The end of a sleeper's second. Only those matter that come after a loss: what TIMEOUTS takes are the others. */
#ifdef BUG_NO_TICK
#define TICK false
#else
#define TICK LOST
#endif

#ifdef CREW
bool eventfd;
#endif
byte wire[2];    /* bytes in the socket towards each endpoint */
byte claimed[2]; /* signallers that took the armed bit and have yet to send */
byte grants[2];  /* armings that no signaller took and no disarm ended: bytes that may still be sent */

/* ---- shm/eventcount.h, one step for each access to memory ---- */

inline send(whose)
{
	atomic {
		assert(grants[whose] > 0); /* at most one byte per arming */
		grants[whose]--;
		claimed[whose]--;
		if
		:: LOST /* the check before the send, or the send itself, finds that */
		:: !LOST && wire[whose] < SOCKET -> wire[whose]++; assert(wire[whose] <= MOST_BYTES)
		:: else /* full: the sleeper cannot miss the bytes that fill it */
		fi
	}
}

#ifdef LOSS
/* What lies unread in the socket is gone with it. */
proctype thief()
{
	atomic {
		lost = true;
		wire[0] = 0;
#ifdef CREW
		eventfd = false
#endif
	}
}
#endif

/* adma_signal_peer(): adma_ec_signal(), and the byte that it asks for. `hit` is a local of the caller. */
inline signal(t, whose, hit)
{
#ifdef BUG_SIGNAL_BY_LOAD
	/* Saves the read-modify-write when the event count looks unarmed. */
	hit = LOAD(t, COUNT(whose)) & ARMED;
	if
	:: hit ->
#endif
	d_step {
		DRAINED(t) ->
		hit = mem[COUNT(whose)] & ARMED;
		mem[COUNT(whose)] = mem[COUNT(whose)] + EVENT
	}
	if
	:: hit ->
#ifdef BUG_BYTE_FOR_EACH
		/* Sends on what fetch_add saw, without taking the armed bit. */
		d_step {
			claimed[whose]++;
			mem[COUNT(whose)] = mem[COUNT(whose)] & 254
		}
#else
		d_step {
			DRAINED(t) ->
			hit = mem[COUNT(whose)] & ARMED;
			mem[COUNT(whose)] = mem[COUNT(whose)] & 254;
			claimed[whose] = claimed[whose] + hit
		}
#endif
		if
		:: hit -> send(whose)
		:: else
		fi
	:: else
	fi
#ifdef BUG_SIGNAL_BY_LOAD
	:: else
	fi
#endif
	hit = false
}

/* adma_ec_arm(): true in `ok` when the caller may sleep. */
inline arm(t, whose, seen, ok)
{
	d_step {
		DRAINED(t) ->
		ok = (mem[COUNT(whose)] == seen);
		if
		:: ok && !(seen & ARMED) -> grants[whose]++; mem[COUNT(whose)] = seen | ARMED
		:: else
		fi
	}
}

inline disarm(t, whose)
{
	d_step {
		DRAINED(t) ->
		grants[whose] = grants[whose] - (mem[COUNT(whose)] & ARMED);
		mem[COUNT(whose)] = mem[COUNT(whose)] & 254
	}
}

/* ==== SIGNALLERS ==== */

#ifdef SIGNALLERS

/* How a sleeper is told that arms by a store and then loads. COUNT is the armed flag alone here. */
inline signal_naively(t, whose, hit)
{
	hit = LOAD(t, COUNT(whose));
	if
	:: hit -> wire[whose]++
	:: else
	fi;
	hit = false
}

proctype signaller(byte t)
{
	byte k;
	bool hit;

	do
	:: k < EVENTS ->
		k++;
#ifdef BUG_SIGNAL_FIRST
		signal(t, 0, hit);
		store(t, TAIL(t), k)
#else
		store(t, TAIL(t), k);
#if defined(NAIVE) || defined(NAIVE_SIGNALLER)
		signal_naively(t, 0, hit)
#else
		signal(t, 0, hit)
#endif
#endif
	:: else -> break
	od
}

/* Consume what both signallers published, with one load for each. */
inline look()
{
	found = false;
	value = LOAD(2, TAIL(0));
	if
	:: value > got[0] -> got[0] = value; found = true
	:: else
	fi;
	value = LOAD(2, TAIL(1));
	if
	:: value > got[1] -> got[1] = value; found = true
	:: else
	fi;
	value = 0
}

proctype sleeper()
{
	byte got[2], seen, value, early;
	bool found, ok;

	do
	:: got[0] == EVENTS && got[1] == EVENTS -> break
	:: else ->
#if defined(NAIVE)
		store(2, COUNT(0), ARMED);
		look();
		if
		:: found -> store(2, COUNT(0), 0)
		:: else ->
			wire[0] > 0;
			store(2, COUNT(0), 0);
			wire[0] = 0
		fi
#elif defined(NAIVE_SIGNALLER)
		/* The sleeper is sound here: it arms by a read-modify-write. */
		d_step { DRAINED(2) -> mem[COUNT(0)] = ARMED };
		look();
		if
		:: found -> d_step { DRAINED(2) -> mem[COUNT(0)] = 0 }
		:: else ->
			wire[0] > 0;
			d_step { DRAINED(2) -> mem[COUNT(0)] = 0 };
			wire[0] = 0
		fi
#else
		seen = LOAD(2, COUNT(0));
		look();
		if
		:: found
		:: else ->
#ifdef BUG_ARM_FRESH
			/* Compares with the event count of now, not with that of before the look. */
			seen = LOAD(2, COUNT(0));
#endif
			arm(2, 0, seen, ok);
			if
			:: ok ->
#ifdef BUG_DRAIN_LATE
				wire[0] = 0;
#endif
				if
				:: wire[0] > 0
				:: TICK -> disarm(2, 0)
				:: early < TIMEOUTS -> early++; disarm(2, 0)
				fi;
				wire[0] = 0
			:: else
			fi
		fi;
		seen = 0
#endif
	od
}

init
{
	atomic {
		run memory(0); run memory(1); run memory(2);
		run signaller(0); run signaller(1); run sleeper();
#ifdef LOSS
		run thief()
#endif
	}
}

#endif

/* ==== PAIR ==== */

#ifdef PAIR

#ifndef ROOM
#define ROOM 1 /* messages that a ring holds */
#endif
#ifndef STEP
#define STEP 1 /* messages that are taken until the producer is told of room (adma_ring_take()) */
#endif

/* Messages that an endpoint sends. With ONE_WAY only one does, so that no message of the other one wakes it. */
#ifdef ONE_WAY
#define SENDS(whose) ((whose) == 0 -> EVENTS : 0)
#else
#define SENDS(whose) EVENTS
#endif

/*
 * adma_ring_room() finds none: it asks to be told, and looks once more. Whoever has asked before has looked again just now.
 */
inline ask_for_room()
{
	if
	:: !wants ->
		wants = true;
#ifndef BUG_ROOM_UNTOLD
		store(me, WANTS(me), 1);
#endif
#ifndef BUG_ROOM_UNFENCED
		d_step { DRAINED(me) -> value = 0 };
#endif
#ifndef BUG_ROOM_NO_LOOK
		value = LOAD(me, HEAD(me));
		found = (sent - value < ROOM)
#endif
	:: else
	fi
}

/* adma_ring_take() */
inline tell_of_room()
{
#ifndef BUG_ROOM_TOLD_UNFENCED
	d_step { DRAINED(me) -> value = 0 };
#endif
	value = LOAD(me, WANTS(1 - me));
	if
	:: value -> signal(me, 1 - me, hit)
	:: else
	fi
}

proctype peer(byte me)
{
	byte sent, got, seen, value;
	bool found, ok, hit, wants;

	do
	:: sent == SENDS(me) && got == SENDS(1 - me) -> break
	:: else ->
		found = false;
		seen = LOAD(me, COUNT(me));
		value = LOAD(me, HEAD(me));
		if
		:: sent < SENDS(me) && sent - value < ROOM ->
			sent++;
			found = true;
			store(me, TAIL(me), sent);
			if
			:: wants -> wants = false; store(me, WANTS(me), 0)
			:: else
			fi;
			signal(me, 1 - me, hit)
		:: sent < SENDS(me) && sent - value >= ROOM -> ask_for_room()
		:: else
		fi;
		value = LOAD(me, TAIL(1 - me));
		if
		:: value > got ->
			got++;
			found = true;
			store(me, HEAD(1 - me), got);
			if
			:: got % STEP == 0 -> tell_of_room()
			:: else
			fi
		:: else
		fi;
		value = 0;
		if
		:: found
		:: else ->
			arm(me, me, seen, ok);
			if
			:: ok ->
				wire[me] > 0 -> wire[me] = 0
			:: else
			fi
		fi;
		seen = 0
	od
}

init
{
	atomic {
		run memory(0); run memory(1);
		run peer(0); run peer(1)
	}
}

#endif

/* ==== CREW ==== */

#ifdef CREW

/*
 * Thread ids: 0 .. CREWMEN-1 are the crew, the signallers follow. Everything below is read and
 * written with the lock held, so it needs no store buffer.
 *
 * Local wake-ups: an eventfd stays readable until every thread that slept when it was written has
 * come back (wakes_left). An epoch tells a sleeper whether the write was meant for it.
 *
 * Marks: a thread that changes something marks it (worker/endpoint.h). The marks are acted on when
 * a thread publishes, which it does before it unlocks. Releasing the lock does nothing else.
 */
#define SIGNALLER (CREWMEN)

#ifndef SLEEPERS
#define SLEEPERS CREWMEN /* crewmen that sleep in the library */
#endif
#ifndef POLLERS
#define POLLERS 0 /* 0 or 1: crewmen that sleep in an epoll of their own on adma_fileno() */
#endif
#define VISITORS (CREWMEN - SLEEPERS - POLLERS) /* crewmen that call once and never sleep */
#define IS_POLLER(t) ((t) >= SLEEPERS && (t) < SLEEPERS + POLLERS)
#define READS (SLEEPERS + POLLERS)

byte queue[READS + 1]; /* reads in post order: thread + 1 */
byte posted, matched;  /* of it: entries made, entries completed */
bool done[CREWMEN];    /* its read is complete */
bool waits[CREWMEN];   /* asleep, or about to be and without the lock */
byte epoch[CREWMEN];   /* of the last local wake-up when it went to sleep */
byte wake_epoch, wakes_left;

bool mark_waiters; /* ADMA_MARK_WAITERS */
bool mark_rearm;   /* ADMA_MARK_REARM */
byte copying;      /* visitors that have dropped the lock to copy a chunk, and will publish */

/*
 * The descriptor of adma_fileno() does not become readable by a local wake-up. It is made
 * readable, and kept so, while a completion is unobserved. With a poller in the crew the
 * descriptor exists all the time, so whoever publishes arms the event count.
 */
bool level;
#define POLLER_DONE done[SLEEPERS] /* there is at most one */

inline take_lock(t)
{
	d_step { DRAINED(t) && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

/* A plain store is the weakest unlock there is. */
inline drop_lock(t)
{
	store(t, LOCK, 0)
}

/* adma_waiters_wake_marked(): if something is marked, every sleeper looks. */
inline wake_marked()
{
	d_step {
		value = 0;
		other = 0;
		do
		:: other < CREWMEN -> value = value + (mark_waiters && waits[other]); other++
		:: else -> break
		od;
		if
		:: value > 0 -> wakes_left = value; wake_epoch++; eventfd = !LOST
		:: else
		fi;
		mark_waiters = false;
		value = 0;
		other = 0
	}
}

/* adma_endpoint_advance(): each message completes the oldest read, which adma_complete() marks. */
inline advance(t)
{
	value = LOAD(t, TAIL(0));
	value = value + LOAD(t, TAIL(1));
	d_step {
		mark_rearm = true;
		found = false;
		do
		:: value > matched && posted > matched ->
			done[queue[matched] - 1] = true;
			queue[matched] = 0;
			matched++;
			found = true;
#ifndef BUG_NO_LOCAL_WAKE
			mark_waiters = true
#endif
		:: else -> break
		od;
		value = 0
	}
}

#if CREWMEN == 2
#define ANY_SLEEPER (waits[0] || waits[1])
#define ANY_HUNGRY ((waits[0] && !done[0]) || (waits[1] && !done[1]))
#else
#define ANY_SLEEPER (waits[0] || waits[1] || waits[2])
#define ANY_HUNGRY ((waits[0] && !done[0]) || (waits[1] && !done[1]) || (waits[2] && !done[2]))
#endif

/* adma_publish(): nobody who sleeps on is left with an event count that is not armed. */
inline publish(t)
{
	wake_marked();
	if
	:: mark_rearm && (ANY_SLEEPER || POLLERS > 0) ->
#if POLLERS > 0
		wire[0] = 0; /* adma_peer_check() */
#endif
#ifndef BUG_NO_REARM
		do
		:: true ->
			seen = LOAD(t, COUNT(0));
			advance(t);
			if
			:: !found -> arm(t, 0, seen, ok)
			:: else -> ok = false
			fi;
			if
			:: ok -> break
			:: else
			fi
		od;
		seen = 0;
		ok = false;
#endif
#ifndef BUG_WAKE_EARLY
		wake_marked();
#endif
#if POLLERS > 0 && !defined(BUG_NO_LEVEL)
		level = POLLER_DONE;
#endif
	:: else
	fi;
	d_step { mark_waiters = false; mark_rearm = false }
}

/* Sit in ppoll() without the lock, then come back for it: sleep_finish(). */
inline sleep(t)
{
	(wire[0] > 0 || eventfd || TICK);
	take_lock(t);
	d_step {
		waits[t] = false;
		if
		:: epoch[t] != wake_epoch ->
			wakes_left--;
			if
			:: wakes_left == 0 -> eventfd = false
			:: else
			fi
		:: else
		fi;
#ifdef BUG_GRAB_EVENTFD
		eventfd = false; /* the first one back clears it for all */
#endif
		epoch[t] = 0;
		mark_rearm = true /* adma_ownership_release() */
	}
	wire[0] = 0 /* adma_peer_look() reads the socket to its end */
}

/* adma_sleeper_join(), and the end of sleep_prepare(): the thread has looked and armed just now. */
inline will_sleep(t)
{
	d_step {
		waits[t] = true;
		epoch[t] = wake_epoch
	}
	wake_marked();
	mark_rearm = false
}

inline post(t)
{
	d_step {
		queue[posted] = t + 1;
		posted++
	}
}

proctype sleeper(byte t)
{
	byte seen, value, other;
	bool ok, found;

	take_lock(t);
	post(t);
	do
	:: true ->
		seen = LOAD(t, COUNT(0));
		advance(t);
		if
		:: found || done[t] -> ok = false
		:: else -> arm(t, 0, seen, ok)
		fi;
		seen = 0;
		found = false;
		if
		:: ok ->
			ok = false;
			will_sleep(t);
			drop_lock(t);
			sleep(t)
		:: else
		fi;
		publish(t);
		drop_lock(t);
		if
		:: done[t] -> break
		:: else -> take_lock(t)
		fi
	od
}

/* Polls adma_fileno(): it asks without waiting, and sleeps outside of the library. */
proctype poller(byte t)
{
	byte seen, value, other;
	bool ok, found;

	take_lock(t);
	post(t);
	do
	:: true ->
		advance(t);
		found = false;
		publish(t);
		drop_lock(t);
		if
		:: done[t] -> break
		:: else -> (wire[0] > 0 || level)
		fi;
		take_lock(t);
		wire[0] = 0
	od
}

/*
 * Calls into the channel for something else. Its round of progress may read the socket empty, and
 * it may copy a chunk without the lock: drive_round(). Before the chunk it wakes the waiters that
 * are marked. After the chunk it marks again, because another thread may have cleared the marks
 * and has acted only on what concerns that thread: chunk_relock().
 */
proctype visitor(byte t)
{
	byte seen, value, other;
	bool ok, found;

	take_lock(t);
	if
	:: true -> wire[0] = 0; advance(t)
	:: true -> advance(t); wire[0] = 0; mark_rearm = true /* adma_peer_check() */
	fi;
	found = false;
#ifndef BUG_NO_PUBLISH
	if
	:: true ->
		wake_marked();
		copying++;
		drop_lock(t);
		take_lock(t);
#ifndef BUG_NO_REMARK
		mark_rearm = true;
#endif
		copying--
	:: true
	fi;
	publish(t);
#endif
	drop_lock(t)
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

proctype signaller(byte t, mine)
{
	byte k;
	bool hit;

	do
	:: k < mine ->
		k++;
		store(t, TAIL(t - SIGNALLER), k);
		signal(t, 0, hit)
	:: else -> break
	od
}

#if POLLERS > 0
#define POLLER_HUNGRY (posted == READS && !POLLER_DONE && !level)
#define POLLER_UNTOLD (POLLER_DONE && !level)
#else
#define POLLER_HUNGRY false
#define POLLER_UNTOLD false
#endif

/*
 * The rule that the crew lives by (progress/waiters.h): whenever the lock is free and somebody
 * waits, the event count is armed, or a byte is on its way, or the local wake-up is up, or a
 * thread is inside that will publish. The descriptor of adma_fileno() is readable then if it has
 * to be, or a thread is inside.
 */
proctype monitor()
{
end:
	atomic {
		mem[LOCK] == 0 && copying == 0 && !LOST &&
		(POLLER_UNTOLD ||
		 ((ANY_HUNGRY || POLLER_HUNGRY) &&
		  !(mem[COUNT(0)] & ARMED) && wire[0] == 0 && claimed[0] == 0 && !eventfd)) ->
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
		do
		:: t < SLEEPERS -> run sleeper(t); t++
		:: t >= SLEEPERS && IS_POLLER(t) -> run poller(t); t++
		:: t >= READS && t < CREWMEN -> run visitor(t); t++
		:: t == CREWMEN -> break
		od;
		t = 0;
		run signaller(SIGNALLER, READS - READS / 2);
		run signaller(SIGNALLER + 1, READS / 2);
#ifdef QUERY
		run query();
#endif
#ifdef LOSS
		run thief();
#endif
#ifdef MONITOR
		run monitor()
#endif
	}
}

#endif
