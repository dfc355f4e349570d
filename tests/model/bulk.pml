/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bulk.pml - a bulk segment that the reader cannot receive, and the one that takes its place.
 *
 * The writer makes a segment before it posts a message that may travel through it, and passes its
 * descriptor over the socket, which may be full for a while. Whoever receives a descriptor when none
 * is left loses it: then the reader says so in a word of shared memory, and the writer passes another
 * segment. The reader selects how a message travels. Through a segment the writer fills cells, two
 * for each message, and the reader drains them. The numbers of the cells go on from one segment to
 * the next one. Whether it is the same segment that both use is what is asked here.
 *
 * The word is counted up by a read-modify-write and the socket is a system call, so the code is
 * sequentially consistent where this model looks. What passes through cells is shown elsewhere.
 *
 * ONLY: no other mechanism may carry a message. Then a message fails if its segment is lost, and
 * otherwise none does.
 *
 * Mutants: SELECT_BLIND selects without reading the socket first; REPLACE_BUSY makes a new segment while a cell is still to be filled;
 * REPLACE_FILLED does so when all cells are filled, and not yet drained. Witness: SECOND shows that
 * a message travels through a segment that replaced another one.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#define CELLS 2 /* of each message */

mtype = { NOT_YET, BY_SEGMENT, BY_OTHER };

chan wire = [1] of { byte };
byte lost_count;            /* the word: how many segments the reader could not receive */

byte posted, taken;         /* messages in the ring, and out of it */
bool offered[MESSAGES];     /* the writer could fill cells for it */
mtype way[MESSAGES] = NOT_YET;
bool over[MESSAGES];        /* the reader is through with it */
byte filled;                /* cells of messages that travel by a segment, over all of them */
byte where[MESSAGES * 2];   /* the segment into which each was filled */

/* ---- the writer ---- */

byte out, made, pending;    /* its segment; how many it made; the one that is still to be passed */
byte made_up_for;           /* of lost_count */
byte begun;                 /* messages of which it has seen how they travel */
byte to_fill;               /* cells of these */

/* Is a message on its way through the segment that there is? */
inline look_for_users(busy)
{
	byte m;

	d_step {
		busy = filled < to_fill;
#ifdef BUG_REPLACE_BUSY
		busy = false;
#endif
		m = 0;
		do
		:: m < begun ->
#if !defined(BUG_REPLACE_BUSY) && !defined(BUG_REPLACE_FILLED)
			busy = busy || (way[m] == BY_SEGMENT && !over[m]);
#endif
			m++
		:: else -> break
		od;
		m = 0
	}
}

inline bring_segment(busy)
{
	look_for_users(busy);
	if
	:: out == 0 || (lost_count != made_up_for && !busy) ->
		made_up_for = lost_count;
		made++;
		out = made;
		pending = made
	:: else
	fi;
	busy = false
}

/* The socket may be full, of bytes that wake the reader. The next round tries again. */
inline pass_segment()
{
	if
	:: pending != 0 && nfull(wire) -> wire!pending; pending = 0
	:: true
	fi
}

active proctype writer()
{
	bool busy;

	do
	:: posted < MESSAGES ->
		bring_segment(busy);
		pass_segment();
		d_step { offered[posted] = true; posted++ }
	:: pending != 0 && nfull(wire) -> pass_segment()
	:: begun < posted && way[begun] != NOT_YET ->
		d_step {
			if
			:: way[begun] == BY_SEGMENT -> to_fill = to_fill + CELLS
			:: else
			fi;
			begun++
		}
	:: filled < to_fill -> d_step { where[filled] = out; filled++ }
	:: begun == MESSAGES && filled == to_fill && pending == 0 -> break
	od
}

/* ---- the reader ---- */

byte in;                    /* the segment that it has mapped */
bool lost;
byte losses;

inline receive(s)
{
	wire?s;
	if
	:: losses < LOSSES && in == 0 -> losses++; lost = true; lost_count++
	:: in == 0 -> in = s; lost = false
	:: in != 0 /* a second one, of a writer that was told too late */
	fi;
	s = 0
}

inline select_way()
{
#ifdef ONLY
	if
	:: lost -> way[taken] = BY_OTHER /* it fails at once, at both ends */
	:: else -> way[taken] = BY_SEGMENT
	fi
#else
	if
#ifdef BUG_SELECT_BLIND
	:: !lost -> way[taken] = BY_SEGMENT
#else
	:: !lost && in != 0 -> way[taken] = BY_SEGMENT
#endif
	:: else -> way[taken] = BY_OTHER
	fi
#endif
}

active proctype reader()
{
	byte s, drained, through;

	do
	:: nempty(wire) -> receive(s)
	:: taken < posted ->
#ifndef BUG_SELECT_BLIND
		do
		:: nempty(wire) -> receive(s)
		:: empty(wire) -> break
		od;
		skip;
#endif
		d_step { select_way(); taken++ }
	:: through < taken && way[through] == BY_OTHER ->
		d_step { over[through] = true; through++ }
	:: through < taken && way[through] == BY_SEGMENT && in == 0 && lost ->
#ifndef ONLY
		assert(false); /* it was selected, and cannot be received */
#endif
		/* It fails at both ends. Its cells count as drained. */
		d_step { drained = drained + CELLS; over[through] = true; through++ }
	:: through < taken && way[through] == BY_SEGMENT && in != 0 && drained < filled ->
		assert(where[drained] == in);
#ifdef WITNESS_SECOND
		assert(in == 1);
#endif
		d_step {
			drained++;
			if
			:: drained % CELLS == 0 -> over[through] = true; through++
			:: else
			fi
		}
	:: through == MESSAGES -> break
	od
}
