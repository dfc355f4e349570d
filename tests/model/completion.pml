/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * completion.pml - the completion entries of the kernel helper: does a thread ever sleep through a
 * completion, or see a result that is not its request's?
 *
 * The kernel's side is entries.c, file.c and request_store() in request.c. Entries are read by plain
 * loads of a mapped page, so all words go through store buffers (tso.pml), and those of the locks,
 * too. A system call is no fence here. Workers complete what was posted, whenever they like. Scenes:
 *
 *   ALONE   one thread posts on every entry, LIVES times, and waits by read() of the count, a look
 *           at the entries, and ppoll()
 *   CREW    two threads share the descriptor, and each has an entry of its own; the one that looks
 *           looks for both, and wakes the other by a local wake-up
 *   WAITER  one thread posts, and waits by ADMA_IOC_WAIT
 *
 * LENGTH of life g is g, so that the length of another life shows. With PEEKS a bystander reads an
 * entry without a lock, while others use it again. A run that stops while somebody waits is an
 * invalid end state.
 */

#if defined(CREW)
#define USERS 2
#else
#define USERS 1
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif
#ifndef LIVES
#define LIVES 2 /* requests that use an entry, one after another */
#endif
#ifndef WORKERS
#define WORKERS 1
#endif
#ifdef PEEKS
#define BYSTANDERS 1
#else
#define BYSTANDERS 0
#endif

#define STATE(e) (e)        /* shared: {generation, PENDING or OVER} */
#define LENGTH(e) (2 + (e)) /* shared */
#define SLOT(e) (4 + (e))   /* the kernel's own copy of STATE */
#define COMPLETED 6         /* `completed` of struct adma_endpoint: requests since the last read() */
#define KLOCK 7             /* the connection's lock */
#define ULOCK 8             /* CREW: the channel's lock, in user space */
#define WORDS 9
/* A bystander stores nothing. */
#define BUFFERED (USERS + WORKERS)

#define WORD(g, v) ((g) * 4 + (v))
#define GEN(w) ((w) >> 2)
#define VALUE(w) ((w) & 3)
#define PENDING 1
#define OVER 2

#include "tso.pml"

byte submitted[ENTRIES]; /* the life that a worker has yet to complete, 0: none */
bool queued[USERS];      /* on the endpoint's wait queue */
bool woken[USERS];       /* since it last made up its mind to sleep */

inline take_lock(t, lock)
{
	d_step { DRAINED(t) && mem[lock] == 0 -> mem[lock] = 1 }
}

inline drop_lock(t, lock)
{
	store(t, lock, 0)
}

/* ---- the kernel ---- */

/* adma_entries_begin(). An entry is used again only when its request is completed. */
inline post(t, entry, life)
{
	take_lock(t, KLOCK);
	assert(VALUE(LOAD(t, SLOT(entry))) != PENDING); /* sound callers never get -EBUSY */
	store(t, SLOT(entry), WORD(life, PENDING));
	store(t, STATE(entry), WORD(life, PENDING));
	submitted[entry] = life;
	drop_lock(t, KLOCK)
}

/* A wake-up takes the lock of the wait queue, which is a fence. */
inline wake(t)
{
#ifdef BUG_ACTIVE_CHECK
	/* Saves the lock when nobody seems to wait. */
	if
	:: queued[0] -> woken[0] = true
	:: else
	fi
#else
	d_step {
		DRAINED(t) ->
		woken[0] = woken[0] || queued[0];
#if USERS > 1
		woken[1] = woken[1] || queued[1];
#endif
	}
#endif
}

inline count(t)
{
	value = LOAD(t, COMPLETED);
	store(t, COMPLETED, value + 1);
	value = 0
}

/* request_store(): adma_entries_complete(), then the count. request_wake() is called without the lock. */
proctype worker(byte t)
{
	byte e, g, value;

end:
	do
	:: atomic {
		if
		:: submitted[0] > 0 -> e = 0
#if ENTRIES > 1
		:: submitted[1] > 0 -> e = 1
#endif
		fi;
		g = submitted[e];
		submitted[e] = 0
	   }
#ifdef BUG_WAKE_FIRST
		wake(t);
#endif
#ifdef BUG_COUNT_FIRST
		take_lock(t, KLOCK);
		count(t);
		drop_lock(t, KLOCK);
		wake(t);
#endif
		take_lock(t, KLOCK);
#ifdef BUG_STATE_FIRST
		store(t, STATE(e), WORD(g, OVER));
#endif
		store(t, LENGTH(e), g);
		store(t, SLOT(e), WORD(g, OVER));
#ifndef BUG_STATE_FIRST
		store(t, STATE(e), WORD(g, OVER));
#endif
#ifndef BUG_COUNT_FIRST
		count(t);
#endif
		drop_lock(t, KLOCK);
#if !defined(BUG_WAKE_FIRST) && !defined(BUG_COUNT_FIRST)
		wake(t);
#endif
		e = 0;
		g = 0
	od
}

inline enqueue(t)
{
	d_step { DRAINED(t) -> queued[t] = true; woken[t] = false }
}

/* endpoint_read(): of interest is only that the count is 0 now, and not what it was. */
inline clear(t)
{
	take_lock(t, KLOCK);
	store(t, COMPLETED, 0);
	drop_lock(t, KLOCK)
}

inline any_completed(t)
{
	take_lock(t, KLOCK);
	value = LOAD(t, COMPLETED);
	drop_lock(t, KLOCK)
}

/* ppoll() on the descriptor, by endpoint_poll(), and on the channel's local wake-up. */
inline sleep(t)
{
	do
	:: true ->
#ifdef BUG_QUEUE_LATE
		any_completed(t);
		enqueue(t);
#else
		enqueue(t);
		any_completed(t);
#endif
		if
		:: value > 0 || nudged[t] -> break
		:: else -> (woken[t] || nudged[t])
		fi
	od;
	atomic { queued[t] = false; woken[t] = false; value = 0 }
}

