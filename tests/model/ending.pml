/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ending.pml - a writer closes, or its program ends: is a message ever delivered past a lost one?
 *
 * A writer posts messages, small and large, withdraws one now and then, and closes. It first says
 * that it reads no more (`ending`), and waits until the reader has taken what was posted. When it
 * waits no longer, it takes back what is left: slots become LOST, which is not CANCELLED, and what
 * was not published is counted. Then it breaks off transfers, and stores `closed` last. The reader
 * reads until it is told why there is nothing more.
 *
 * With STUCK the reader is in a blocking write to the writer at first, and reads only when that has
 * failed. With LEAVING it may close at any time, without reading everything.
 *
 * A thread that waits here sees what it waits for: wakeup.pml is about that. The stores of an
 * endpoint become visible in their order (release), so none is buffered here. A run that stops while somebody
 * waits is an invalid end state. BUG_ switches are mutants, WITNESS_ ones claim what must be refuted.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef CELLS
#define CELLS 2 /* of the ring: what finds no room waits in the backlog */
#endif

#define SMALL 1
#define LARGE 2

/* ---- words that both endpoints see ---- */

byte kinds[MESSAGES];   /* of the messages in the ring, in post order */
byte tail, head;        /* published, taken */
mtype = { FREE, POSTED, MATCHED, CANCELLED, LOST }
mtype states[MESSAGES] = FREE; /* of the slots of large messages */
mtype = { OPEN, CLAIMED, SHUT, RETIRED }
mtype cursors[MESSAGES] = OPEN; /* of their transfers, which have one chunk */
bool writer_ending, reader_ending, closed;
byte withdrawn;

/* ---- what really happened ---- */

bool delivered[MESSAGES];
bool cancelled[MESSAGES]; /* by the user: no hole */
bool taken_back[MESSAGES]; /* by the close, and visible as such */

/* ==== the writer ==== */

#ifdef BUG_CANCEL
#define GONE CANCELLED
#else
#define GONE LOST
#endif

byte posted;    /* by the program */
byte under_way; /* large messages that are posted, or being copied */

inline publish()
{
	atomic {
		if
		:: kinds[tail] == LARGE -> states[tail] = POSTED; under_way++
		:: else
		fi;
		tail++
	}
}

/* adma_endpoint_is_drained(): nothing is in the backlog, posted, or being copied. */
#define DRAINED (tail == posted && under_way == 0)

proctype writer()
{
	byte i, lost;

	do
	:: posted < MESSAGES ->
		atomic {
			if
			:: kinds[posted] = SMALL
			:: kinds[posted] = LARGE
			fi;
			posted++
		}
	:: atomic { tail < posted && tail - head < CELLS -> publish() }
	/* The user withdraws a large one. */
	:: atomic {
		posted > 0 && states[posted - 1] == POSTED ->
		states[posted - 1] = CANCELLED;
		cancelled[posted - 1] = true;
		under_way--
	   }
	:: posted == MESSAGES -> break
	od;

#ifndef BUG_ENDING_LATE
	writer_ending = true;
#endif
	/* Drain. */
	do
	:: atomic { tail < posted && tail - head < CELLS -> publish() }
	:: DRAINED -> break
#ifndef BUG_BOTH_WAIT
	:: reader_ending -> break
#endif
#ifndef PATIENT
	:: break /* the timeout */
#endif
	od;
	writer_ending = true;
#ifdef BUG_CLOSED_FIRST
	closed = true;
#endif
	/* Withdraw. */
	do
	:: i < tail ->
		atomic {
			if
			:: states[i] == POSTED -> states[i] = GONE; lost++; taken_back[i] = true
			:: else
			fi
		}
		i++
	:: else -> break
	od;
	lost = lost + (posted - tail);
	/* Break off what is being copied. */
	i = 0;
	do
	:: i < tail ->
		atomic {
			if
			:: states[i] == MATCHED && cursors[i] == OPEN -> cursors[i] = SHUT; lost++
			:: else
			fi
		}
		i++
	:: else -> break
	od;
	withdrawn = lost;
	atomic {
		closed = true;
		i = 0;
		do
		:: i < MESSAGES ->
			taken_back[i] = taken_back[i] || i >= tail || cursors[i] == SHUT;
			i++
		:: else -> break
		od
	}
}

