/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * claim.pml - processes that claim one end of a pipe, and the process at the other end, which has to hear of a death.
 *
 * A process claims an end by taking its ticket, which the kernel gives to one of them. It may be killed before it has
 * said hello, and then nobody can claim the end any more. So it says who it is first, in a note, and takes that back if
 * another process was quicker. The watcher holds the other end. It looks whether the ticket is taken, reads the notes, and
 * drops those who are dead. It sleeps until a note comes, somebody dies of whom a note told, or the hello is there. A
 * copy of the end stays open elsewhere, so the line does not tell it that nobody is left, unless all are done.
 *
 * Everything that is shared is an object of the kernel. So the model is sequentially consistent.
 *
 * Mutants: TICKET_FIRST takes the ticket before it leaves the note; NOTES_FIRST reads the notes before it looks at
 * the ticket; SILENT_LOSER does not take its note back; ONE_LOOK does not look at the ticket again when everybody known is dead. Witness: DEATH shows that a death
 * is told.
 */

#ifndef CLAIMANTS
#define CLAIMANTS 3
#endif
#define NOBODY 255

#define LOST   100 /* and more: this one has not got the ticket */

chan notes = [2 * CLAIMANTS] of { byte };
bool taken, hello;
byte owner = NOBODY, through;
bool dead[CLAIMANTS];

inline may_die()
{
	if
	:: skip
	:: dead[me] = true; goto over
	fi
}

inline leave_note()
{
	notes!me;
	may_die()
}

inline take_ticket()
{
	atomic {
		if
		:: !taken -> taken = true; owner = me
		:: else
		fi
	};
	may_die()
}

proctype claimant(byte me)
{
	if
	:: taken -> goto over
	:: else
	fi;
	may_die();
#ifdef BUG_TICKET_FIRST
	take_ticket();
	leave_note();
#else
	leave_note();
	take_ticket();
#endif
	if
	:: owner == me -> hello = true
	:: else ->
#ifndef BUG_SILENT_LOSER
		notes!(LOST + me);
#endif
		may_die()
	fi;
over:
	through++
}

/* ---- the other end ---- */

bool seen, listed[CLAIMANTS];

#define KNOWN(i) (listed[i])
#define DIED(i)	 (listed[i] && dead[i])
#if CLAIMANTS == 2
#define ANY(what) (what(0) || what(1))
#else
#define ANY(what) (what(0) || what(1) || what(2))
#endif

inline listen()
{
	do
	:: atomic {
		nempty(notes) -> notes?who;
		if
		:: who >= LOST -> listed[who - LOST] = false
		:: else -> listed[who] = true; seen = true
		fi;
		who = 0
	}
	:: empty(notes) -> break
	od;
	do
	:: i < CLAIMANTS ->
		if
		:: DIED(i) -> listed[i] = false
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od
}

active proctype watcher()
{
	byte i, who;
	bool was_taken;

	do
	:: hello -> break
	:: else ->
#ifdef BUG_NOTES_FIRST
		listen();
		was_taken = taken;
#else
		was_taken = taken;
		listen();
#endif
		if
		:: seen && !ANY(KNOWN) && was_taken ->
			assert(owner != NOBODY && dead[owner]);
#ifdef WITNESS_DEATH
			assert(false);
#endif
			break
#ifndef BUG_ONE_LOOK
		:: seen && !ANY(KNOWN) && !was_taken && taken
#endif
		:: else ->
			/* sleeps */
			if
			:: nempty(notes) || hello || ANY(DIED)
			:: through == CLAIMANTS && !taken -> break
			fi
		fi
	od
}

init {
	byte i;

	atomic {
		do
		:: i < CLAIMANTS -> run claimant(i); i++
		:: else -> break
		od
	}
}
