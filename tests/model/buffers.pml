/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buffers.pml - messages that travel through bounce buffers, among others of the same ring.
 *
 * The ring has few cells. A message is short, and travels in its cell; or it has a bounce buffer; or it
 * waits in a slot, and its writer may withdraw it before it is matched. A buffer has no word that tells
 * whether it is free. It belongs to the cell of its message: the reader has done with it when `head` is
 * past that cell. A writer that finds no free buffer does not wait for one: it takes a slot.
 *
 * The payload of a buffer are two halves, each of which tells whose it is. `head` and `seq` are stored
 * plainly, so there are store buffers. The slot is changed by swaps.
 *
 * The writer closes at any moment: it takes back the slots that are not matched, and stores CLOSED. What was
 * published before that the reader still gets.
 *
 * Mutants: HEAD_FIRST gives the cell back before the payload is copied; FREE_AT takes a buffer as free when
 * the reader is at its message; NO_LOOK takes the buffers in turn, whatever the reader has done;
 * PUBLISH_FIRST stores `seq` before the payload. Witnesses: REUSED shows that a buffer has had two messages,
 * FULL that a message took a slot because both buffers were taken, OVERTAKEN that a message is withdrawn
 * while one with a buffer waits behind it.
 */

#ifndef MESSAGES
#define MESSAGES 4
#endif
#define CELLS 3
#define BUFFERS 2

#define HEAD 0
#define CLOSED 1
#define SEQ(p) (2 + (p) % CELLS)
#define FORM(p) (2 + CELLS + (p) % CELLS)
#define HALF(b, i) (2 + 2 * CELLS + 2 * (b) + (i))
#define WORDS 12 /* 2 + 2 * CELLS + 2 * BUFFERS */
#define BUFFERED 2
#define WRITER 0
#define READER 1

#include "tso.pml"

/* The form of a message: short, in a slot, or in the buffer FORM - IN_BUFFER. */
#define SHORT 1
#define IN_SLOT 2
#define IN_BUFFER 3

mtype = { UNUSED, POSTED, MATCHED, WITHDRAWN };
mtype slot[MESSAGES] = UNUSED; /* of each message: changed by swaps */

byte uses[BUFFERS];

/* ---- the writer ---- */

active proctype writer()
{
	byte tail, b, form, i;
	byte head;             /* as last read */
	byte free_at[BUFFERS]; /* by buffer: the position of `head` from which on it is free */

	atomic { run memory(WRITER); run memory(READER) };
	do
	:: tail < MESSAGES && tail - head < CELLS ->
		if
		:: form = SHORT
		:: form = IN_SLOT
		:: true -> /* one with a buffer, if there is one */
			head = LOAD(WRITER, HEAD);
			d_step {
				b = 0;
				do
				:: b < BUFFERS &&
#ifdef BUG_FREE_AT
				   free_at[b] > head + 1
#else
				   free_at[b] > head
#endif
				   -> b++
				:: else -> break
				od;
#ifdef BUG_NO_LOOK
				b = tail % BUFFERS;
#endif
				form = (b < BUFFERS -> IN_BUFFER + b : IN_SLOT);
			}
#ifdef WITNESS_FULL
			assert(form != IN_SLOT);
#endif
		fi;
#ifdef BUG_PUBLISH_FIRST
		store(WRITER, FORM(tail), form);
		store(WRITER, SEQ(tail), tail + 1);
#endif
		if
		:: form >= IN_BUFFER ->
			store(WRITER, HALF(b, 0), tail + 1);
			store(WRITER, HALF(b, 1), tail + 1);
			d_step {
				free_at[b] = tail + 1;
				uses[b]++
			}
#ifdef WITNESS_REUSED
			assert(uses[b] < 2);
#endif
		:: form == IN_SLOT -> DRAINED(WRITER) -> slot[tail] = POSTED
		:: else
		fi;
#ifndef BUG_PUBLISH_FIRST
		store(WRITER, FORM(tail), form);
		store(WRITER, SEQ(tail), tail + 1);
#endif
		tail++;
		b = 0
	:: tail < MESSAGES && tail - head == CELLS -> head = LOAD(WRITER, HEAD)
	:: i < tail && slot[i] == POSTED -> /* a timeout, or a cancel */
		d_step {
			DRAINED(WRITER) ->
			if
			:: slot[i] == POSTED -> slot[i] = WITHDRAWN
			:: else
			fi
		}
#ifdef WITNESS_OVERTAKEN
		assert(!(i + 1 < tail && slot[i + 1] == UNUSED && uses[0]));
#endif
	:: i < tail -> i++
	:: true -> break
	od;
	/* What it takes back it says; nothing else is lost. */
	i = 0;
	do
	:: i < tail ->
		d_step {
			DRAINED(WRITER) ->
			if
			:: slot[i] == POSTED -> slot[i] = WITHDRAWN
			:: else
			fi;
			i++
		}
	:: else -> break
	od;
	store(WRITER, CLOSED, tail + 1)
}

/* ---- the reader ---- */

active proctype reader()
{
	byte head, form, first, end;

	do
	:: LOAD(READER, SEQ(head)) == head + 1 ->
		form = LOAD(READER, FORM(head));
#if defined(BUG_HEAD_FIRST)
		store(READER, HEAD, head + 1);
#endif
		if
		:: form >= IN_BUFFER ->
			first = LOAD(READER, HALF(form - IN_BUFFER, 0));
			assert(first == head + 1);
			assert(LOAD(READER, HALF(form - IN_BUFFER, 1)) == head + 1);
			first = 0
		:: form == IN_SLOT ->
			d_step {
				DRAINED(READER) ->
				if
				:: slot[head] == POSTED -> slot[head] = MATCHED
				:: else
				fi
			};
			assert(slot[head] == MATCHED || slot[head] == WITHDRAWN)
		:: else -> assert(form == SHORT)
		fi;
		form = 0;
		head++;
#if !defined(BUG_HEAD_FIRST)
		store(READER, HEAD, head)
#else
		skip
#endif
	:: LOAD(READER, CLOSED) != 0 && LOAD(READER, SEQ(head)) != head + 1 ->
		end = LOAD(READER, CLOSED);
		if
		:: LOAD(READER, SEQ(head)) != head + 1 -> break
		:: else
		fi
	od;
	assert(head + 1 == end) /* everything that was published has been read */
}