/* ---- user space ---- */

byte want[ENTRIES]; /* the life that is waited for, 0: none */
bool nudged[USERS]; /* the local wake-up is up for this thread (wakeup.pml) */

/* A life of an entry is over: its length may be used as long as nobody posts on the entry. */
inline take_result(t, entry, life)
{
	value = LOAD(t, LENGTH(entry));
	assert(value == (life)); /* never that of another life, and never one that is not stored yet */
	value = 0
}

#ifdef BUG_NO_GENERATION
#define IS_OVER(word, g) (VALUE(word) == OVER)
#else
#define IS_OVER(word, g) ((word) == WORD(g, OVER))
#endif

#ifdef ALONE

byte lives[ENTRIES];

inline look()
{
	k = 0;
	do
	:: k < ENTRIES ->
		state = LOAD(0, STATE(k));
		if
		:: want[k] > 0 && IS_OVER(state, want[k]) ->
			take_result(0, k, want[k]);
			want[k] = 0;
			found = true
		:: else
		fi;
		state = 0;
		k++
	:: else -> break
	od;
	k = 0
}

inline post_next(e)
{
	lives[e]++;
	want[e] = lives[e];
	post(0, e, lives[e])
}

#if ENTRIES > 1
#define WANTS (want[0] > 0 || want[1] > 0)
#define MORE (lives[0] < LIVES || lives[1] < LIVES)
#else
#define WANTS (want[0] > 0)
#define MORE (lives[0] < LIVES)
#endif

proctype user()
{
	byte k, state, value;
	bool found;

	do
	:: want[0] == 0 && lives[0] < LIVES -> post_next(0)
#if ENTRIES > 1
	:: want[1] == 0 && lives[1] < LIVES -> post_next(1)
#endif
	:: WANTS ->
		found = false;
#ifdef BUG_LOOK_FIRST
		look();
		clear(0);
#else
		clear(0);
		look();
#endif
		if
		:: found
		:: else -> sleep(0)
		fi;
		found = false
	:: !WANTS && !MORE -> break
	od;
#ifdef WITNESS_ALL_OVER
	assert(false)
#endif
}

#endif

#ifdef CREW

bool done[USERS];  /* all under the channel's lock */
bool waits[USERS];

/* A thread that sees the other's completion wakes it: the other may find nothing but a cleared count. */
inline look(t, e)
{
	state = LOAD(t, STATE(e));
	if
	:: want[e] > 0 && IS_OVER(state, want[e]) ->
		take_result(t, e, want[e]);
		want[e] = 0;
		done[e] = true;
#ifdef WITNESS_FOR_ANOTHER
		assert(!(e != t && waits[e]));
#endif
#ifndef BUG_NO_LOCAL_WAKE
		if
		:: waits[e] -> nudged[e] = true
		:: else
		fi
#endif
	:: else
	fi;
	state = 0
}

inline look_at_all(t)
{
	look(t, mine);
#ifndef BUG_LOOK_AT_OWN
	look(t, 1 - t)
#endif
}

/*
 * The request is made known before it is posted, and it is posted without the channel's lock.
 * `mine` is the thread's entry and equals t, because an inline takes no name for two parameters.
 */
proctype user(byte t, mine)
{
	byte g, state, value;

	do
	:: g == LIVES -> break
	:: else ->
		g++;
		take_lock(t, ULOCK);
		done[t] = false;
		want[t] = g;
		drop_lock(t, ULOCK);
		post(t, mine, g);
		take_lock(t, ULOCK);
		do
		:: done[t] -> break
		:: else ->
#ifdef BUG_LOOK_FIRST
			look_at_all(t);
			clear(t);
#else
			clear(t);
			look_at_all(t);
#endif
			if
			:: done[t] -> break
			:: else ->
				waits[t] = true;
				drop_lock(t, ULOCK);
				sleep(t);
				take_lock(t, ULOCK);
				d_step { waits[t] = false; nudged[t] = false }
			fi
		od;
		drop_lock(t, ULOCK)
	od
}

#endif

#ifdef WAITER

/* cookie_sleep() looks without the lock, so the wake-up orders it and not the lock. */
proctype user()
{
	byte g, value;

	do
	:: g == LIVES -> break
	:: else ->
		g++;
		post(0, 0, g);
		do
		:: enqueue(0);
		   value = LOAD(0, SLOT(0));
		   if
		   :: value != WORD(g, PENDING) -> break
		   :: else -> woken[0]
		   fi
		od;
		atomic { queued[0] = false; woken[0] = false };
		take_lock(0, KLOCK);
		assert(LOAD(0, SLOT(0)) == WORD(g, OVER));
		take_result(0, 0, g);
		drop_lock(0, KLOCK)
	od
}

#endif

#ifdef PEEKS
/* What a bystander reads counts only if the entry still belongs to the same life afterwards. */
proctype bystander()
{
	byte state, value, again;

	state = mem[STATE(0)];
	value = mem[LENGTH(0)];
#ifdef BUG_NO_RECHECK
	again = state;
#else
	again = mem[STATE(0)];
#endif
	assert(!(VALUE(state) == OVER && again == state) || value == GEN(state))
}
#endif

init
{
	byte t;

	atomic {
		do
		:: t < BUFFERED -> run memory(t); t++
		:: else -> break
		od;
		t = USERS;
		do
		:: t < BUFFERED -> run worker(t); t++
		:: else -> break
		od;
		t = 0;
#ifdef CREW
		run user(0, 0);
		run user(1, 1);
#else
		run user();
#endif
#ifdef PEEKS
		run bystander()
#endif
	}
}
