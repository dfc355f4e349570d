/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pin.pml - the pin cache of the kernel helper, while the mapping changes.
 *
 * There is one range of one process, one page long. POSTERS transfers look for a cached pin or
 * make one, copy, and put it. Meanwhile a mapper discards the page, or unmaps and maps again. A
 * worker drops from the cache what the notifier's callback declared dead. A reaper drops cached
 * entries to keep the limit. A remover ends the subscriptions of entries that nobody refers to any
 * more. Page n + 1 replaces page n, so an old page is one with a lower number. With STUCK the
 * mapper may stay in the middle of an invalidation for ever; a thread that does not ask for that
 * memory still gets through then.
 *
 * Everything here is in the kernel and under locks: a critical section of a spinlock is one step,
 * the cache's mutex is held over several, and the interval notifier does what its documentation
 * says. The switches that begin with BUG_ are mutants, those with WITNESS_ claim what must be
 * refuted.
 */

#ifndef POSTERS
#define POSTERS 2
#endif
#ifndef POSTS
#define POSTS 2 /* transfers of each poster, one after another */
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef REAPS
#define REAPS 1
#endif
#define ENTRIES (POSTERS * POSTS) /* 1, 2 or 4: each transfer makes at most one */
#define PAGES (CHANGES + 2)
#define NONE 255

/* ---- the process's memory ---- */

bool mapped = true;  /* there is a mapping */
byte present;        /* the page in the page table; 0: none yet, or none any more */
byte newest;         /* the last page that was given out */
byte oldest_allowed; /* for a transfer that begins now */
byte pins[PAGES];
byte unmaps_begun, unmaps_ended;

/* ---- mmu_interval_notifier: one subscription for each entry ---- */

byte sequence = 2; /* odd while an invalidation runs */
bool subscribed[ENTRIES];
byte told[ENTRIES]; /* the sequence of the last callback */
#define INVALIDATING (sequence & 1)

/* ---- entries ---- */

byte made;
byte page[ENTRIES];     /* pinned by it, 0: none */
byte refs[ENTRIES];     /* the cache's, its users', a queued work's */
bool live[ENTRIES];     /* leaf lock: it was found valid once; until then only its maker knows it */
bool dead[ENTRIES];     /* leaf lock */
bool unmapped[ENTRIES]; /* leaf lock */
bool queued[ENTRIES];   /* the drop work, until it has the mutex */
bool removing[ENTRIES]; /* nobody refers to it any more: it belongs to the remover */
bool freed[ENTRIES];

byte cached = NONE; /* under the mutex */
bool mutex;
byte posting = POSTERS; /* posters that are not through */
bool mapper_through;

inline unpin(e)
{
	assert(page[e] > 0 && pins[page[e]] > 0); /* never twice */
	pins[page[e]]--;
	page[e] = 0
}

/* adma_pin_entry_put(): the last reference unpins, and leaves the rest to the remover. Callbacks still come. */
inline put(e)
{
	atomic {
		assert(!freed[e] && !removing[e] && refs[e] > 0);
		refs[e]--;
		if
		:: refs[e] == 0 ->
			assert(cached != e);
			if
			:: page[e] > 0 -> unpin(e)
			:: else
			fi;
			removing[e] = true
		:: else
		fi
	}
#ifdef BUG_WAIT_FOR_REMOVAL
	(!removing[e]);
#endif
}

/* ---- the mapper: an invalidation around each change of the page table ---- */

/* pin_invalidate(), under the leaf lock: it marks and queues, and does nothing else. */
inline callback(e)
{
	assert(!freed[e]); /* when an entry is freed, no callback may run on it any more */
#ifdef BUG_SKIP_USED
	if
	:: refs[e] > 1
	:: else ->
#endif
	told[e] = sequence;
	if
	:: !live[e]
	:: else ->
		unmapped[e] = unmapped[e] || unmapping;
#ifdef BUG_UNPIN_IN_CALLBACK
		if
		:: page[e] > 0 -> unpin(e)
		:: else
		fi;
#endif
		if
		:: dead[e]
#ifdef BUG_WORK_WITHOUT_REF
		:: !dead[e] -> dead[e] = true; queued[e] = true
#elif defined(BUG_DROP_UNREFERRED)
		:: !dead[e] -> dead[e] = true; refs[e]++; queued[e] = true
#elif defined(BUG_MARK_LATE)
		:: !dead[e] && refs[e] > 0 && !queued[e] -> refs[e]++; queued[e] = true
		:: !dead[e] && (refs[e] == 0 || queued[e])
#else
		:: !dead[e] && refs[e] > 0 -> dead[e] = true; refs[e]++; queued[e] = true
		:: !dead[e] && refs[e] == 0 /* it is being removed: the work would come too late */
#endif
		fi
	fi
#ifdef BUG_SKIP_USED
	fi
#endif
}

