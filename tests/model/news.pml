/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * news.pml - how an endpoint learns which slots changed, while the slots of its segment grow.
 *
 * The writer posts MESSAGES in slots, and grows its slots when none is free. Two threads of the
 * reader take the messages; each matches and then finishes what it took, and tells after both. To
 * tell is to set the slot's bit in the news word of its block, then the block's bit in the top
 * word, and then to signal. The writer looks at all of its slots while few are in use, and
 * otherwise at those whose bits it takes. It waits until it is signalled after its last look,
 * which is what wakeup.pml proves of shm/eventcount.h, or until the peer is dead. The life of a
 * slot is reduced to three states (slot.pml has all of it). The other direction, in which the
 * writer tells the reader, is the same with the roles exchanged.
 *
 * Switches of a run:
 *   NO_MEMORY  the slots may fail to grow: then the writer goes on with what there is
 *   DEATH      the reader's process may die at any moment
 *   LIES       so many bits are set by the peer for no reason, anywhere, at any moment
 *   FEW        so many slots in use are looked at directly
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef FEW
#define FEW 1
#endif
#ifndef LIES
#define LIES 0
#endif

#define BLOCK 2 /* slots of a block, and bits of a word */
#define FIRST BLOCK
#define SLOTS (2 * BLOCK)

/* Threads. All of them make plain stores. */
#define W 0
#define BUFFERED 3

/* Words. */
#define STATE(i) (i)
#define NEWS(b) (SLOTS + (b))
#define TOP (SLOTS + 2)
#define TAIL (SLOTS + 3) /* messages published */
#define CELL(n) (SLOTS + 4 + (n)) /* the slot of a message */
#define WORDS (SLOTS + 4 + MESSAGES)

/* The states of a slot; the same values tell what the writer knows of it. */
#define UNUSED 0
#define POSTED 1
#define MATCHED 2
#define FINISHED 3

#include "tso.pml"

/* ---- private to the writer ---- */
byte use[SLOTS];
byte capacity = FIRST;
byte in_use;
byte noted; /* messages that are finished, as the writer knows */
bool stuck; /* growing failed: it is not tried again */
bool mourns;

/* ---- private to the reader, under its lock ---- */
byte taken;

/* ---- the world ---- */
bool present[2];  /* the pages of a block are allocated: otherwise an access may raise SIGBUS */
bool signalled;   /* the writer was signalled since it last read its event count */
bool dead;
byte through;     /* threads of the reader that have returned */
#ifdef WITNESS_BY_NEWS
bool by_news;
#endif

#define BIT(i) (1 << (i))
#define BLOCK_OF(i) ((i) / BLOCK)

inline set_bit(t, w, mask)
{
	atomic { DRAINED(t) -> mem[w] = mem[w] | (mask) }
}

/* Mutant: leave it at a load where the bit seems to be set. */
inline set_bit_unless_set(t, w, mask)
{
	if
	:: LOAD(t, w) & (mask)
	:: else -> set_bit(t, w, mask)
	fi
}

inline signal(t)
{
	atomic { DRAINED(t) -> signalled = true }
}

/* adma_news_set(), and adma_signal_peer() after it. */
inline tell(t, i)
{
#if defined(BUG_SIGNAL_FIRST)
	signal(t);
	set_bit(t, NEWS(BLOCK_OF(i)), BIT(i % BLOCK));
	set_bit(t, TOP, BIT(BLOCK_OF(i)))
#elif defined(BUG_TOP_FIRST)
	set_bit(t, TOP, BIT(BLOCK_OF(i)));
	set_bit(t, NEWS(BLOCK_OF(i)), BIT(i % BLOCK));
	signal(t)
#elif defined(BUG_UNLESS_SET)
	set_bit_unless_set(t, NEWS(BLOCK_OF(i)), BIT(i % BLOCK));
	set_bit_unless_set(t, TOP, BIT(BLOCK_OF(i)));
	signal(t)
#else
	set_bit(t, NEWS(BLOCK_OF(i)), BIT(i % BLOCK));
	set_bit(t, TOP, BIT(BLOCK_OF(i)));
	signal(t)
#endif
}

/* The slot changes, and the writer is told. The change may be a plain store. */
inline change(t, i, to)
{
#ifdef BUG_BIT_BEFORE_CHANGE
	set_bit(t, NEWS(BLOCK_OF(i)), BIT(i % BLOCK));
	set_bit(t, TOP, BIT(BLOCK_OF(i)));
	store(t, STATE(i), to);
	signal(t)
#else
	store(t, STATE(i), to);
	tell(t, i)
#endif
}

proctype reader(byte t)
{
	byte i;

	{
	do
	:: atomic {
		LOAD(t, TAIL) > taken ->
		i = mem[CELL(taken)];
		taken++;
		assert(present[BLOCK_OF(i)]);
		assert(LOAD(t, STATE(i)) == POSTED) /* else -EPROTO */
	   }
	   change(t, i, MATCHED);
	   change(t, i, FINISHED);
	   i = 0
	:: taken == MESSAGES -> break
	od;
	through++
	} unless { dead }
}

/* ---- the writer ---- */

