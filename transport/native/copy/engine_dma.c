/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_dma.c - the engine whose copies DMA channels make, through the kernel helper.
 *
 * One thread, the servant, hands copies to the device: that pins pages, and so may wait for page
 * faults, which neither a post nor the lock may. While the device has something it sleeps in poll(2)
 * on it and on a bell, else on a word, without a time-out. A copy is over when the word in its mapped
 * completion entry says so; whoever looks first takes note of it, the servant
 * or who waits, so that followers start while nobody calls.
 *
 * What is not for the device is made by queues that are threads, and by callers that wait, as in
 * the engine `thread`, whose functions serve here, too:
 *
 *   overlapping, strided, staged; shorter than the module's dma_min, longer than its length_max
 *   what the command refuses, but for EFAULT: memory that cannot be pinned for long, such as a file's
 *   (EOPNOTSUPP), RLIMIT_MEMLOCK (ENOMEM), limits of the user (EDQUOT), no channel left (ENODEV)
 *   what it ends with EOPNOTSUPP or ENOMEM: source and destination are apart, so all of it is copied anew
 *
 * Other errors end the copy. EFAULT: memory that is not mapped so, where a CPU would have died of it.
 * EIO: an engine that did not stop; the buffers may still be written, for ever.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "adma.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/thread.h"
#include "base/trace.h"
#include "copy/engine.h"
#include "kdev/device.h"

#define DEVICE "/dev/adma"
#define LOST_LOOK_MS 1 /* between looks, where somebody closed the descriptor below us */

_Static_assert((int)ADMA_OUTSTANDING <= (int)ADMA_DEVICE_ENTRIES, "each copy finds an entry");

/* Where a copy is: the high half of its cookie; the low one is its entry. */
enum stage {
	QUEUED = 1 << 16,  /* the servant will hand it over */
	HANDING = 2 << 16, /* the servant is doing so, without the lock */
	GIVEN = 3 << 16,   /* the device has it */
	BY_CPU = 4 << 16,
	STAGE = 7 << 16,
	BEGUN = 1,         /* of BY_CPU: the device may have done a part */
};

static struct {
	int device, bell;
	const struct adma_device_entry *entries;
	struct adma_device_limits limits;
	uint32_t generation[ADMA_DEVICE_ENTRIES];
	uint16_t unused[ADMA_DEVICE_ENTRIES];
	uint32_t unused_count;
	struct adma_copy_line queued;
	struct adma_copy *given[ADMA_OUTSTANDING];
	uint32_t given_count;
	uint32_t queues;                /* threads beside the servant, for what the CPU copies */
	pthread_t servant;
	_Atomic uint32_t rung;          /* the servant sleeps on it while the device has nothing */
	bool asleep;                    /* and nobody has rung */
	bool polls;                     /* asleep in poll(2), not on the word */
	bool lost;                      /* the descriptor was closed by somebody else */
	bool stop;
} self = {.device = -1, .bell = -1};

static enum stage stage_of(const struct adma_copy *copy)
{
	return (enum stage)(copy->cookie & STAGE);
}

static uint32_t entry_of(const struct adma_copy *copy)
{
	return copy->cookie & 0xffff;
}

/* ---- what waits for the servant ---- */

/* With the lock. */
static void ring(void)
{
	uint64_t one = 1;

	if (self.asleep && self.polls) {
		(void)!write(self.bell, &one, sizeof(one));
	} else if (self.asleep) {
		atomic_fetch_add(&self.rung, 1);
		adma_futex_wake(&self.rung, 1);
	}
	self.asleep = false;
}

static void enqueue(struct adma_copy *copy)
{
	copy->cookie = QUEUED;
	adma_copy_line_push(&self.queued, copy);
	ring();
}

static void give_to_cpu(struct adma_copy *copy, uint32_t begun)
{
	copy->cookie = BY_CPU | begun;
	__atomic_store_n(&copy->state, ADMA_COPY_READY, __ATOMIC_RELAXED);
	adma_engine_thread.submit(copy);
	if (!self.queues)
		ring();
}

static bool suits(const struct adma_plan *plan)
{
	return !self.lost && plan->rows == 1 && !plan->in_order && plan->bytes &&
	       plan->bytes >= self.limits.shortest && plan->bytes <= self.limits.longest;
}

static void submit(struct adma_copy *copy)
{
	if (suits(&copy->plan))
		enqueue(copy);
	else
		give_to_cpu(copy, 0);
}

