/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lifetime.pml - the life of the progress thread: does it end, and is nothing freed that it uses?
 *
 * Users take workers, have them visited, close them and free them, each of them a few times. The
 * thread is started by the first that takes a worker, and ends when none is left. A user that closes
 * waits for the thread, but may stop waiting at any time: its own time is over. With LOSS somebody
 * closes the timer by mistake, at any time, and nobody can wake the thread any more. With STUCK a visit
 * may last for ever.
 *
 * A user who is not served, or who waits for ever, is an invalid end state, and so is a thread that
 * sleeps while no worker is left. Switches that begin with BUG_ are mutants.
 */

#ifndef USERS
#define USERS 2
#endif
#ifndef LIVES
#define LIVES 2 /* workers of each user, one after the other */
#endif
#define WORKERS (USERS * LIVES)
#define THREADS (WORKERS + 1)

#ifdef LOSS
bool lost; /* the timer is not ours any more */
#define LOST lost
#else
#define LOST false
#endif

/* A thread that sleeps looks around once a second. Of these looks only those matter that nobody else causes. */
#ifdef BUG_NO_TICK
#define TICK false
#else
#define TICK LOST
#endif

bool registry; /* the lock */

/* Under the lock. */
bool alive, joinable;
byte id, workers; /* the last thread that was started; workers that are taken */
bool timer;       /* it has called */
bool taken[WORKERS], called[WORKERS], in_use[WORKERS], orphan[WORKERS];

bool visited[WORKERS], freed[WORKERS];
byte started;
bool ended[THREADS], joined[THREADS], detached[THREADS];
byte through; /* users that have finished */

inline take_lock()
{
	atomic { !registry -> registry = true }
}

inline drop_lock()
{
	registry = false
}

/* registry_set_timer() */
inline set_timer()
{
	timer = timer || !LOST
}

/* registry_give_back() */
inline give_back(w)
{
	d_step {
		called[w] = false;
		taken[w] = false;
		workers--;
		if
		:: workers == 0 -> set_timer()
		:: else
		fi
	}
}

/* ---- the thread: thread_serve() ---- */

inline find_called(w)
{
	atomic {
		w = 0;
		do
		:: w < WORKERS && !called[w] -> w++
		:: else -> break
		od
	}
}

proctype progress(byte me)
{
	byte w;

	take_lock();
	do
	:: workers == 0 -> break
	:: else ->
		find_called(w);
		if
		:: w < WORKERS -> /* thread_visit() */
			called[w] = false;
			in_use[w] = true;
			drop_lock();
			assert(!freed[w]);
			visited[w] = true;
#ifdef STUCK
			if
			:: true
			:: w == 0 ->
end_stuck:			false
			fi;
#endif
			assert(!freed[w]);
			take_lock();
			in_use[w] = false;
			if
			:: orphan[w] -> /* thread_free_orphan() */
				give_back(w);
				drop_lock();
				assert(!freed[w]);
				freed[w] = true;
				take_lock()
			:: else
			fi
		:: else -> /* thread_sleep() */
			drop_lock();
			(timer || TICK);
			take_lock();
			timer = false
		fi
	od;
#ifdef BUG_END_UNLOCKED
	drop_lock();
	take_lock();
#endif
	alive = false;
	drop_lock();
	ended[me] = true
}

/* ---- the users ---- */

/* registry_take(), with thread_start() */
inline take(w)
{
	take_lock();
	if
	:: alive
	:: else ->
		if
		:: joinable -> ended[id]; assert(!joined[id] && !detached[id]); joined[id] = true
		:: else
		fi;
		d_step { id = started; started++; alive = true; joinable = true; timer = false };
		run progress(id)
	fi;
	d_step { workers++; taken[w] = true };
	drop_lock()
}

/* adma_progress_call() */
inline call(w)
{
	take_lock();
	d_step { called[w] = true; set_timer() };
	drop_lock()
}

/* Wait for a change, without the lock, until `is` or until the time is over: adma_crew_await_change(). */
#ifdef BUG_NO_TIMEOUT
#define OVER false
#else
#define OVER true
#endif
inline await(is, over)
{
	drop_lock();
	if
	:: is
	:: OVER -> over = true
	fi;
	take_lock()
}

/* adma_progress_release(), with adma_crew_await_end() */
inline release(w)
{
	over = false;
	take_lock();
	do
	:: in_use[w] && !over -> await(!in_use[w], over)
	:: else -> break
	od;
	if
	:: in_use[w] -> drop_lock()
	:: else ->
		give_back(w);
		do
		:: alive && workers == 0 && !over -> await(!alive || workers > 0, over)
		:: else -> break
		od;
		atomic {
			left = joinable && workers == 0;
			has_ended = !alive;
			last = id;
#ifndef BUG_JOIN_TWICE
			joinable = joinable && !left
#endif
		};
		drop_lock();
		if
		:: left && has_ended -> ended[last]; assert(!joined[last] && !detached[last]); joined[last] = true
		:: left && !has_ended -> assert(!joined[last] && !detached[last]); detached[last] = true
		:: else
		fi
	fi
}

/* adma_progress_leave_to_thread(), and what its caller does */
inline free_worker(w)
{
	take_lock();
	left = in_use[w];
#ifdef BUG_FREE_VISITED
	left = false;
#else
	orphan[w] = left;
#endif
	if
	:: !left && taken[w] -> give_back(w)
	:: else
	fi;
	drop_lock();
	if
	:: !left -> assert(!freed[w]); freed[w] = true
	:: else
	fi
}

proctype user(byte me)
{
	byte life, w, last;
	bool over, left, has_ended;

	do
	:: life < LIVES ->
		w = me * LIVES + life;
		take(w);
		call(w);
#ifndef STUCK
		visited[w]; /* what is pending is seen to */
#endif
		if
		:: call(w)
		:: true
		fi;
		release(w);
		free_worker(w);
		life++
	:: else -> break
	od;
	through++
}

#ifdef LOSS
proctype thief()
{
	atomic { lost = true; timer = false }
}
#endif

/* Each thread that ended was joined or let go of, but the last one, perhaps, which the next start joins. */
proctype auditor()
{
	byte t;

	atomic {
		through == USERS ->
#ifndef STUCK
		do
		:: t < started -> ended[t]; t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < started -> assert(joined[t] + detached[t] + (joinable && id == t) == 1); t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < WORKERS -> assert(freed[t] && !taken[t]); t++
		:: else -> break
		od
#endif
	}
}

init
{
	byte u;

	atomic {
		do
		:: u < USERS -> run user(u); u++
		:: else -> break
		od;
#ifdef LOSS
		run thief();
#endif
		run auditor()
	}
}
