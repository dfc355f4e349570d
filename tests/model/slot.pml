/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slot.pml - the life of a slot: post, match or cancel, copy by both endpoints, close, failure,
 * death, and the next life in the same words.
 *
 * There is one slot with a writer and a reader, and it has LIVES lives of CHUNKS chunks. Each
 * endpoint has a main thread and may have a helper, a second thread that claims chunks and does
 * nothing else. Every access to a shared word is a step of its own, and plain stores go through
 * store buffers (tso.pml). A thread waits until it is signalled after its last look, which is what
 * wakeup.pml proves of shm/eventcount.h, or until the peer is proven dead. The switches named BUG_
 * are mutants, which must be caught. Those named WITNESS_ claim that something never happens which
 * must be able to happen.
 *
 * Switches of a run:
 *   CANCELS      the writer may withdraw what is posted, at any moment
 *   CLOSES       either endpoint may close, at any moment
 *   FAILS        any chunk may fail
 *   DEATH        either process, or none, dies at any moment
 *   STOP         either process, or none, stops for ever and is not dead; an endpoint that closes
 *                gives up after a while then, and keeps its buffer
 *   RESERVES     the reader may reserve what is posted, and match it later
 *   REDOES       a message whose copy failed is copied once more, in the next life of the slot, for the
 *                same write and read
 *   HELPERS      bit 0: the writer has a helper; bit 1: the reader has one
 *   LATE         a helper may still be about to claim when its endpoint is through with the life
 *                (adma holds the channel's lock there)
 */

#ifndef LIVES
#define LIVES 2
#endif
#ifndef CHUNKS
#define CHUNKS 2
#endif
#ifndef HELPERS
#define HELPERS 0
#endif
#ifndef HELPS
#define HELPS 2 /* claims that a helper tries to make */
#endif

/* Endpoints and threads. The id of a helper is that of its endpoint + 2. */
#define W 0
#define R 1
#define BUFFERED 2 /* helpers make no plain stores */

/* Words, {generation:4, value:4}. */
#define STATE 0
#define CURSOR 1
#define DONE 2
#define ERROR 3
#define SEEN 4
#define OFFER 5     /* the writer's plain fields */
#define CHOICE 6    /* the reader's plain fields */
#define DESC 7      /* the descriptor in the ring: the generation that was posted last */
#define CLOSED(e) (8 + (e)) /* `closed` of the endpoint's segment */
#define WORDS 10

#define WORD(g, v) ((g) * 16 + (v))
#define GEN(w) ((w) >> 4)
#define VALUE(w) ((w) & 15)
#define SHUT 8 /* the closed bit of a cursor */
#define NEXT(w) ((w) & 7)
#define CLAIMED(w) ((w) + 1 + SHUT * (NEXT(w) + 1 == CHUNKS))

/* enum adma_slot_state */
#define POSTED 1
#define MATCHED 2
#define CANCELLED 3
#define COMPLETED 5 /* ADMA_DONE, or ADMA_ABORTED */
#define RESERVED 6
#define AGAIN 7 /* the reader asks for another life */

#define NONE 15 /* no chunk */
#define EIO 5

#include "tso.pml"

/* A read-modify-write of thread t may act. */
#define FENCED(t) ((t) >= BUFFERED || DRAINED((t) & 1))

/* ---- private to an endpoint, under its channel's lock ---- */
byte current[2]; /* the life that is being copied, 0: none */
byte busy[2];    /* helpers that have decided to claim, and have not retired their chunk yet */
bool over[2];    /* this endpoint closed, or saw the peer closed or dead */
bool mourns[2];  /* this endpoint saw the peer dead */
bool through[2]; /* the endpoint's main thread has returned */

/* ---- the world ---- */
bool signalled[2]; /* the endpoint was signalled since it last read its event count */
bool dead[2];      /* provably */
bool halted[2];    /* executes nothing any more: dead, or stopped */

/* ---- what the properties are about ---- */
byte copying[4];           /* the life whose buffers a thread touches now */
byte let_go[2];            /* mask of lives whose buffer the endpoint has let go */
#ifdef REDOES
bool redone[LIVES + 1];    /* the writer posted this life for the message of the life before */
#endif
byte begun[LIVES + 1];     /* mask of chunks that were claimed for copying */
byte copied[LIVES + 1];    /* mask of chunks that were copied without an error */
bool failed[LIVES + 1];    /* a chunk failed */
bool matched[LIVES + 1];
bool cancelled[LIVES + 1];
#ifdef RESERVES
bool reserved[LIVES + 1];
#define IS_TAKEN(g) (matched[g] || reserved[g])
#define WAITS_FOR_READER(w) (VALUE(w) == POSTED || VALUE(w) == RESERVED)
#else
#define IS_TAKEN(g) matched[g]
#define WAITS_FOR_READER(w) (VALUE(w) == POSTED)
#endif
byte verdict[2 * (LIVES + 1)]; /* what each endpoint told its caller of a message, by its first life */
#define VERDICT(e, g) verdict[(e) * (LIVES + 1) + (g)]
#ifdef WITNESS_BOTH_COPY
byte copiers; /* mask of endpoints that ever copied a chunk */
#endif
#define GOOD 1
#define BAD 2

#define LIFE(g) (1 << (g))
#define ALL_CHUNKS ((1 << CHUNKS) - 1)

/* ---- shm/slot.h, one step for each access; locals of the caller: seen, ok ---- */

inline swap(t, at, expected, wanted)
{
	atomic {
		FENCED(t) ->
		ok = (mem[at] == (expected));
		if
		:: ok -> mem[at] = wanted
		:: else
		fi
	}
}

/* The mutant's swap: it compares and changes the value alone. */
inline swap_value(t, at, expected, wanted)
{
	atomic {
		FENCED(t) ->
		ok = (VALUE(mem[at]) == VALUE(expected));
		if
		:: ok -> mem[at] = WORD(GEN(mem[at]), VALUE(wanted))
		:: else
		fi
	}
}

inline signal(thread, whose)
{
	atomic { FENCED(thread) -> signalled[whose] = true }
}

inline slot_post(g)
{
	store(W, OFFER, g);
	store(W, CURSOR, WORD(g, 0));
	store(W, DONE, WORD(g, 0));
	store(W, ERROR, WORD(g, 0));
	store(W, STATE, WORD(g, POSTED))
}

/* The swap out of POSTED; the model notes who won. */
inline leave_posted(t, g, wanted, won, lost)
{
	atomic {
		FENCED(t) ->
		ok = (mem[STATE] == WORD(g, POSTED));
		if
		:: ok -> mem[STATE] = WORD(g, wanted); won = true; assert(!(lost))
		:: else
		fi
	}
}

/* How the mutants do it: in two steps where one swap should be. */
inline leave_posted_by_store(t, g, wanted, won, lost)
{
	ok = (mem[STATE] == WORD(g, POSTED));
	if
	:: ok ->
		atomic {
			FENCED(t) ->
			mem[STATE] = WORD(g, wanted);
			won = true;
			assert(!(lost))
		}
	:: else
	fi
}

#ifdef RESERVES
/* A cancel that takes a reserved message, too. */
inline leave_reserved(t, g, wanted, won, lost)
{
	atomic {
		FENCED(t) ->
		ok = (mem[STATE] == WORD(g, POSTED) || mem[STATE] == WORD(g, RESERVED));
		if
		:: ok -> mem[STATE] = WORD(g, wanted); won = true; assert(!(lost))
		:: else
		fi
	}
}

/* Only the reader leaves RESERVED, so that its swap cannot fail. */
inline match_reserved(g)
{
	atomic {
		FENCED(R) ->
		assert(mem[STATE] == WORD(g, RESERVED) && !cancelled[g]); /* else -EPROTO */
		mem[STATE] = WORD(g, MATCHED);
		matched[g] = true
	}
}
#endif

/*
 * From here on a step is atomic { one access to a shared word; what the thread makes of it by
 * itself }.
 *
 * `chunk` is NONE when no chunk is left.
 */
inline slot_claim(t, g, chunk)
{
	do
	:: atomic {
		seen = mem[CURSOR];
#if !defined(LATE) || defined(WITNESS_LATE_CLAIM)
		assert(GEN(seen) == g); /* else -EPROTO between honest endpoints */
#endif
		if
		:: GEN(seen) != g || (seen & SHUT) -> seen = 0; break
#ifndef BUG_CLAIM_OF_NOTHING
		:: GEN(seen) == g && !(seen & SHUT) && CHUNKS == 0 -> seen = 0; break
#endif
		:: else -> assert(NEXT(seen) < CHUNKS) /* else -EPROTO */
		fi
	   }
	   atomic {
#ifdef BUG_NO_GENERATION
		swap_value(t, CURSOR, seen, CLAIMED(seen));
#else
		swap(t, CURSOR, seen, CLAIMED(seen));
#endif
		if
		:: ok -> chunk = NEXT(seen); ok = false; seen = 0; break
		:: else -> seen = 0
		fi
	   }
	od
}

inline slot_close(t, g)
{
	do
	:: atomic {
		seen = mem[CURSOR];
		if
		:: GEN(seen) != g || (seen & SHUT) -> seen = 0; break
		:: else
		fi
	   }
	   atomic {
#ifdef BUG_CLOSE_BY_STORE
		atomic { FENCED(t) -> mem[CURSOR] = seen | SHUT; ok = true };
#else
		swap(t, CURSOR, seen, seen | SHUT);
#endif
		seen = 0;
		if
		:: ok -> ok = false; break
		:: else
		fi
	   }
	od
}

/* The first error stays. */
inline slot_note(t, g)
{
	swap(t, ERROR, WORD(g, 0), WORD(g, EIO));
	ok = false
}

inline slot_count(t, g)
{
	do
	:: atomic { seen = mem[DONE]; assert(GEN(seen) == g) };
	   atomic {
#ifdef BUG_COUNT_BY_STORE
		atomic { FENCED(t) -> mem[DONE] = seen + 1; ok = true };
#else
		swap(t, DONE, seen, seen + 1);
#endif
		seen = 0;
		if
		:: ok -> ok = false; break
		:: else
		fi
	   }
	od
}

/* `err` is 0 or EIO. */
inline slot_retire(t, g, err)
{
#ifdef BUG_RETIRE_FIRST
	slot_count(t, g);
#endif
	if
	:: err > 0 ->
		slot_note(t, g);
		slot_close(t, g)
	:: else
	fi
#ifndef BUG_RETIRE_FIRST
	slot_count(t, g)
#endif
}

/* Results in cursor, error and quiet, locals of the caller. */
inline slot_look(g)
{
#ifdef BUG_LOOK_ERROR_FIRST
	error = mem[ERROR];
#endif
	done = mem[DONE];
	cursor = mem[CURSOR];
	atomic {
#ifndef BUG_LOOK_ERROR_FIRST
		error = mem[ERROR];
#endif
#ifdef LATE
		quiet = GEN(done) == g && GEN(cursor) == g && GEN(error) == g;
#else
		assert(GEN(done) == g && GEN(cursor) == g && GEN(error) == g);
		quiet = true;
#endif
		assert(!quiet || VALUE(done) <= NEXT(cursor)); /* else -EPROTO */
#ifdef BUG_CLOSED_IS_QUIET
		quiet = quiet && (cursor & SHUT);
#else
		quiet = quiet && (cursor & SHUT) && VALUE(done) == NEXT(cursor);
#endif
		done = 0
	}
}

/* Forget what a look and a claim brought, so that equal states look equal. */
#define FORGET atomic { chunk = NONE; err = 0; cursor = 0; error = 0; quiet = false }

/* ---- a chunk, from its claim to the signal: chunk_copy() and chunk_retire() in worker/transfer_copy.c ---- */

/* The kernel moves the bytes between two buffers, which must be there all the time. */
inline copy(t, e, g, chunk, err)
{
	atomic {
		assert(!(begun[g] & (1 << chunk)));
		begun[g] = begun[g] | (1 << chunk);
		assert(dead[W] || !(let_go[W] & LIFE(g)));
		assert(dead[R] || !(let_go[R] & LIFE(g)));
		copying[t] = g
	}
	if
	:: atomic {
		!dead[1 - e] ->
		copying[t] = 0;
		copied[g] = copied[g] | (1 << chunk);
#ifdef WITNESS_BOTH_COPY
		copiers = copiers | (1 << e);
#endif
		err = 0
	   }
#ifdef FAILS
	:: atomic { copying[t] = 0; failed[g] = true; err = EIO }
#else
	:: atomic { dead[1 - e] -> copying[t] = 0; failed[g] = true; err = EIO }
#endif
	fi
}

inline copy_one(t, e, g, chunk, err)
{
	copy(t, e, g, chunk, err);
	slot_retire(t, g, err);
	slot_look(g);
	if
	:: quiet -> signal(t, 1 - e)
	:: else
	fi;
	FORGET
}

/* ---- the main thread of an endpoint ---- */

/* The first life of a message: the local `again` tells that this is its second one. */
#ifdef REDOES
#define MESSAGE(g) ((g) - again)
#define IS_NEW (!again) /* what was matched once cannot be withdrawn by the caller */
#else
#define MESSAGE(g) (g)
#define IS_NEW true
#endif

/* The caller gets its buffer back. */
inline release(e, g)
{
	atomic {
		assert(copying[0] != g && copying[1] != g && copying[2] != g && copying[3] != g);
		let_go[e] = let_go[e] | LIFE(g) | LIFE(MESSAGE(g))
	}
}

inline tell(e, g, good)
{
	VERDICT(e, MESSAGE(g)) = (good -> GOOD : BAD);
	assert(VERDICT(1 - e, MESSAGE(g)) == 0 || VERDICT(1 - e, MESSAGE(g)) == VERDICT(e, MESSAGE(g)));
	assert(!(good) || (copied[g] == ALL_CHUNKS && !failed[g]))
}

inline judge(e, g, good)
{
	atomic {
		tell(e, g, good);
		assert(matched[g] && !cancelled[g])
	}
}

/* channel_begin_close(), as far as it concerns a life that is being copied. */
inline begin_close(e, g)
{
	over[e] = true;
	slot_close(e, g);
	store(e, CLOSED(e), 1);
	signal(e, 1 - e)
}

inline note_peer(e)
{
	atomic {
		mourns[e] = dead[1 - e];
		over[e] = over[e] || dead[1 - e] || LOAD(e, CLOSED(1 - e))
	}
}

/* May the buffer be let go? This is transfer_outcome() in worker/transfers.c, called with the lock held. */
#if defined(BUG_DEATH_ALONE)
#define SETTLED(e) (quiet || mourns[e])
#elif defined(BUG_SILENCE_IS_DEATH)
#define SETTLED(e) (quiet || (over[e] && busy[e] == 0))
#elif defined(BUG_AGAIN_LOUD)
#define SETTLED(e) (busy[e] == 0 && (quiet || VALUE(error) || (mourns[e] && (cursor & SHUT))))
#elif defined(LATE)
#define SETTLED(e) (quiet || (mourns[e] && (cursor & SHUT) && busy[e] == 0))
#else
#define SETTLED(e) (busy[e] == 0 && (quiet || (mourns[e] && (cursor & SHUT))))
#endif

/*
 * The endpoint claims and copies while there is a chunk. Then it waits until the slot is quiet, and
 * takes the result. The reader claims whenever there is a chunk; the writer may have other things
 * to do.
 */
inline transfer(e, g)
{
	current[e] = g;
	do
	:: signalled[e] = false;
		note_peer(e);
		if
		:: !over[e] -> slot_claim(e, g, chunk)
		:: !over[e] && e == W
#ifdef CLOSES
		:: !over[e] -> begin_close(e, g)
#endif
		:: over[e] -> slot_close(e, g)
		fi;
		if
		:: chunk != NONE -> copy_one(e, e, g, chunk, err)
		:: else ->
			slot_look(g);
#ifdef BUG_LOOK_BEFORE_DEATH
			mourns[e] = dead[1 - e];
#endif
			if
			:: atomic { SETTLED(e) -> current[e] = 0; break }
			:: else ->
				if
				:: signalled[e] || (dead[1 - e] && !mourns[e])
#ifdef STOP
				:: over[e] -> goto gave_up /* adma_chan_close() timed out: the buffer is kept for good */
#endif
#ifdef CLOSES
				:: !over[e] -> begin_close(e, g)
#endif
				fi
			fi;
			FORGET
		fi
	od;
	atomic {
		assert(!quiet || !failed[g] || VALUE(error)); /* whoever sees it quiet sees the error */
		good = quiet && !VALUE(error) && NEXT(cursor) == CHUNKS
	};
#ifdef REDOES
	/* A copy that failed ends nothing yet, unless it was the second one, or the endpoint is over. */
#ifdef BUG_AGAIN_LOUD
	asks = mem[ERROR] == WORD(g, EIO) && !again && !over[e] && g < LIVES;
#else
	asks = quiet && VALUE(error) && !again && !over[e] && g < LIVES;
#endif
#ifdef BUG_WRITER_ENDS_IT
	asks = asks && e == R;
#endif
	if
	:: asks -> good = false; FORGET; goto is_failed
	:: else
	fi;
#endif
	judge(e, g, good);
#if defined(WITNESS_BOTH_COPY)
	assert(!good || copiers != 3);
#elif defined(WITNESS_DEAD_BUT_DONE)
	assert(!good || !mourns[e]);
#elif defined(WITNESS_REDONE)
	assert(!good || !again);
#elif defined(WITNESS_THIRD_LIFE)
	assert(!good || g < 3);
#endif
	release(e, g);
	good = false;
	FORGET
}

proctype writer()
{
	byte g = 1, seen, done, cursor, error, chunk = NONE, err;
	bool ok, quiet, good;
#ifdef REDOES
	bool again, asks;
#endif

	{
	do
	:: g > LIVES -> break
	:: else ->
		/* The slot is the writer's again when the reader is through with its last life. */
		do
		:: signalled[W] = false;
			note_peer(W);
			if
			:: over[W] -> goto finished
			:: !over[W] && (g == 1 || LOAD(W, SEEN) == WORD(g - 1, 1)) -> break
#ifdef BUG_REUSE_EARLY
			:: !over[W] -> break
#endif
			:: else -> signalled[W] || dead[R]
			fi
		od;
		slot_post(g);
		store(W, DESC, g);
		signal(W, R);
#ifdef REDOES
		goto is_posted;
post_again:
		/* No descriptor announces this life: the reader waits for it. */
		redone[g] = true;
		slot_post(g);
		signal(W, R);
#endif
		/* It is posted. The reader matches it, or the writer withdraws it. */
is_posted:
		do
		:: signalled[W] = false;
			note_peer(W);
			seen = LOAD(W, STATE);
			assert(GEN(seen) == g);
			if
			:: !WAITS_FOR_READER(seen) -> break
#ifdef RESERVES
			:: VALUE(seen) == RESERVED && mourns[W] -> /* nobody will match it, and nobody copies */
				seen = 0;
				release(W, g);
				goto next_life
			:: VALUE(seen) == RESERVED && !mourns[W] && !signalled[W] ->
				if
				:: signalled[W] || (dead[R] && !mourns[W])
#ifdef STOP
				:: over[W] -> goto gave_up
#endif
#ifdef CANCELS
				:: !over[W] && IS_NEW -> goto withdraw
#endif
#ifdef CLOSES
				:: !over[W] -> over[W] = true; goto withdraw
#endif
				fi
			:: VALUE(seen) == RESERVED && !mourns[W] && signalled[W]
#endif
			:: VALUE(seen) == POSTED && !over[W] && !signalled[W] ->
				if
				:: signalled[W] || dead[R]
#ifdef CANCELS
				:: IS_NEW -> goto withdraw
#endif
#ifdef CLOSES
				:: over[W] = true; goto withdraw
#endif
				fi
			:: VALUE(seen) == POSTED && !over[W] && signalled[W]
			:: VALUE(seen) == POSTED && over[W] -> goto withdraw
			fi
		od;
		goto is_matched;
withdraw:
		seen = 0;
#if defined(BUG_CANCEL_BY_STORE)
		leave_posted_by_store(W, g, CANCELLED, cancelled[g], IS_TAKEN(g));
#elif defined(BUG_CANCEL_RESERVED)
		leave_reserved(W, g, CANCELLED, cancelled[g], IS_TAKEN(g));
#else
		leave_posted(W, g, CANCELLED, cancelled[g], IS_TAKEN(g));
#endif
		if
		:: ok ->
#ifdef REDOES
			atomic {
				if
				:: again -> tell(W, g, false)
				:: else
				fi
			};
#endif
			release(W, g);
			goto next_life
		:: else
		fi;
#ifdef WITNESS_LATE_WITHDRAWAL
		assert(false);
#endif
#ifdef RESERVES
		/* It was reserved just now, or earlier: the reader's swap to MATCHED is waited for. */
		if
		:: LOAD(W, STATE) == WORD(g, RESERVED) ->
#ifdef WITNESS_RESERVED_FIRST
			assert(false);
#endif
			goto is_posted
		:: else
		fi;
#endif
is_matched:
		seen = 0;
		assert(mem[CHOICE] == g); /* the reader's fields are there */
		transfer(W, g);
next_life:
#ifdef REDOES
		again = false;
#endif
		g++
	od;
#ifdef REDOES
	goto finished;
is_failed:
	/* The reader decides whether there will be another life, and this one is the writer's again then. */
	do
	:: signalled[W] = false;
		note_peer(W);
		seen = LOAD(W, STATE);
		if
		:: seen == WORD(g, AGAIN) && !over[W] -> seen = 0; g++; again = true; goto post_again
#ifdef BUG_AGAIN_UNASKED
		:: !over[W] -> seen = 0; g++; again = true; goto post_again
#endif
		:: seen == WORD(g, COMPLETED) || over[W] ->
			seen = 0;
			judge(W, g, false);
			release(W, g);
			if
			:: over[W] -> goto finished
			:: else -> goto next_life
			fi
		:: seen == WORD(g, MATCHED) && !over[W] ->
			seen = 0;
			if
			:: signalled[W] || dead[R]
#ifdef CLOSES
			:: over[W] = true
#endif
			fi
		fi
	od;
#endif
finished:
	store(W, CLOSED(W), 1);
	signal(W, R);
gave_up:
	through[W] = true
	} unless { halted[W] }
}

proctype reader()
{
	byte g = 1, seen, done, cursor, error, chunk = NONE, err;
	bool ok, quiet, good;
#ifdef REDOES
	bool again, asks;
#endif

	{
	do
	:: g > LIVES -> break
	:: else ->
		/* The reader waits for a message. What was published before a close is passed over or delivered first. */
		do
		:: signalled[R] = false;
			note_peer(R);
			if
			:: LOAD(R, DESC) >= g -> break
			:: LOAD(R, DESC) < g && over[R] -> goto finished
			:: LOAD(R, DESC) < g && !over[R] ->
				if
				:: signalled[R] || dead[W]
#ifdef CLOSES
				:: over[R] = true
#endif
				fi
			fi
		od;
		assert(mem[OFFER] == g); /* the writer's fields are there */
		if
		:: dead[W] -> goto finished /* its bytes are gone */
		:: else
		fi;
#ifdef RESERVES
		if
		:: true /* a read meets it at once */
		:: true ->
#ifdef BUG_RESERVE_BY_STORE
			leave_posted_by_store(R, g, RESERVED, reserved[g], cancelled[g]);
#else
			leave_posted(R, g, RESERVED, reserved[g], cancelled[g]);
#endif
			if
			:: !ok ->
				assert(mem[STATE] == WORD(g, CANCELLED)); /* else -EPROTO */
				goto pass_over
			:: else
			fi;
			/* The buffer comes later. The reader closes only after it has matched and failed what it reserved. */
			note_peer(R);
			store(R, CHOICE, g);
			match_reserved(g);
			goto is_taken
		fi;
#endif
#ifdef REDOES
		assert(!redone[g]); /* it is not taken for another message */
match_again:
#endif
		store(R, CHOICE, g);
#ifdef BUG_MATCH_BY_STORE
		leave_posted_by_store(R, g, MATCHED, matched[g], cancelled[g]);
#else
		leave_posted(R, g, MATCHED, matched[g], cancelled[g]);
#endif
		if
		:: !ok ->
			assert(mem[STATE] == WORD(g, CANCELLED)); /* else -EPROTO */
			goto pass_over
		:: else
		fi;
is_taken:
		signal(R, W);
#ifdef BUG_SEE_EARLY
		store(R, SEEN, WORD(g, 1));
		signal(R, W);
#endif
		if
		:: CHUNKS == 0 -> slot_close(R, g); signal(R, W)
		:: else
		fi;
#ifdef BUG_FAIL_UNOWNED
		/* An error that is stored by a thread that holds no chunk may come after the result. */
		slot_note(R, g);
		slot_close(R, g);
#endif
		transfer(R, g);
		store(R, STATE, WORD(g, COMPLETED));
pass_over:
#ifdef REDOES
		if
		:: again && cancelled[g] -> /* the writer closed before it was matched */
			atomic { tell(R, g, false) };
			release(R, g)
		:: else
		fi;
		again = false;
#endif
		store(R, SEEN, WORD(g, 1));
		signal(R, W);
		g++
	od;
#ifdef REDOES
	goto finished;
is_failed:
	again = true;
	/* The last store in this life. */
	store(R, STATE, WORD(g, AGAIN));
#ifdef BUG_AGAIN_QUIETLY
	skip;
#else
	signal(R, W);
#endif
	g++;
	do
	:: signalled[R] = false;
		note_peer(R);
		seen = LOAD(R, STATE);
		if
		:: GEN(seen) == g && !over[R] -> seen = 0; assert(redone[g] && mem[OFFER] == g); goto match_again
		:: over[R] ->
			seen = 0;
			atomic { tell(R, g, false) };
			release(R, g);
			goto finished
		:: seen == WORD(g - 1, AGAIN) && !over[R] ->
			seen = 0;
			if
			:: signalled[R] || dead[W]
#ifdef CLOSES
			:: over[R] = true
#endif
			fi
		fi
	od;
#endif
finished:
	store(R, CLOSED(R), 1);
	signal(R, W);
gave_up:
	through[R] = true
	} unless { halted[R] }
}

/* A second thread of an endpoint. It counts itself in before it claims, so a survivor waits for it. */
proctype helper(byte t, e)
{
	byte g, n, seen, done, cursor, error, chunk = NONE, err;
	bool ok, quiet;

	{
	do
	:: n < HELPS && !through[e] ->
		atomic {
			current[e] != 0 || through[e] ->
			g = current[e];
#ifndef BUG_COUNT_IN_LATE
			busy[e] = busy[e] + (g != 0);
#endif
			n++
		}
		if
		:: g != 0 ->
			slot_claim(t, g, chunk);
			if
			:: chunk != NONE ->
#ifdef BUG_COUNT_IN_LATE
				busy[e]++;
#endif
				copy_one(t, e, g, chunk, err)
#ifdef BUG_COUNT_IN_LATE
				busy[e]--
#endif
			:: else
			fi;
			atomic {
#ifndef BUG_COUNT_IN_LATE
				busy[e]--;
#endif
				signalled[e] = true; /* adma_waiters_wake() */
				g = 0
			}
		:: else
		fi
	:: n == HELPS || through[e] -> break
	od
	} unless { halted[e] }
}

/* The process of an endpoint is gone, with its threads, its claims, and what its kernel was copying. */
inline halt(e)
{
	atomic {
		DRAINED(e) && !through[e] ->
		halted[e] = true;
#ifdef DEATH
		dead[e] = true;
		copying[e] = 0;
		copying[e + 2] = 0;
#endif
	}
}

proctype fate()
{
	if
	:: true
	:: halt(W)
	:: halt(R)
	fi
}

init
{
	atomic {
		run memory(W); run memory(R);
		run writer(); run reader();
#if HELPERS & 1
		run helper(2, W);
#endif
#if HELPERS & 2
		run helper(3, R);
#endif
#if defined(DEATH) || defined(STOP)
		run fate()
#endif
	}
}
