/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queues.pml - the copy worker threads: can work stay listed while all workers that could do it sleep?
 *
 * The code is copy/engine_thread.c. Posters list work under the engine lock and mark the workers
 * that have to be woken. They wake them (kick) after they have released the lock, so the kicks of
 * several posters interleave with each other's lists. A worker looks for work, spins until it
 * sees news, looks again under the lock, and sleeps on its futex word. futex(2) sleeps only if
 * the word still has the value that the worker read, that is, if nobody has woken it since then.
 *
 * Everything that decides happens under the lock, or in one atomic read-modify-write, so the code
 * is sequentially consistent there, as the model is. `news` is relaxed. It and `announced`, which
 * it leads to, only end a spin early, and a spin may end at any time in this model. A worker may
 * sleep for ever only when nothing is listed.
 *
 * Mutants: KICK_BY_NEWS wakes only if there was news; LATE_READ reads the futex word after the
 * lock was released; ONE_LOOK sleeps because of what the worker saw before it spun; UNMARKED wakes
 * no worker that sleeps.
 */

#ifndef POSTERS
#define POSTERS 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef POSTS
#define POSTS 2
#endif

bool locked;
byte works;             /* how many are listed */
bool news;
bool sleeping[WORKERS]; /* what the workers say, under the lock */
bool to_wake[WORKERS];
bool woken[WORKERS];    /* its futex word has changed since the worker read it */
bool asleep[WORKERS];   /* what the kernel knows */
byte finished;          /* how many posters are */

inline lock()
{
	d_step { !locked -> locked = true }
}

inline unlock()
{
	locked = false
}

/* Mark as many sleeping workers as there are parts: one. */
inline mark(w)
{
	w = 0;
	do
	:: w < WORKERS && !(sleeping[w] && !to_wake[w]) -> w++
	:: w < WORKERS && sleeping[w] && !to_wake[w] -> to_wake[w] = true; break
	:: w == WORKERS -> break
	od;
	w = 0
}

inline wake(w)
{
	d_step { woken[w] = true; asleep[w] = false }
}

/* The exchange takes all marks at once. The workers are woken one by one. */
inline kick(w)
{
	had_news = news;
	if
	:: had_news -> news = false
	:: else
	fi;
#ifdef BUG_KICK_BY_NEWS
	if
	:: had_news ->
#endif
	d_step {
		w = 0;
		do
		:: w < WORKERS -> mine[w] = to_wake[w]; to_wake[w] = false; w++
		:: else -> break
		od
	}
	w = 0;
	do
	:: w < WORKERS && mine[w] -> wake(w); mine[w] = false; w++
	:: w < WORKERS && !mine[w] -> w++
	:: w == WORKERS -> w = 0; break
	od
#ifdef BUG_KICK_BY_NEWS
	:: else
	fi
#endif
}

active [POSTERS] proctype poster()
{
	byte w, i;
	bool mine[WORKERS], had_news;

	do
	:: i < POSTS ->
		lock();
		works++;
		news = true;
#ifndef BUG_UNMARKED
		mark(w);
#endif
		unlock();
		kick(w);
		i++
	:: i == POSTS -> break
	od;
	finished++
}

active [WORKERS] proctype worker()
{
	byte me = _pid - POSTERS;
	bool nothing;

	do
	:: lock();
	   if
	   :: works > 0 -> works--; unlock()
	   :: else ->
		unlock(); /* spin */
		lock();
		nothing = works == 0;
#ifdef BUG_ONE_LOOK
		nothing = true;
#endif
		if
		:: !nothing -> unlock()
		:: nothing ->
#ifdef BUG_LATE_READ
			sleeping[me] = true;
			unlock();
			woken[me] = false;
#else
			woken[me] = false;
			sleeping[me] = true;
			unlock();
#endif
			if
			:: d_step { !woken[me] -> asleep[me] = true };
end_asleep:		   !asleep[me]
			:: woken[me]
			fi;
			lock();
			sleeping[me] = false;
			unlock()
		fi
	   fi
	od
}

/* No process runs any more that could list work, wake a worker or do work. */
active proctype monitor()
{
	byte w;

end_watch:
	d_step {
		finished == POSTERS && !locked && works > 0 ->
		w = 0;
		do
		:: w < WORKERS && asleep[w] -> w++
		:: else -> break
		od;
		assert(w < WORKERS)
	}
}
