/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unexpected.pml - messages that nobody waits for yet: are they bounded, in order, and in nobody's way?
 *
 * A writer sends tagged messages through one ring: inline or eager, or by a slot (rendezvous). The
 * reader takes every message out of the ring, also where no posted receive matches: then it keeps
 * the message, and counts what it keeps against a limit. Before the limit can be passed it stores
 * `eager_off`, and the writer then sends everything by slots. Stores are buffered (tso.pml). The
 * life of a slot is that of slot.pml, and a match gives it back at once here. Sleep and wake-up are
 * those of wakeup.pml: a thread that waits here sees what it waits for.
 *
 * A run that stops while a receive waits is an invalid end state. Switches that begin with BUG_ are
 * mutants; those that begin with WITNESS_ claim what must be refuted.
 */

#ifndef MESSAGES
#define MESSAGES 6
#endif
#ifndef CELLS
#define CELLS 2 /* of the ring */
#endif
#ifndef BOUNCE
#define BOUNCE 1 /* eager payloads that the bounce ring holds */
#endif
#ifndef SLOTS
#define SLOTS MESSAGES /* that the writer can have at last */
#endif
#ifndef DESCRIPTORS
#define DESCRIPTORS SLOTS /* messages in slots that the reader keeps; one more is taken for an attack */
#endif
#ifndef RECEIVES
#define RECEIVES 2 /* posted at once */
#endif

/* What a kept message counts: one for itself, and one for an eager payload. */
#define COST(carry) ((carry) == EAGER -> 2 : ((carry) == INLINE -> 1 : 0))
#define RESERVE (CELLS + BOUNCE) /* what one ring holds */
#ifndef LIMIT
#define LIMIT (2 * RESERVE)
#endif
#ifdef BUG_NO_RESERVE
#define HIGH LIMIT
#else
#define HIGH (LIMIT - RESERVE)
#endif
#ifdef BUG_BACK_AT_LIMIT
#define LOW LIMIT
#else
#define LOW (LIMIT / 2)
#endif

/* ---- words of the segment ---- */

#define TAIL 0        /* messages published */
#define HEAD 1        /* messages taken */
#define BOUNCE_HEAD 2 /* eager payloads taken */
#define EAGER_OFF 3   /* written by the reader: no eager messages */
#define WORDS 4

#define WRITER 0
#define READER 1
#define BUFFERED 2

#include "tso.pml"

#define INLINE 1
#define EAGER 2
#define SLOT 3

#define ANY 2 /* a receive of any tag */

/* The cells need no buffer: what a cell holds is visible before the store to TAIL, which follows it. */
byte cells[CELLS];

byte tags;      /* a bit for each message: its tag */
byte slots = 1; /* that the writer has; it doubles them */
byte in_use;    /* of these: posted and not given back */

#define TAG(id) ((tags >> (id)) & 1)
#define ALONE(id) (3 + (id)) /* a receive of this message's own tag, with EAGER_FIRST */
#define FITS(wanted, id) ((wanted) == ANY || (wanted) == TAG(id) || (wanted) == ALONE(id))

/* The most slots that the writer fills: no more than the reader keeps. */
#ifdef BUG_UNCAPPED
#define MOST_SLOTS SLOTS
#else
#define MOST_SLOTS (SLOTS < DESCRIPTORS -> SLOTS : DESCRIPTORS)
#endif

/*
 * A step below ends where another thread can see something, or where a word is loaded that another
 * thread writes. Several stores may share a step, because they leave the buffer one by one.
 */

/* ==== the writer ==== */

#ifdef BUG_WORD_FIRST
#define REREAD off
#else
#define REREAD LOAD(WRITER, EAGER_OFF)
#endif

/* adma_ring_room(): waits for a cell. The word is read after each load of `head`. */
inline find_room()
{
	if
	:: tail - head == CELLS ->
		d_step { LOAD(WRITER, HEAD) > head -> head = LOAD(WRITER, HEAD) }
		off = REREAD
	:: else
	fi
}