/* ---- what the device has ---- */

static uint32_t take_entry(void)
{
	uint32_t entry = self.unused[--self.unused_count];

	if (!++self.generation[entry])
		self.generation[entry] = 1; /* 0 is no generation */
	return entry;
}

static void return_entry(const struct adma_copy *copy)
{
	self.unused[self.unused_count++] = (uint16_t)entry_of(copy);
}

static void forget(uint32_t index)
{
	return_entry(self.given[index]);
	self.given[index] = self.given[--self.given_count];
}

/* 1: it is over, and *status 0 or a negated errno. */
static int is_over(const struct adma_copy *copy, int *status)
{
	uint32_t entry = entry_of(copy), generation = self.generation[entry];
	/* Acquire: pairs with the kernel's release. */
	uint64_t state = atomic_load_explicit(&self.entries[entry].state, memory_order_acquire);

	if (state == adma_device_pending(generation))
		return 0;
	/* Somebody else used our descriptor: so it ended, who knows how. Nobody touches the buffers again. */
	*status = state >> 32 == generation ? (int32_t)state : -EIO;
	return 1;
}

static bool cpu_may_finish(int status)
{
	return status == -EOPNOTSUPP || status == -ENOMEM;
}

static void end(struct adma_copy *copy, int status)
{
	adma_trace_span(ADMA_TRACE_COPY_DEVICE, copy->times.started, copy, copy->plan.bytes, (uint64_t)-status, 0);
	if (cpu_may_finish(status)) {
		adma_offload.stats.refused_device++;
		give_to_cpu(copy, BEGUN);
		return;
	}
	copy->times.copied = adma_now();
	if (!status) {
		copy->copied = copy->claimed = copy->plan.parts;
		adma_offload.stats.copies_device++;
		adma_offload.stats.bytes_device += copy->plan.bytes;
	}
	adma_copy_ended(copy, -status);
}

/* With the lock. */
static bool reap(void)
{
	bool any = false;

	for (uint32_t i = self.given_count; i-- > 0;) {
		struct adma_copy *copy = self.given[i];
		int status;

		if (!is_over(copy, &status))
			continue;
		forget(i);
		end(copy, status);
		any = true;
	}
	return any;
}

/* With the lock, dropped meanwhile. Only here are pages pinned. */
static void hand_over(struct adma_copy *copy)
{
	const struct adma_plan *plan = &copy->plan;
	uint32_t entry = take_entry(), generation = self.generation[entry];
	int device = self.device, rc;

	adma_copy_line_remove(&self.queued, copy);
	copy->cookie = HANDING | entry;
	copy->times.started = adma_now();
	__atomic_store_n(&copy->state, ADMA_COPY_RUNNING, __ATOMIC_RELAXED);
	adma_engine_unlock();
	adma_engine_thread.kick();
	rc = -ADMA_FAULT(ADMA_FAULT_CHUNK);
	if (!rc)
		rc = adma_device_copy(device, plan->dst, plan->src, plan->bytes, entry, generation);
	adma_trace_span(ADMA_TRACE_COPY_GIVE, copy->times.started, copy, plan->bytes, (uint64_t)-rc, 0);
	adma_engine_lock();
	if (!rc) {
		copy->cookie = GIVEN | entry;
		self.given[self.given_count++] = copy;
		return;
	}
	return_entry(copy);
	if (rc == -EFAULT) {
		end(copy, rc);
		return;
	}
	adma_offload.stats.refused_device++;
	give_to_cpu(copy, 0);
}

static bool cancel_given(struct adma_copy *copy)
{
	uint32_t entry = entry_of(copy), i = 0;

	if (adma_device_cancel(self.device, entry, self.generation[entry]))
		return false;
	while (self.given[i] != copy)
		i++;
	forget(i);
	return true;
}

static bool cancel(struct adma_copy *copy)
{
	switch (stage_of(copy)) {
	case QUEUED:
		adma_copy_line_remove(&self.queued, copy);
		return true;
	case GIVEN:
		return cancel_given(copy);
	case BY_CPU:
		return !(copy->cookie & BEGUN) && adma_engine_thread.cancel(copy);
	default:
		return false;
	}
}

static bool help(struct adma_copy *copy)
{
	if (copy && stage_of(copy) != BY_CPU)
		return false;
	return adma_engine_thread.help(copy);
}