proctype mapper()
{
	byte k, changes, gone;
	bool unmapping;
	bool hit[ENTRIES];

	do
	:: changes == CHANGES -> break
	:: changes < CHANGES ->
		changes++;
		if
		:: unmapping = true /* munmap(), mremap(), exit */
		:: unmapping = false /* madvise(), mprotect(), fork, migration */
		fi;
		/* Entries that subscribe from now on are told to wait; the callbacks of the others run. */
		atomic {
			unmaps_begun = unmaps_begun + unmapping;
			if
			:: unmapping -> mapped = false
			:: else
			fi;
			sequence++;
			do
			:: k < ENTRIES -> hit[k] = subscribed[k]; k++
			:: else -> break
			od;
			k = 0
		}
		do
		:: atomic {
			do
			:: k < ENTRIES && !hit[k] -> k++
			:: else -> break
			od;
			if
			:: k < ENTRIES -> callback(k); hit[k] = false
			:: else -> k = 0; break
			fi
		   }
		od;
#ifdef STUCK
		if
		:: true
		:: true -> break /* its process has been stopped there */
		fi;
#endif
		atomic { present = 0; gone = newest };
		sequence++;
		/* The call has returned. A new mapping comes only after an unmap. */
		atomic {
			oldest_allowed = gone + 1;
			gone = 0;
			unmaps_ended = unmaps_ended + unmapping
		}
		mapped = true
	od;
	mapper_through = true
}

/* ---- posters ---- */

/* pin_user_pages(): the page that is there now, or a fresh one. */
inline get_page(e)
{
	atomic {
		if
		:: !mapped && present == 0 -> ok = false
		:: else ->
			if
			:: present == 0 -> newest++; present = newest
			:: else
			fi;
			page[e] = present;
			pins[present]++;
			ok = true
		fi
	}
}

/* mmu_interval_read_begin() */
inline read_begin(e)
{
	seq = told[e];
#ifdef STUCK
endread:
#endif
	(seq != sequence || !INVALIDATING)
}

/* Into the cache, unless another is there. The mutex is held. */
inline insert(e)
{
	if
	:: cached == NONE -> cached = e; refs[e]++
	:: else
	fi
}

/* A new entry in `mine`, with a reference, or NONE: nothing is mapped there. */
inline make()
{
	atomic {
		mine = made;
		made++;
		refs[mine] = 1;
		/* An entry that subscribes while an invalidation runs has to wait until that is over. */
		told[mine] = (INVALIDATING -> sequence : sequence - 1);
		subscribed[mine] = true
	}
	do
	:: true ->
#ifndef BUG_BEGIN_LATE
		read_begin(mine);
		get_page(mine);
#else
		get_page(mine);
		read_begin(mine);
#endif
		if
		:: !ok -> put(mine); mine = NONE; break
		:: else
		fi;
#ifdef BUG_INSERT_FIRST
		/* Others can find it already, although it may have to be pinned anew. */
		atomic { !mutex -> insert(mine) };
#endif
		/* The mutex, and the leaf lock for this step only. */
		atomic {
			!mutex ->
#ifdef BUG_NO_RETRY
			ok = true;
#else
			ok = (told[mine] == seq);
#endif
			if
			:: ok ->
				live[mine] = true;
#if !defined(BUG_INSERT_UNLOCKED) && !defined(BUG_INSERT_FIRST)
				mutex = true
#endif
			:: else ->
#ifdef WITNESS_RETRY
				assert(false);
#endif
				unpin(mine)
			fi
		}
		if
		:: ok ->
#ifndef BUG_INSERT_FIRST
			atomic { insert(mine); mutex = false };
#endif
			break
		:: else
		fi
	od;
	seq = 0;
	ok = false
}

/* A dead entry serves no new transfer. */
inline find()
{
	atomic { /* the mutex and the leaf lock */
		!mutex ->
		if
#ifdef BUG_FIND_DEAD
		:: cached != NONE -> mine = cached; refs[mine]++
#else
		:: cached != NONE && !dead[cached] -> mine = cached; refs[mine]++
#endif
		:: else -> mine = NONE
		fi;
#ifdef WITNESS_HIT
		assert(mine == NONE)
#endif
	}
}