/* ring_bounce_room(): the same for the bounce ring */
inline find_bounce_room()
{
	if
	:: size == EAGER && !off && bounce_tail - bounce_head == BOUNCE ->
		d_step { LOAD(WRITER, BOUNCE_HEAD) > bounce_head -> bounce_head = LOAD(WRITER, BOUNCE_HEAD) }
		off = REREAD
	:: else
	fi
}

inline publish(id, carry)
{
	d_step {
		assert(tail - head < CELLS);
		cells[tail % CELLS] = (id) * 4 + (carry);
		tail++;
		bounce_tail = bounce_tail + ((carry) == EAGER);
		store(WRITER, TAIL, tail)
	}
}

/* Wait for a slot, or for eager messages to come back if this one may be eager; then all is tried again. */
inline publish_in_slot()
{
	if
	:: in_use == slots && slots < MOST_SLOTS ->
		slots = (slots * 2 < MOST_SLOTS -> slots * 2 : MOST_SLOTS)
	:: else
	fi;
	if
	:: in_use < slots ->
		in_use++;
		publish(next, SLOT);
		size = 0
#ifdef BUG_OVERTAKE
	/* A small message passes a large one that waits for a slot. */
	:: in_use == slots && size == SLOT && !off && next + 1 < MESSAGES && !passed ->
		passed = true;
		publish(next + 1, INLINE)
#endif
#ifndef BUG_QUIET_CLEAR
	:: in_use == slots && size != SLOT && LOAD(WRITER, EAGER_OFF) == 0
#endif
	fi
}

proctype writer()
{
	byte next, tail, head, bounce_tail, bounce_head, size;
	bool off;
#ifdef BUG_OVERTAKE
	bool passed;
#endif
#ifdef WITNESS_EAGER_AGAIN
	bool was_off;
#endif

	do
	:: next == MESSAGES -> break
	:: else ->
		atomic {
			if
			:: size = INLINE
			:: size = EAGER
#ifdef LARGE
			:: size = SLOT
#endif
			fi
		}
		do
		:: atomic { size == 0 -> next++; break }
		:: atomic { size > 0 -> off = LOAD(WRITER, EAGER_OFF) }
			find_room();
			find_bounce_room();
			atomic {
#ifdef WITNESS_EAGER_AGAIN
				assert(!(was_off && !off && size != SLOT));
				was_off = was_off || off;
#endif
				if
				:: off || size == SLOT -> publish_in_slot()
				:: else -> publish(next, size); size = 0
				fi
			}
		od;
		atomic {
			off = false;
#ifdef BUG_OVERTAKE
			next = next + passed;
			passed = false;
#endif
		}
	od
}

/* ==== the reader: progress and the application in one process ==== */

byte kept[MESSAGES];     /* how an unexpected message came, or 0 */
bool received[MESSAGES];
byte arrived, held, in_slots;
bool told_off;           /* what the reader stored last */
byte wants[RECEIVES];    /* posted receives, the oldest first: tag + 1 */
byte posted_receives;

byte left[3];            /* of each tag, and of any: messages that were not received */
byte waiting[3 + MESSAGES]; /* posted receives of each */

/* A receive of this tag is completed by this message: none that fits and was sent earlier is left. */
inline complete(wanted, which)
{
	i = 0;
	do
	:: i < which -> assert(received[i] || !FITS(wanted, i)); i++
	:: else -> break
	od;
	i = 0;
	received[which] = true;
	left[TAG(which)]--;
	left[ANY]--
}

/* The word follows what is held. Stored again only when it changes. */
inline tell()
{
	if
	:: !told_off && held > HIGH -> told_off = true; store(READER, EAGER_OFF, 1)
	:: told_off && held < LOW ->
#ifndef BUG_STAYS_OFF
		told_off = false;
		store(READER, EAGER_OFF, 0)
#endif
	:: else
	fi;
	assert(held <= LIMIT);
#ifdef WITNESS_AT_LIMIT
	assert(held < LIMIT);
#endif
#if !defined(BUG_BACK_AT_LIMIT) && LIMIT >= 2 * RESERVE
	assert(told_off -> held >= LIMIT / 2 : held <= HIGH)
#endif
}