/* ---- the servant ---- */

/*
 * Without the lock: until a copy ends, or somebody rings. Emptied before the entries are looked at: what
 * ends after that makes the device readable again. True, *bell_lost: the descriptor was closed by others.
 */
static bool poll_both(int device, int bell, int timeout_ms, bool *bell_lost)
{
	struct pollfd fds[] = {{.fd = device, .events = POLLIN}, {.fd = bell, .events = POLLIN}};
	uint64_t count;

	*bell_lost = false;
	if (poll(fds, 2, timeout_ms) <= 0)
		return false;
	if (fds[0].revents & POLLIN)
		(void)!read(device, &count, sizeof(count));
	if (fds[1].revents & POLLIN)
		(void)!read(bell, &count, sizeof(count));
	*bell_lost = fds[1].revents & ~POLLIN;
	return fds[0].revents & ~POLLIN;
}

/* With the lock, dropped meanwhile. */
static void rest(void)
{
	uint32_t rung = atomic_load(&self.rung);
	bool device_lost = false, bell_lost = false;
	int device = self.lost ? -1 : self.device, bell = self.bell;

	self.asleep = true;
	self.polls = self.given_count;
	adma_offload.stats.sleeps++;
	adma_engine_unlock();
	adma_engine_thread.kick();
	if (self.polls) /* only we write it */
		device_lost = poll_both(device, bell, device < 0 || bell < 0 ? LOST_LOOK_MS : -1, &bell_lost);
	else
		(void)adma_futex_wait(&self.rung, rung, -1);
	adma_engine_lock();
	self.asleep = false;
	self.lost |= device_lost;
	if (bell_lost)
		self.bell = -1;
	adma_offload.stats.wakes++;
}

static void *serve(void *unused)
{
	adma_engine_lock();
	while (!self.stop) {
		(void)reap();
		if (self.queued.first)
			hand_over(self.queued.first);
		else if (self.queues || !adma_engine_thread.help(NULL))
			rest();
	}
	adma_engine_unlock();
	return unused;
}

/* Signals are the business of threads that run Python. */
static int make_servant(void)
{
	int err = ADMA_FAULT(ADMA_FAULT_THREAD);

	return -(err ? err : adma_thread_start(&self.servant, "adma-dma", 0, serve, NULL));
}

/* ---- the interface ---- */

/* The servant is rung by submit itself: the queues end copies, too, and know of no bell but their own. */
static void kick(void)
{
	adma_engine_thread.kick();
}

static int probe(void)
{
	struct adma_device_limits limits;
	int fd = adma_device_open(DEVICE, &limits);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void give_back(void)
{
	adma_device_unmap(self.entries);
	if (self.bell >= 0)
		close(self.bell);
	if (self.device >= 0 && !self.lost) /* else that number may be another's by now */
		close(self.device);
	memset(&self, 0, sizeof(self));
	self.device = self.bell = -1;
}

static int open_all(void)
{
	self.device = adma_device_open(DEVICE, &self.limits);
	if (self.device < 0)
		return self.device;
	self.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (self.bell < 0)
		return -errno;
	return adma_device_map(self.device, &self.entries);
}

static int start(uint32_t queues, enum adma_policy policy)
{
	int rc = open_all(), got;

	for (uint16_t i = 0; i < ADMA_DEVICE_ENTRIES; i++)
		self.unused[self.unused_count++] = i;
	rc = rc ? rc : make_servant();
	if (rc) {
		give_back();
		return rc;
	}
	/* The servant waits for the lock, and copies by itself where there is no thread for it. */
	got = adma_engine_thread.start(queues, policy);
	self.queues = got > 0 ? (uint32_t)got : 0;
	return self.queues ? got : 1;
}

static void stop(void)
{
	adma_engine_lock();
	self.stop = true;
	ring();
	adma_engine_unlock();
	pthread_join(self.servant, NULL);
	adma_engine_thread.stop();
	give_back();
}

/* The parent's memory must not be posted by way of a descriptor that the child happens to have. */
static void forked(void)
{
	give_back();
	adma_engine_thread.forked();
}

const struct adma_engine adma_engine_dma = {
	.name = "dmaengine",
	.probe = probe,
	.start = start,
	.stop = stop,
	.forked = forked,
	.submit = submit,
	.cancel = cancel,
	.help = help,
	.reap = reap,
	.kick = kick,
};