proctype poster()
{
	byte posts, mine, seq, oldest, ended_before;
	bool ok, fault;

	do
	:: posts < POSTS ->
		atomic { posts++; oldest = oldest_allowed }; /* the transfer begins here */
		find();
		if
		:: mine == NONE -> make()
		:: else
		fi;
		if
		:: mine == NONE
		:: else ->
			atomic {
				assert(page[mine] >= oldest); /* never one that was gone before */
				ended_before = unmaps_ended
			};
			/* Copying. */
			atomic {
				assert(!freed[mine] && page[mine] > 0 && pins[page[mine]] > 0);
#ifdef WITNESS_OLD_PAGE
				assert(!dead[mine]);
#endif
			}
			atomic { /* leaf lock */
				assert(!freed[mine] && page[mine] > 0);
				fault = unmapped[mine];
				/* An unmap meanwhile is an error, and nothing else is. */
				assert(fault || unmaps_ended == ended_before);
				assert(!fault || unmaps_begun > 0);
#ifdef WITNESS_FAULT
				assert(!fault);
#endif
				fault = false;
				ended_before = 0
			}
			put(mine)
		fi;
		mine = 0;
		oldest = 0
	:: else -> break
	od;
	posting--
}

/* ---- the threads that drop cached entries ---- */

#if ENTRIES == 1
#define ANY(what) what[0]
#elif ENTRIES == 2
#define ANY(what) (what[0] || what[1])
#else
#define ANY(what) (what[0] || what[1] || what[2] || what[3])
#endif

/* pin_cache_drop_work(), for one entry after another. */
proctype worker()
{
	byte e;
	bool was;

end:
	do
	:: atomic {
		ANY(queued) ->
		e = 0;
		do
		:: queued[e] -> break
		:: else -> e++
		od;
		assert(!freed[e])
	   }
	   atomic {
		!mutex ->
		queued[e] = false;
#ifdef BUG_MARK_LATE
		dead[e] = true;
#endif
#ifdef BUG_DROP_USED
		if
		:: page[e] > 0 -> unpin(e)
		:: else
		fi;
#endif
		was = (cached == e);
		if
		:: was -> cached = NONE
		:: else
		fi
	   }
	   if
	   :: was -> put(e)
	   :: else
	   fi;
#ifndef BUG_WORK_WITHOUT_REF
	   put(e);
#endif
	   e = 0;
	   was = false
	od
}

/* pin_entry_remove(): a work for each entry in the kernel, one entry after another here. */
proctype remover()
{
	byte e, was;

end:
	do
	:: atomic {
		ANY(removing) ->
		e = 0;
		do
		:: removing[e] -> break
		:: else -> e++
		od;
		assert(!freed[e] && refs[e] == 0 && page[e] == 0);
		subscribed[e] = false;
		was = sequence
	   }
#ifdef STUCK
endremove:
#endif
	   atomic {
#ifndef BUG_FREE_AT_ONCE
		/* It waits for an invalidation that runs. */
		(!(was & 1) || sequence != was);
#endif
		removing[e] = false;
		freed[e] = true;
		told[e] = 0; /* so that equal states look equal */
		live[e] = false;
		dead[e] = false;
		unmapped[e] = false;
		was = 0;
		e = 0
	   }
	od
}

/* adma_pin_cache_evict(), and at last adma_pin_cache_exit(), after which nothing may be pinned. */
#ifdef STUCK
#define MAY_END (reaps == REAPS)
#else
#define MAY_END (posting == 0 && mapper_through)
#endif
proctype reaper()
{
	byte reaps, e;

	do
	:: atomic {
		!mutex && (reaps < REAPS || MAY_END) ->
		reaps = (MAY_END -> REAPS + 1 : reaps + 1);
		e = cached;
		assert(e == NONE || !dead[e] || queued[e]); /* nothing dead stays */
		cached = NONE
	   }
	   if
	   :: e != NONE ->
		put(e);
		assert(refs[e] > 0 || page[e] == 0) /* there is room already */
	   :: else
	   fi;
	   e = 0;
	   if
	   :: reaps > REAPS -> break
	   :: else
	   fi
	od;
#ifndef STUCK
	/* Every entry is freed in the end; a page is pinned no more. */
	e = 0;
	do
	:: e < made -> freed[e]; e++
	:: else -> break
	od;
	e = 1;
	do
	:: e < PAGES -> assert(pins[e] == 0); e++
	:: else -> break
	od
#endif
}

init
{
	byte k;

	atomic {
		newest = 1;
		present = 1;
		oldest_allowed = 1;
		run mapper();
		run worker();
		run remover();
		run reaper();
		do
		:: k < POSTERS -> run poster(); k++
		:: else -> break
		od
	}
}
