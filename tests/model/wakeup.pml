/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wakeup.pml - arm and sleep: is any event ever slept through?
 *
 * bell.h in small steps, behind store buffers (tso.pml). Three scenes:
 *
 *   RINGERS  two threads of the peer publish and ring, one sleeper consumes
 *   PAIR     two ends exchange messages over two bounded rings, so that each
 *            sleeps for messages and for room, and each rings the other
 *   CREW     threads of one process share bell, socket and local wake-up;
 *            whoever holds the lock progresses for all of them
 *
 * A run that stops while an event is unconsumed is an invalid end state: that
 * is how a lost wake-up shows. The switches that begin with a bug's name are
 * mutants, which must be caught; docs/models.md lists them.
 */

/* ---- words of the halves; the second index of PAIR is the end's number ---- */

#define BELL(end) (end)                /* {events, armed:1}: rung by the peer of `end` */
#define TAIL(end) (2 + (end))          /* published by ringer or end number `end` */
#define HEAD(end) (4 + (end))          /* consumed of what `end` published */
#define LOCK 6                         /* CREW: the channel's lock */
#define WORDS 7

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
#define EVENTS 2 /* that each ringer publishes, or each end of PAIR sends */
#endif
#ifndef SOCKET
#define SOCKET 4 /* bytes a socket takes; one more is dropped (MSG_DONTWAIT) */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0 /* sleeps of RINGERS that may end for another reason than a byte */
#endif
#ifdef CREW
#define MOST_BYTES SOCKET /* a leaver may arm although the sleeper's byte lies unread */
#else
#define MOST_BYTES (TIMEOUTS + 1) /* ever in a socket at once */
#endif

#include "tso.pml"

byte wire[2];    /* bytes in the socket towards each end */
byte claimed[2]; /* ringers that took the armed bit and have yet to send */
byte grants[2];  /* armings that no ringer took and no disarm ended: bytes still allowed */

/* ---- bell.h, one step for each access to memory ---- */

inline send(end)
{
	atomic {
		assert(grants[end] > 0); /* at most one byte per arming */
		grants[end]--;
		claimed[end]--;
		if
		:: wire[end] < SOCKET -> wire[end]++; assert(wire[end] <= MOST_BYTES)
		:: else /* full: the sleeper cannot miss the bytes that fill it */
		fi
	}
}

/* adma_ec_signal() and the byte it asks for. `hit` is a local of the caller. */
inline ring(t, end, hit)
{
#ifdef BUG_RING_BY_LOAD
	/* Saves the read-modify-write when the bell looks unarmed. */
	hit = LOAD(t, BELL(end)) & ARMED;
	if
	:: hit ->
#endif
	d_step {
		DRAINED(t) ->
		hit = mem[BELL(end)] & ARMED;
		mem[BELL(end)] = mem[BELL(end)] + EVENT
	}
	if
	:: hit ->
#ifdef BUG_BYTE_FOR_EACH
		/* Sends on what fetch_add saw, without taking the armed bit. */
		d_step {
			claimed[end]++;
			mem[BELL(end)] = mem[BELL(end)] & 254
		}
#else
		d_step {
			DRAINED(t) ->
			hit = mem[BELL(end)] & ARMED;
			mem[BELL(end)] = mem[BELL(end)] & 254;
			claimed[end] = claimed[end] + hit
		}
#endif
		if
		:: hit -> send(end)
		:: else
		fi
	:: else
	fi
#ifdef BUG_RING_BY_LOAD
	:: else
	fi
#endif
	hit = false
}

/* adma_ec_arm(): true in `ok` when the caller may sleep. */
inline arm(t, end, seen, ok)
{
	d_step {
		DRAINED(t) ->
		ok = (mem[BELL(end)] == seen);
		if
		:: ok && !(seen & ARMED) -> grants[end]++; mem[BELL(end)] = seen | ARMED
		:: else
		fi
	}
}

inline disarm(t, end)
{
	d_step {
		DRAINED(t) ->
		grants[end] = grants[end] - (mem[BELL(end)] & ARMED);
		mem[BELL(end)] = mem[BELL(end)] & 254
	}
}

/* ==== RINGERS ==== */

#ifdef RINGERS

/* What a store-then-load arm looks like. BELL is then the armed flag alone. */
inline ring_naively(t, end, hit)
{
	hit = LOAD(t, BELL(end));
	if
	:: hit -> wire[end]++
	:: else
	fi;
	hit = false
}