/* Look at one slot in use, under the lock. A transfer that begins is looked at at once. */
inline look(i)
{
	seen = LOAD(W, STATE(i));
	atomic {
#ifdef BUG_TRUST_BITS
		if
		:: by_bit && use[i] == POSTED && seen < MATCHED -> seen = MATCHED
		:: by_bit && use[i] == MATCHED -> seen = FINISHED
		:: else
		fi;
		assert(use[i] == UNUSED || seen <= mem[STATE(i)]);
#endif
		if
		:: use[i] == POSTED && seen >= MATCHED ->
			use[i] = MATCHED;
			changed = true;
#ifdef BUG_NO_SECOND_LOOK
			seen = MATCHED;
#endif
		:: else
		fi;
		if
		:: use[i] == MATCHED && seen == FINISHED ->
			use[i] = UNUSED;
			in_use--;
			noted++;
			changed = true;
#ifdef WITNESS_BY_NEWS
			by_news = by_news || by_bit;
#endif
		:: else /* a bit of a slot that is not in use means nothing */
		fi;
		seen = 0
	}
}

inline look_at_all()
{
	i = 0;
	do
	:: i < capacity ->
		if
		:: use[i] != UNUSED -> look(i)
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od
}

/* One exchange of a word with 0. */
inline take(w, into)
{
#ifdef BUG_TAKE_BY_STORE
	into = LOAD(W, w);
	if
	:: into -> store(W, w, 0)
	:: else
	fi
#else
	if
	:: LOAD(W, w) == 0 -> into = 0
	:: else -> atomic { DRAINED(W) -> into = mem[w]; mem[w] = 0 }
	fi
#endif
}

inline look_by_news()
{
#ifdef BUG_WORDS_FIRST
	take(NEWS(0), word);
	take(NEWS(1), other);
	take(TOP, top);
	word = word * ((top & 1) != 0);
	other = other * ((top & 2) != 0);
#else
	take(TOP, top);
	if
	:: top & 1 -> take(NEWS(0), word)
	:: else
	fi;
	if
	:: top & 2 && capacity > BLOCK -> take(NEWS(1), other)
	:: else
	fi;
#endif
	by_bit = true;
	i = 0;
	do
	:: i < capacity ->
		if
		:: (i < BLOCK -> word & BIT(i) : other & BIT(i - BLOCK)) -> look(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	atomic { i = 0; top = 0; word = 0; other = 0; by_bit = false }
}

/* Find a slot; the slots double when none is free. i == SLOTS: there is none. */
inline find_slot()
{
	atomic {
		i = 0;
		do
		:: i < capacity && use[i] != UNUSED -> i++
		:: else -> break
		od;
		if
		:: i == capacity && (capacity == SLOTS || stuck) -> i = SLOTS
		:: else
		fi
	}
	if
	:: i < SLOTS && i == capacity ->
		if
#ifdef BUG_GROW_BARE
		:: capacity = SLOTS
#else
		:: present[1] = true; capacity = SLOTS
#endif
#ifdef NO_MEMORY
		:: atomic { stuck = true; i = SLOTS }
#endif
		fi
	:: else
	fi
}

inline publish()
{
	do
	:: published < MESSAGES ->
		find_slot();
		if
		:: i == SLOTS -> i = 0; break
		:: else
		fi;
		assert(present[BLOCK_OF(i)]);
		use[i] = POSTED;
		in_use++;
		store(W, STATE(i), POSTED);
		store(W, CELL(published), i);
		store(W, TAIL, published + 1);
		published++;
		i = 0
	:: else -> break
	od
}

proctype writer()
{
	byte i, seen, published, top, word, other;
	bool changed, by_bit;

	do
	:: noted == MESSAGES -> break
	:: else ->
		signalled = false;
		mourns = dead;
		changed = false;
		if
		:: !mourns -> publish()
		:: else
		fi;
#ifdef WITNESS_GROWN
		assert(in_use <= FIRST);
#endif
		if
#ifdef BUG_DEAD_BY_NEWS
		:: in_use > FEW -> look_by_news()
#else
		:: mourns -> look_at_all()
		:: !mourns && in_use > FEW -> look_by_news()
#endif
		:: in_use <= FEW -> look_at_all()
		fi;
		if
		:: mourns -> break
		:: !mourns && !changed -> signalled || (dead && !mourns)
		:: else
		fi
	od;
	/* What the reader changed before it died was noted. */
	atomic {
		do
		:: i < SLOTS -> assert(use[i] == UNUSED || use[i] == LOAD(W, STATE(i))); i++
		:: else -> i = 0; break
		od
	}
#ifdef WITNESS_BY_NEWS
	assert(!by_news)
#endif
}

/* The peer sets bits for no reason. */
proctype liar()
{
	byte n;

	do
	:: n < LIES -> atomic { mem[TOP] = mem[TOP] | 1; n++ }
	:: n < LIES -> atomic { mem[TOP] = mem[TOP] | 2; n++ }
	:: n < LIES -> atomic { mem[NEWS(0)] = mem[NEWS(0)] | 3; n++ }
	:: n < LIES -> atomic { mem[NEWS(1)] = mem[NEWS(1)] | 3; n++ }
	:: n == LIES -> break
	od
}

/* The reader's process may die. What its threads had stored is in memory then. */
proctype fate()
{
	if
	:: true
	:: atomic { DRAINED(1) && DRAINED(2) -> dead = true }
	fi
}

init
{
	atomic {
		present[0] = true;
		run memory(0); run memory(1); run memory(2);
		run writer(); run reader(1); run reader(2);
#if LIES > 0
		run liar();
#endif
#ifdef DEATH
		run fate()
#endif
	}
}