/* ==== the reader ==== */

#ifdef BUG_FAST
#define MAY_TAKE (!hole)
#else
#define MAY_TAKE (!hole && !(seen_closed && transfers > 0))
#endif

inline deliver(which)
{
	i = 0;
	do
	:: i < which -> assert(!taken_back[i]); i++
	:: else -> break
	od;
	i = 0;
	delivered[which] = true
}

/* A transfer of this end: claim its chunk and copy, or find that it was broken off. */
inline advance_transfer()
{
	j = 0;
	do
	:: j < at ->
		if
		:: states[j] == MATCHED && !delivered[j] && cursors[j] == OPEN ->
			cursors[j] = CLAIMED; break
		:: states[j] == MATCHED && !delivered[j] && cursors[j] == CLAIMED ->
			cursors[j] = RETIRED; delivered[j] = true; transfers--; under_way--; break
		:: states[j] == MATCHED && !delivered[j] && cursors[j] == SHUT ->
			cursors[j] = RETIRED; broken[j] = true; hole = true; transfers--; under_way--; break
		:: else
		fi;
		j++
	:: else -> break
	od;
	j = 0
}

proctype reader()
{
	byte at, i, j, transfers;
	bool hole, seen_closed, told;
	bool broken[MESSAGES];

#ifdef STUCK
	writer_ending || closed; /* its own large message is not read, until it fails */
#endif
	do
	:: !told ->
		if
#ifdef LEAVING
		:: break
#endif
		:: atomic { closed && !seen_closed -> seen_closed = true }
		:: atomic { transfers > 0 -> advance_transfer() }
		/* A message that can be taken at once, or matched */
		:: atomic {
			at < tail && MAY_TAKE && kinds[at] == SMALL ->
			/* adma_read_now() reads the word itself */
#ifndef BUG_FAST
			if
			:: closed && transfers > 0 -> seen_closed = true
			:: else ->
#endif
				deliver(at); at++; head = at
#ifndef BUG_FAST
			fi
#endif
		   }
		:: atomic {
			at < tail && MAY_TAKE && kinds[at] == LARGE && states[at] == POSTED ->
			states[at] = MATCHED; transfers++; at++; head = at
		   }
		:: atomic { at < tail && MAY_TAKE && states[at] == CANCELLED -> at++; head = at }
		:: atomic { at < tail && !hole && states[at] == LOST -> hole = true }
		/* Nothing more will come: say why. `closed` was seen before the ring was found empty. */
		:: atomic {
			seen_closed && transfers == 0 && (at == tail || hole) ->
			told = true;
#ifdef BUG_WORD_UNREAD
			if
			:: hole
#else
			if
			:: hole || withdrawn > 0
#endif
			:: else ->
				/* "everything it wrote was read" */
				i = 0;
				do
				:: i < posted -> assert(delivered[i] || cancelled[i]); i++
				:: else -> break
				od;
				i = 0
			fi
		   }
		fi
	:: told -> break
	od;
	reader_ending = true;
#ifdef WITNESS_HOLE
	assert(!hole);
#endif
#ifdef WITNESS_BROKEN
	assert(!broken[0]);
#endif
#ifdef WITNESS_COUNT
	assert(hole || withdrawn == 0);
#endif
	/* Break off what is left of transfers, as the writer does. */
	do
	:: transfers > 0 -> atomic { transfers > 0 -> advance_transfer() }
	:: transfers == 0 -> break
	od
}

init
{
	atomic {
		run writer();
		run reader()
	}
}