proctype ringer(byte t)
{
	byte k;
	bool hit;

	do
	:: k < EVENTS ->
		k++;
#ifdef BUG_RING_FIRST
		ring(t, 0, hit);
		store(t, TAIL(t), k)
#else
		store(t, TAIL(t), k);
#if defined(NAIVE) || defined(NAIVE_RINGER)
		ring_naively(t, 0, hit)
#else
		ring(t, 0, hit)
#endif
#endif
	:: else -> break
	od
}

/* Consume what both ringers published; one load each. */
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
		store(2, BELL(0), ARMED);
		look();
		if
		:: found -> store(2, BELL(0), 0)
		:: else ->
			wire[0] > 0;
			store(2, BELL(0), 0);
			wire[0] = 0
		fi
#elif defined(NAIVE_RINGER)
		/* The sleeper's half is sound here: it arms by a read-modify-write. */
		d_step { DRAINED(2) -> mem[BELL(0)] = ARMED };
		look();
		if
		:: found -> d_step { DRAINED(2) -> mem[BELL(0)] = 0 }
		:: else ->
			wire[0] > 0;
			d_step { DRAINED(2) -> mem[BELL(0)] = 0 };
			wire[0] = 0
		fi
#else
		seen = LOAD(2, BELL(0));
		look();
		if
		:: found
		:: else ->
#ifdef BUG_ARM_FRESH
			/* Compares with the bell of now, not of before the look. */
			seen = LOAD(2, BELL(0));
#endif
			arm(2, 0, seen, ok);
			if
			:: ok ->
#ifdef BUG_DRAIN_LATE
				wire[0] = 0;
#endif
				if
				:: wire[0] > 0
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
		run ringer(0); run ringer(1); run sleeper()
	}
}

#endif

/* ==== PAIR ==== */

#ifdef PAIR

#ifndef ROOM
#define ROOM 1 /* messages a ring holds */
#endif
#ifndef STEP
#define STEP 1 /* messages taken between two rings of the producer's bell (adma_ring_take()) */
#endif

proctype peer(byte me)
{
	byte sent, got, seen, value;
	bool found, ok, hit;

	do
	:: sent == EVENTS && got == EVENTS -> break
	:: else ->
		found = false;
		seen = LOAD(me, BELL(me));
		value = LOAD(me, HEAD(me));
		if
		:: sent < EVENTS && sent - value < ROOM ->
			sent++;
			found = true;
			store(me, TAIL(me), sent);
			ring(me, 1 - me, hit)
		:: else
		fi;
		value = LOAD(me, TAIL(1 - me));
		if
		:: value > got ->
			got++;
			found = true;
			store(me, HEAD(1 - me), got);
			if
			:: got % STEP == 0 -> ring(me, 1 - me, hit)
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
 * Thread ids: 0 .. CREWMEN-1 the crew, then the ringers. Everything below is
 * read and written under the lock alone, so it needs no store buffer.
 *
 * The local wake-up: an eventfd that stays readable until every thread that
 * slept when it was written has come back (wakes_left); an epoch tells a
 * sleeper whether the write was meant for it.
 */
#define RINGER (CREWMEN)

#ifndef SLEEPERS
#define SLEEPERS CREWMEN /* crewmen that sleep in the library */
#endif
#ifndef POLLERS
#define POLLERS 0 /* 0 or 1: crewmen that sleep in an epoll of their own on fileno() */
#endif
#define VISITORS (CREWMEN - SLEEPERS - POLLERS) /* crewmen that call once and never sleep */
#define IS_POLLER(t) ((t) >= SLEEPERS && (t) < SLEEPERS + POLLERS)
#define READS (SLEEPERS + POLLERS)

byte queue[READS + 1]; /* reads in post order: thread + 1 */
byte posted, matched;  /* of it: entries made, entries completed */
bool done[CREWMEN];    /* its read is complete */
bool waits[CREWMEN];   /* asleep, or about to be and without the lock */
byte epoch[CREWMEN];   /* of the last local wake when it went to sleep */
byte wake_epoch, wakes_left;
bool eventfd;

/*
 * fileno() does not look at the local wake-up: it is made readable, and kept
 * so, while a completion is unobserved. With a poller in the crew the
 * descriptor exists all along, so everybody who leaves arms the bell.
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

/* adma_wake_waiters(): every sleeper looks. */
inline wake_local()
{
	d_step {
		value = 0;
		other = 0;
		do
		:: other < CREWMEN -> value = value + waits[other]; other++
		:: else -> break
		od;
		if
		:: value > 0 -> wakes_left = value; wake_epoch++; eventfd = true
		:: else
		fi;
		value = 0;
		other = 0
	}
}

/* One round of progress: each message completes the oldest read. */
inline drive(t)
{
	value = LOAD(t, TAIL(0));
	value = value + LOAD(t, TAIL(1));
	d_step {
		other = CREWMEN; /* a thread to be woken */
		do
		:: value > matched && posted > matched ->
			done[queue[matched] - 1] = true;
			if
			:: queue[matched] - 1 != t -> other = queue[matched] - 1
			:: else
			fi;
			queue[matched] = 0;
			matched++
		:: else -> break
		od;
		value = 0
	}
	if
	:: other < CREWMEN ->
		other = 0;
#ifndef BUG_NO_LOCAL_WAKE
		wake_local()
#endif
	:: else -> other = 0
	fi
}

/* Is there a message that a pending read could take? */
#define MORE(t) (LOAD(t, TAIL(0)) + LOAD(t, TAIL(1)) > matched && posted > matched)

#if CREWMEN == 2
#define ANY_SLEEPER (waits[0] || waits[1])
#define ANY_HUNGRY ((waits[0] && !done[0]) || (waits[1] && !done[1]))
#else
#define ANY_SLEEPER (waits[0] || waits[1] || waits[2])
#define ANY_HUNGRY ((waits[0] && !done[0]) || (waits[1] && !done[1]) || (waits[2] && !done[2]))
#endif

/* adma_leave(): nobody who sleeps on is left with a bell that is not armed. */
inline leave(t)
{
#ifndef BUG_NO_REARM
	do
	:: ANY_SLEEPER || POLLERS > 0 ->
		seen = LOAD(t, BELL(0));
		drive(t);
		arm(t, 0, seen, ok);
		if
		:: ok -> break
		:: else
		fi
	:: else -> break
	od;
	seen = 0;
#endif
#if POLLERS > 0 && !defined(BUG_NO_LEVEL)
	level = POLLER_DONE;
#endif
	drop_lock(t)
}

/* Sit in ppoll() without the lock, then come back for it: get_up(). */
inline sleep(t)
{
	(wire[0] > 0 || eventfd);
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
		epoch[t] = 0
	}
	wire[0] = 0 /* adma_peer_check() reads the socket */
}

