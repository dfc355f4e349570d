/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * trace.c - the ring of events.
 *
 * Events are numbered, and an event is stored in the slot of its number modulo the size of the
 * ring. One thread at a time uses a slot, to write an event or to take one: it stores BUSY as
 * the slot's `number`. A writer that finds its slot busy drops its event. The `number` of a slot
 * tells which event it holds, and is stored last (release). A reader skips the slots that hold
 * another event than the one it wants.
 */
#include "base/trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS_MAX 256
#define BUSY UINT64_MAX /* the number of a slot that a thread is using */

struct trace_slot {
	_Atomic uint64_t number; /* of its event, counted from 1; 0: it holds none */
	struct adma_trace_event event;
};
_Static_assert(sizeof(struct trace_slot) == 64, "a slot is a cache line");

bool adma_trace_on;

static struct {
	struct trace_slot *slots;
	uint64_t size;
	uint64_t first;        /* the first event since the last start */
	_Atomic uint64_t next; /* the number of the next event, less 1 */
	struct adma_trace_thread threads[THREADS_MAX];
	_Atomic uint32_t thread_count;
} self;

static _Thread_local uint32_t own_tid; /* 0: this thread has recorded nothing yet */

/* ---- events ---- */

static void trace_note_thread(void)
{
	uint32_t place = atomic_fetch_add(&self.thread_count, 1);

	own_tid = (uint32_t)syscall(SYS_gettid);
	if (place >= THREADS_MAX)
		return;
	(void)prctl(PR_GET_NAME, self.threads[place].name);
	__atomic_store_n(&self.threads[place].tid, own_tid, __ATOMIC_RELEASE);
}

void adma_trace_put(uint32_t kind, int64_t at, int64_t lasted, const void *id, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t number = atomic_fetch_add_explicit(&self.next, 1, memory_order_relaxed);
	struct trace_slot *slot = &self.slots[number & (self.size - 1)];
	uint64_t before = atomic_load_explicit(&slot->number, memory_order_relaxed);

	if (!own_tid)
		trace_note_thread();
	if (before == BUSY || !atomic_compare_exchange_strong(&slot->number, &before, BUSY))
		return;
	slot->event = (struct adma_trace_event){
		.at = at,
		.lasted = lasted,
		.id = (uintptr_t)id,
		.a = a,
		.b = b,
		.c = c,
		.tid = own_tid,
		.kind = kind,
	};
	atomic_store_explicit(&slot->number, number + 1, memory_order_release);
}

static bool trace_take_one(uint64_t number, struct adma_trace_event *event)
{
	struct trace_slot *slot = &self.slots[number & (self.size - 1)];
	uint64_t wanted = number + 1;

	/* Make the slot busy, as a writer does, so that none writes to it meanwhile. */
	if (!atomic_compare_exchange_strong(&slot->number, &wanted, BUSY))
		return false;
	*event = slot->event;
	atomic_store_explicit(&slot->number, number + 1, memory_order_release);
	return true;
}

uint64_t adma_trace_take(struct adma_trace_event *events, uint64_t most, uint64_t *dropped)
{
	uint64_t next = atomic_load(&self.next), number = self.first, taken = 0;

	if (next - number > self.size)
		number = next - self.size;
	for (; number < next && taken < most; number++)
		taken += trace_take_one(number, &events[taken]);
	*dropped = next - self.first - taken;
	return taken;
}

uint32_t adma_trace_threads(struct adma_trace_thread *threads, uint32_t most)
{
	uint32_t count = atomic_load(&self.thread_count), n = 0;

	for (uint32_t i = 0; i < count && i < THREADS_MAX && n < most; i++) {
		threads[n] = self.threads[i];
		n += __atomic_load_n(&self.threads[i].tid, __ATOMIC_ACQUIRE) != 0;
	}
	return n;
}

/* ---- on and off ---- */

/* The child has one thread, so nobody is writing to the ring: it can be unmapped. */
static void trace_after_fork_child(void)
{
	adma_trace_on = false;
	if (self.slots)
		munmap(self.slots, self.size * sizeof(*self.slots));
	memset(&self, 0, sizeof(self));
	own_tid = 0;
}

static void trace_watch_forks(void)
{
	pthread_atfork(NULL, NULL, trace_after_fork_child);
}

int adma_trace_start(uint64_t events)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (adma_tracing())
		return -EBUSY;
	if (!events || events & (events - 1) || events > UINT64_MAX / sizeof(struct trace_slot) ||
	    (self.slots && events != self.size))
		return -EINVAL;
	if (!self.slots) {
		/* The kernel allocates its pages when they are first written to. */
		void *p = mmap(NULL, events * sizeof(struct trace_slot), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		self.slots = p;
		self.size = events;
	}
	pthread_once(&once, trace_watch_forks);
	self.first = atomic_load(&self.next);
	__atomic_store_n(&adma_trace_on, true, __ATOMIC_RELEASE);
	return 0;
}

void adma_trace_stop(void)
{
	__atomic_store_n(&adma_trace_on, false, __ATOMIC_RELAXED);
}
