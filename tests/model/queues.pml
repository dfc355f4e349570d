/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queues.pml - the copy engine's queues: is work ever listed while all who could do it sleep on?
 *
 * engine_thread.c: posters list work under the lock and mark whom to wake; the
 * waking itself comes after the lock is released, so kicks of several posters
 * interleave with each other's lists. Queues look, spin for news, look again under
 * the lock and sleep on their bell (futex(2): only if it still has the value read,
which is to say if it was not rung since).
 * All that decides is under the lock or one atomic read-modify-write, so
 * sequential consistency is what the code has, too; `news` is relaxed, and with
 * what it tells only ends a spin early, which may end at any time here. A queue may sleep for ever only when nothing is listed.
 *
 * Mutants: KICK_BY_NEWS wakes only if news were left; LATE_BELL reads the bell after the lock was released;
 * ONE_LOOK sleeps on what it saw before it spun; UNMARKED wakes nobody that sleeps.
 */

#ifndef POSTERS
#define POSTERS 2
#endif
#ifndef QUEUES
#define QUEUES 2
#endif
#ifndef POSTS
#define POSTS 2
#endif

bool locked;
byte works;             /* listed */
bool news;
bool sleeping[QUEUES];  /* as the queues say, under the lock */
bool to_wake[QUEUES];
bool rung[QUEUES];      /* its bell, since the queue read it */
bool asleep[QUEUES];    /* as the kernel has it */
byte finished;          /* posters */

inline lock()
{
	d_step { !locked -> locked = true }
}

inline unlock()
{
	locked = false
}

/* As many sleeping queues as there is work: one. */
inline mark(q)
{
	q = 0;
	do
	:: q < QUEUES && !(sleeping[q] && !to_wake[q]) -> q++
	:: q < QUEUES && sleeping[q] && !to_wake[q] -> to_wake[q] = true; break
	:: q == QUEUES -> break
	od;
	q = 0
}

inline ring(q)
{
	d_step { rung[q] = true; asleep[q] = false }
}

/* The exchange takes all marks at once; the rings come one by one. */
inline kick(q)
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
		q = 0;
		do
		:: q < QUEUES -> mine[q] = to_wake[q]; to_wake[q] = false; q++
		:: else -> break
		od
	}
	q = 0;
	do
	:: q < QUEUES && mine[q] -> ring(q); mine[q] = false; q++
	:: q < QUEUES && !mine[q] -> q++
	:: q == QUEUES -> q = 0; break
	od
#ifdef BUG_KICK_BY_NEWS
	:: else
	fi
#endif
}

active [POSTERS] proctype poster()
{
	byte q, i;
	bool mine[QUEUES], had_news;

	do
	:: i < POSTS ->
		lock();
		works++;
		news = true;
#ifndef BUG_UNMARKED
		mark(q);
#endif
		unlock();
		kick(q);
		i++
	:: i == POSTS -> break
	od;
	finished++
}

active [QUEUES] proctype queue()
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
#ifdef BUG_LATE_BELL
			sleeping[me] = true;
			unlock();
			rung[me] = false;
#else
			rung[me] = false;
			sleeping[me] = true;
			unlock();
#endif
			if
			:: d_step { !rung[me] -> asleep[me] = true };
end_asleep:		   !asleep[me]
			:: rung[me]
			fi;
			lock();
			sleeping[me] = false;
			unlock()
		fi
	   fi
	od
}

/* Nobody runs any more who could list, wake or work. */
active proctype monitor()
{
	byte q;

end_watch:
	d_step {
		finished == POSTERS && !locked && works > 0 ->
		q = 0;
		do
		:: q < QUEUES && asleep[q] -> q++
		:: else -> break
		od;
		assert(q < QUEUES)
	}
}
