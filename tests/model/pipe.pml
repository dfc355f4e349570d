/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pipe.pml - an end of a pipe that goes over from the line to the channel, and the reader of the other end.
 *
 * A handshake takes ROUNDS steps of each end, and an end makes them in its own calls only. Until an end is
 * through with it, what it writes goes over the line, a socket that the kernel keeps. From then on it goes over the channel,
 * which the reader can see when it is through with the handshake, too. Threads of the writing end share a lock.
 * They write their messages and end: no call is made there any more. A message may be too long for the line.
 * The reader is an event loop. It sleeps until its descriptor is readable, and then tries to read one message
 * without waiting. Each step of it is a system call or a look at memory of its own, as is each one of a writer.
 *
 * Everything that is shared is an object of the kernel, or a ring, of which other models show that it keeps
 * order. So the model is sequentially consistent.
 *
 * Mutants: UNCOUNTED does not count what was read from the line; CHANNEL_FIRST looks at the channel first; NO_NEWS does not
 * take the handshake for news once a message was announced; SILENT does not announce what goes over the channel; UNLOCKED
 * chooses line or channel before it takes the lock. Witness: SWITCH shows that messages go both ways.
 */

#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 2 /* of each writer */
#endif
#ifndef ROUNDS
#define ROUNDS 4 /* with fewer, the last one needs nothing of the other end */
#endif
#define ALL (WRITERS * MESSAGES)
#define COMING 200

chan line = [ALL + WRITERS + 1] of { byte };
chan channel = [ALL] of { byte };

byte steps, reader_steps; /* of the handshake */
byte told;                /* `tells` of the writing end: 0, or 1 more than went over the line */
bool reader_told;         /* `hears` of the writing end */

/* ---- the writing end ---- */

bool lock;
byte sent;      /* over the line */
bool announced; /* that the channel is used */

#define MET (steps == ROUNDS)
#define CAN_STEP (steps < ROUNDS && reader_steps >= steps)

inline take_lock()
{
	atomic { !lock -> lock = true }
}

inline advance()
{
	take_lock();
	do
	:: atomic { CAN_STEP -> steps++ };
		if
		:: MET -> told = sent + 1
		:: else
		fi
	:: else -> break
	od;
	lock = false
}

inline announce()
{
#ifndef BUG_SILENT
	if
	:: !reader_told && !announced -> announced = true; line!COMING
	:: else
	fi
#else
	skip
#endif
}

inline write(message, large)
{
	bool over_line = false, is_told = false, done = false;

	if
	:: large = true
	:: large = false
	fi;
	do
	:: done -> break
	:: else ->
		advance();
#ifdef BUG_UNLOCKED
		over_line = !MET;
		take_lock();
#else
		take_lock();
		over_line = !MET;
#endif
		if
		:: !over_line -> announce(); channel!message; done = true
		:: over_line && !large -> line!message; sent++; done = true
		:: over_line && large && !is_told -> line!COMING; is_told = true
		:: over_line && large && is_told
		fi;
		lock = false;
		if
		:: done
		:: else -> (CAN_STEP || MET) /* sleeps on the socket */
		fi
	od
}

proctype writer(byte me)
{
	byte k;
	bool large;

	do
	:: k < MESSAGES -> write(me * MESSAGES + k, large); k++
	:: k == MESSAGES -> break
	od
}

/* ---- the reader ---- */

byte taken;          /* from the line */
byte next[WRITERS];  /* message of each writer */
byte total, by_channel;
bool coming, through;

#define READER_MET (reader_steps == ROUNDS)
#define READER_CAN_STEP (reader_steps < ROUNDS && steps >= reader_steps)

inline reader_advance()
{
	do
	:: atomic { READER_CAN_STEP -> reader_steps++ };
		if
		:: READER_MET -> reader_told = true
		:: else
		fi
	:: else -> break
	od
}

inline got(message)
{
	d_step {
		assert(message % MESSAGES == next[message / MESSAGES]);
		next[message / MESSAGES]++;
		total++
	}
}

inline look()
{
	byte m;

	reader_advance();
	do
	:: through -> break
	:: else ->
#ifdef BUG_CHANNEL_FIRST
		if
		:: READER_MET && nempty(channel) -> through = true; break
		:: else
		fi;
#endif
		if
#ifdef BUG_UNCOUNTED
		:: READER_MET && told != 0 -> through = true; break
#else
		:: READER_MET && told != 0 && taken == told - 1 -> through = true; break
#endif
		:: else
		fi;
		if
		:: atomic { nempty(line) -> line?m };
			if
			:: m == COMING -> coming = true; reader_advance()
			:: else -> taken++; got(m); break
			fi
		:: empty(line) ->
			if
			:: READER_MET && nempty(channel) && empty(line) -> through = true
			:: else
			fi;
			break
		fi
	od;
	m = 0;
	if
	:: atomic { through && nempty(channel) -> channel?m }; got(m); by_channel++; m = 0
	:: else
	fi
}

/* What its descriptor tells: the epoll is over the line, and later over the channel. */
#ifdef BUG_NO_NEWS
#define NEWS false
#else
#define NEWS (coming && READER_CAN_STEP)
#endif
#define READABLE ((!through && nempty(line)) || NEWS || (READER_MET && nempty(channel)))

active proctype reader()
{
	do
	:: total == ALL -> break
	:: total < ALL && READABLE -> look()
	od;
#ifdef WITNESS_SWITCH
	assert(by_channel == 0 || by_channel == ALL)
#endif
}

init {
	byte i;

	atomic {
		do
		:: i < WRITERS -> run writer(i); i++
		:: i == WRITERS -> break
		od
	}
}