inline will_sleep(t)
{
	d_step {
		waits[t] = true;
		epoch[t] = wake_epoch
	}
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
	bool ok;

	take_lock(t);
	post(t);
	do
	:: done[t] -> break
	:: else ->
		seen = LOAD(t, BELL(0));
		drive(t);
		if
		:: done[t] -> break
		:: else
		fi;
		arm(t, 0, seen, ok);
		if
		:: ok ->
			will_sleep(t);
			drop_lock(t);
			sleep(t)
		:: else
		fi
	od;
	leave(t)
}

/* Polls fileno(): it asks without waiting, and sleeps outside of the library. */
proctype poller(byte t)
{
	byte seen, value, other;
	bool ok;

	take_lock(t);
	post(t);
	do
	:: done[t] -> break
	:: else ->
		drive(t);
		if
		:: done[t] -> break
		:: else
		fi;
		leave(t);
		(wire[0] > 0 || level);
		take_lock(t);
		wire[0] = 0
	od;
	leave(t)
}

/* Calls into the channel for something else; its round of progress may read the socket empty. */
proctype visitor(byte t)
{
	byte seen, value, other;
	bool ok;

	take_lock(t);
	wire[0] = 0;
	drive(t);
	leave(t)
}

proctype ringer(byte t, mine)
{
	byte k;
	bool hit;

	do
	:: k < mine ->
		k++;
		store(t, TAIL(t - RINGER), k);
		ring(t, 0, hit)
	:: else -> break
	od
}

#if POLLERS > 0
#define POLLER_HUNGRY (posted == READS && !POLLER_DONE && !level)
#else
#define POLLER_HUNGRY false
#endif

/*
 * The rule that the crew lives by: whenever the lock is free and somebody
 * waits, the bell is armed, or a byte is on its way, or the local wake-up is
 * up.
 */
proctype monitor()
{
end:
	atomic {
		mem[LOCK] == 0 && (ANY_HUNGRY || POLLER_HUNGRY) &&
		!(mem[BELL(0)] & ARMED) && wire[0] == 0 && claimed[0] == 0 && !eventfd ->
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
		run ringer(RINGER, READS - READS / 2);
		run ringer(RINGER + 1, READS / 2);
#ifdef MONITOR
		run monitor()
#endif
	}
}

#endif