/* Take the next message out of the ring, match it, or keep it. */
inline drain()
{
	d_step {
		cell = cells[head % CELLS];
		which = cell / 4;
		cell = cell % 4;
		assert(which == arrived); /* in send order */
		arrived++;
		/* The oldest posted receive that fits */
		k = 0;
		do
		:: k < posted_receives && !FITS(wants[k] - 1, which) -> k++
		:: else -> break
		od;
		if
		:: k < posted_receives ->
			waiting[wants[k] - 1]--;
			complete(wants[k] - 1, which);
			posted_receives--;
			do
			:: k < posted_receives -> wants[k] = wants[k + 1]; k++
			:: else -> break
			od;
			wants[k] = 0;
			in_use = in_use - (cell == SLOT)
		:: else ->
			kept[which] = cell;
			held = held + COST(cell);
			in_slots = in_slots + (cell == SLOT);
			assert(in_slots <= DESCRIPTORS)
		fi;
		k = 0;
		which = 0
	}
	head++;
#if !defined(BUG_WORD_LATE) && !defined(BUG_WORD_BETWEEN)
	tell();
#endif
	if
	:: cell == EAGER -> bounce_head++; store(READER, BOUNCE_HEAD, bounce_head)
	:: else
	fi;
#ifdef BUG_WORD_BETWEEN
	tell();
#endif
	store(READER, HEAD, head);
#ifdef BUG_WORD_LATE
	tell();
#endif
	cell = 0
}

/* The application posts a receive, which takes the oldest kept message that fits, or waits. */
inline receive(wanted)
{
	d_step {
		which = 0;
#ifdef BUG_UNSEARCHED
		which = arrived;
#endif
		do
		:: which < arrived && !(kept[which] && FITS(wanted, which)) -> which++
		:: else -> break
		od;
		if
		:: which < arrived ->
			complete(wanted, which);
			held = held - COST(kept[which]);
			in_use = in_use - (kept[which] == SLOT);
			in_slots = in_slots - (kept[which] == SLOT);
			kept[which] = 0
		:: else ->
			waiting[wanted]++;
			wants[posted_receives] = wanted + 1;
			posted_receives++
		fi;
		which = 0
	}
	tell()
}

/* A receive is posted only if a message is left for it whatever the others take. */
#define MAY_ASK(tag) (left[tag] > waiting[tag] + waiting[ANY])
#define MAY_ASK_ANY \
	(left[ANY] > waiting[0] + waiting[1] + waiting[ANY] && (waiting[0] == 0 || MAY_ASK(0)) && \
	 (waiting[1] == 0 || MAY_ASK(1)))

proctype reader()
{
	byte head, bounce_head, cell, which, k, i;
#ifdef EAGER_FIRST
	byte want;
#endif

	do
	:: left[ANY] == 0 -> break
	:: atomic { left[ANY] > 0 && LOAD(READER, TAIL) > head -> drain() }
#ifdef EAGER_FIRST
	/* The application wants what came in slots last. */
	:: atomic {
		posted_receives == 0 && left[ANY] > 0 ->
		k = 0;
		do
		:: k < MESSAGES && (received[k] || kept[k] == SLOT) -> k++
		:: else -> break
		od;
		if
		:: k == MESSAGES ->
			k = 0;
			do
			:: kept[k] == 0 -> k++
			:: else -> break
			od
		:: else
		fi;
		want = ALONE(k);
		k = 0;
		receive(want);
		want = 0
	   }
#else
#ifndef ANY_ONLY
	:: atomic { posted_receives < RECEIVES && MAY_ASK(0) -> receive(0) }
	:: atomic { posted_receives < RECEIVES && MAY_ASK(1) -> receive(1) }
#endif
	:: atomic { posted_receives < RECEIVES && MAY_ASK_ANY -> receive(ANY) }
#endif
	od
}

init
{
	byte id;

	atomic {
		if
		:: tags = 1 << (MESSAGES - 1)
#ifndef LAST_ALONE
		:: tags = 0
		:: tags = 170
#endif
		fi;
		do
		:: id < MESSAGES -> left[TAG(id)]++; left[ANY]++; id++
		:: else -> break
		od;
		id = 0;
		run memory(WRITER);
		run memory(READER);
		run writer();
		run reader()
	}
}
