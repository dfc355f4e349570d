/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_dma.c - the engine whose copies DMA channels make, through the kernel helper.
 *
 * One thread, the submitter, hands copies to the device. That pins pages, and so may wait for
 * page faults, which neither a post nor a holder of the engine lock may do. While the device has
 * copies, the submitter sleeps in poll(2) on the device and on an eventfd; otherwise it sleeps
 * on a futex word. Neither sleep has a time-out, unless somebody else has closed a descriptor
 * that the submitter polls. A copy is complete when the state in its mapped
 * completion entry says so. Whichever thread looks first takes note of that, the submitter or a
 * waiting caller, so that the copies that follow are started while no caller looks.
 *
 * Copies that the device cannot make are made by copy worker threads, and by callers that wait,
 * as in the engine `thread`, whose functions this engine uses:
 *
 *   - copies that overlap, are strided or staged; shorter than the module's dma_min; longer than
 *     its length_max
 *   - copies that the command refuses with another errno than EFAULT: the memory cannot be pinned
 *     for long, such as that of a file (EOPNOTSUPP), RLIMIT_MEMLOCK is reached (ENOMEM), or a limit
 *     of the user (EDQUOT), or no DMA channel is left (ENODEV)
 *   - copies that complete with EOPNOTSUPP or ENOMEM: source and destination do not overlap, so
 *     the whole copy is made again
 *
 * Other errors complete the copy. EFAULT: the memory is not mapped like that; a CPU would have
 * raised a fatal signal. EIO: a DMA channel did not stop, so the buffers may still be written, at
 * any time.
 */
#include "copy/engine_dma.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "base/fault.h"
#include "base/futex.h"
#include "base/holds.h"
#include "base/list.h"
#include "base/own.h"
#include "base/poll.h"
#include "base/thread.h"
#include "base/trace.h"
#include "copy/completion.h"
#include "copy/engine_thread.h"
#include "copy/state.h"
#include "kdev/device.h"
#include "kdev/entries.h"

#define DEVICE "/dev/adma"
#define LOOK_MS (ADMA_REST_NS / 1000000) /* between two looks whether the descriptors are still ours */
#define LOST_LOOK_MS 1 /* between two looks at the entries, after somebody else has closed the descriptor */

_Static_assert((int)ADMA_OUTSTANDING <= (int)ADMA_DEVICE_ENTRIES, "each copy finds an entry");

/* Where a copy is: the upper 16 bits of its cookie. The lower 16 bits are its entry. */
enum stage {
	STAGE_QUEUED = 1 << 16,     /* the submitter will submit it */
	STAGE_SUBMITTING = 2 << 16, /* the submitter is doing so, without the lock */
	STAGE_SUBMITTED = 3 << 16,  /* the device has it */
	STAGE_CPU = 4 << 16,        /* cores make it */
	STAGE_MASK = 7 << 16,
	CPU_BEGUN = 1,              /* with STAGE_CPU: the device may have copied a part of it */
};

/* Guarded by the engine lock. */
static struct {
	int device, event_fd;
	const struct adma_device_entry *mapped;
	struct adma_device_limits limits;
	struct adma_entries entries;
	struct adma_list queued;        /* copies for the submitter */
	struct adma_copy *submitted[ADMA_OUTSTANDING];
	uint32_t submitted_count;
	uint32_t workers;               /* threads of the engine `thread`, for what cores copy */
	pthread_t submitter;
	_Atomic uint32_t word;          /* the futex word of the submitter, while the device has nothing */
	bool asleep;                    /* the submitter sleeps, and nobody has woken it */
	struct adma_own own_device, own_event_fd;
	int64_t looked_at;              /* when the descriptors were last looked at; 0: there is a reason to look */
	bool polls;                     /* it sleeps in poll(2), not on the word */
	bool lost;                      /* somebody else has closed the descriptor of the device */
	bool stop;
} self = {.device = -1, .event_fd = -1, .queued = ADMA_LIST_INIT(self.queued)};

static enum stage copy_stage(const struct adma_copy *copy)
{
	return (enum stage)(copy->cookie & STAGE_MASK);
}

static uint32_t copy_entry(const struct adma_copy *copy)
{
	return copy->cookie & 0xffff;
}

/* ---- copies on their way to the device, or to cores ---- */

static void submitter_wake(void)
{
	uint64_t one = 1;

	if (self.asleep && self.polls) {
		if (write(self.event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			self.looked_at = 0; /* the submitter wakes by itself, at the end of its second */
	} else if (self.asleep) {
		atomic_fetch_add(&self.word, 1);
		adma_futex_wake(&self.word, 1);
	}
	self.asleep = false;
}

static void copy_to_submitter(struct adma_copy *copy)
{
	copy->cookie = STAGE_QUEUED;
	adma_list_push_back(&self.queued, &copy->link);
	submitter_wake();
}

/* `begun` is CPU_BEGUN or 0. Where there are no workers the submitter makes the copy. */
static void copy_to_cpu(struct adma_copy *copy, uint32_t begun)
{
	copy->cookie = STAGE_CPU | begun;
	__atomic_store_n(&copy->state, ADMA_COPY_READY, __ATOMIC_RELAXED);
	adma_engine_thread.submit(copy);
	if (!self.workers)
		submitter_wake();
}

static bool device_suits(const struct adma_plan *plan)
{
	return !self.lost && plan->rows == 1 && !plan->in_order && plan->bytes && plan->bytes >= self.limits.shortest &&
	       plan->bytes <= self.limits.longest;
}

static void dma_submit(struct adma_copy *copy)
{
	if (device_suits(&copy->plan))
		copy_to_submitter(copy);
	else
		copy_to_cpu(copy, 0);
}

/* ---- copies that the device has ---- */

static void copy_return_entry(const struct adma_copy *copy)
{
	adma_entries_return(&self.entries, copy_entry(copy), false);
}

static void submitted_remove(uint32_t index)
{
	copy_return_entry(self.submitted[index]);
	self.submitted[index] = self.submitted[--self.submitted_count];
}

/* Has the device completed the copy? If so, *status is 0 or a negated errno. */
static bool copy_device_done(const struct adma_copy *copy, int *status)
{
	uint32_t entry = copy_entry(copy), generation = adma_entries_generation(&self.entries, entry);
	/* Acquire: pairs with the kernel's release. */
	uint64_t state = atomic_load_explicit(&self.mapped[entry].state, memory_order_acquire);

	if (state == adma_device_pending(generation))
		return false;
	/*
	 * Another generation: somebody else has used the descriptor and the entry. So the request is
	 * complete and the buffers are not touched any more, but its result is lost.
	 */
	*status = state >> 32 == generation ? (int32_t)state : -EIO;
	return true;
}

/* The device has completed the copy, or refused it with EFAULT. */
static void copy_device_complete(struct adma_copy *copy, int status)
{
	adma_trace_span(ADMA_TRACE_COPY_DEVICE, copy->times.started, copy, copy->plan.bytes, (uint64_t)-status, 0);
	if (status == -EOPNOTSUPP || status == -ENOMEM) {
		adma_copies.stats.refused_device++;
		copy_to_cpu(copy, CPU_BEGUN);
		return;
	}
	copy->times.copied = adma_now();
	if (!status) {
		copy->copied = copy->claimed = copy->plan.parts;
		adma_copies.stats.copies_device++;
		adma_copies.stats.bytes_device += copy->plan.bytes;
	}
	adma_copy_complete(copy, -status);
}

static bool dma_reap(void)
{
	bool any = false;

	for (uint32_t i = self.submitted_count; i-- > 0;) {
		struct adma_copy *copy = self.submitted[i];
		int status;

		if (!copy_device_done(copy, &status))
			continue;
		submitted_remove(i);
		copy_device_complete(copy, status);
		any = true;
	}
	return any;
}

/* Post the copy to the device. Called without the lock: only here are pages pinned. */
static int copy_post_to_device(const struct adma_copy *copy, int device, uint32_t entry, uint32_t generation)
{
	const struct adma_plan *plan = &copy->plan;
	int rc = -ADMA_FAULT(ADMA_FAULT_CHUNK);

	if (!rc)
		rc = adma_device_copy(device, plan->dst, plan->src, plan->bytes, entry, generation);
	adma_trace_span(ADMA_TRACE_COPY_GIVE, copy->times.started, copy, plan->bytes, (uint64_t)-rc, 0);
	return rc;
}

/* Hand a queued copy over to the device. Called with the lock held, which is dropped meanwhile. */
static void submitter_submit(struct adma_copy *copy)
{
	uint32_t entry = (uint32_t)adma_entries_take(&self.entries); /* there is one for each outstanding copy */
	uint32_t generation = adma_entries_generation(&self.entries, entry);
	int device = self.device, rc;

	adma_list_remove(&copy->link);
	copy->cookie = STAGE_SUBMITTING | entry;
	copy->times.started = adma_now();
	__atomic_store_n(&copy->state, ADMA_COPY_RUNNING, __ATOMIC_RELAXED);
	adma_engine_unlock();
	adma_engine_thread.kick();
	rc = copy_post_to_device(copy, device, entry, generation);
	adma_engine_lock();
	if (!rc) {
		copy->cookie = STAGE_SUBMITTED | entry;
		self.submitted[self.submitted_count++] = copy;
		return;
	}
	copy_return_entry(copy);
	if (rc == -EFAULT) {
		copy_device_complete(copy, rc);
		return;
	}
	adma_copies.stats.refused_device++;
	copy_to_cpu(copy, 0);
}

static bool submitted_cancel(struct adma_copy *copy)
{
	uint32_t entry = copy_entry(copy), i = 0;

	if (adma_device_cancel(self.device, entry, adma_entries_generation(&self.entries, entry)))
		return false;
	while (self.submitted[i] != copy)
		i++;
	submitted_remove(i);
	return true;
}

static bool dma_cancel(struct adma_copy *copy)
{
	switch (copy_stage(copy)) {
	case STAGE_QUEUED:
		adma_list_remove(&copy->link);
		return true;
	case STAGE_SUBMITTED:
		return submitted_cancel(copy);
	case STAGE_CPU:
		return !(copy->cookie & CPU_BEGUN) && adma_engine_thread.cancel(copy);
	default:
		return false;
	}
}

static bool dma_help(struct adma_copy *copy)
{
	if (copy && copy_stage(copy) != STAGE_CPU)
		return false;
	return adma_engine_thread.help(copy);
}

/* ---- the submitter ---- */

/*
 * Sleep until a copy completes, or another thread wakes the submitter. Called without the lock.
 * Both descriptors are emptied before the entries are looked at: a copy that completes after that
 * makes the device readable again. Returns true when somebody else has closed the device, and
 * stores in *event_lost whether somebody has closed the eventfd.
 */
static bool submitter_poll(int device, int event_fd, int timeout_ms, bool *event_lost)
{
	struct pollfd fds[] = {{.fd = device, .events = POLLIN}, {.fd = event_fd, .events = POLLIN}};
	uint64_t count;

	*event_lost = false;
	if (adma_poll(fds, 2, timeout_ms) <= 0)
		return false;
	if (fds[0].revents & POLLIN)
		(void)!read(device, &count, sizeof(count));
	if (fds[1].revents & POLLIN)
		(void)!read(event_fd, &count, sizeof(count));
	*event_lost = fds[1].revents & ~POLLIN;
	return fds[0].revents & ~POLLIN;
}

/* Are the descriptors still ours? At most one look a second, with the lock held. */
static void submitter_look_at_fds(void)
{
	int64_t now = adma_now();

	if (now - self.looked_at < ADMA_REST_NS)
		return;
	self.looked_at = now;
	self.lost |= !adma_own_is(&self.own_device, self.device);
	if (!adma_own_is(&self.own_event_fd, self.event_fd))
		self.event_fd = -1;
}

/* The submitter has nothing to do. Called with the lock held, which is dropped meanwhile. */
static void submitter_rest(void)
{
	uint32_t word = atomic_load(&self.word);
	bool device_lost = false, event_lost = false;
	int device = self.lost ? -1 : self.device, event_fd = self.event_fd;
	int timeout_ms = device < 0 || event_fd < 0 ? LOST_LOOK_MS : LOOK_MS;
	int64_t limit;

	self.asleep = true;
	self.polls = self.submitted_count;
	adma_copies.stats.sleeps++;
	adma_engine_unlock();
	adma_engine_thread.kick();
	adma_holds_tell();
	limit = adma_holds_limit(-1);
	if (limit >= 0 && limit / 1000000 < timeout_ms)
		timeout_ms = (int)(limit / 1000000);
	if (self.polls) /* only this thread writes it */
		device_lost = submitter_poll(device, event_fd, timeout_ms, &event_lost);
	else
		(void)adma_futex_wait(&self.word, word, limit);
	adma_engine_lock();
	self.asleep = false;
	self.lost |= device_lost;
	if (event_lost)
		self.event_fd = -1;
	submitter_look_at_fds();
	adma_copies.stats.wakes++;
}

static void *submitter_run(void *unused)
{
	adma_engine_lock();
	while (!self.stop) {
		struct adma_list *first;

		(void)dma_reap();
		first = adma_list_first(&self.queued);
		if (first)
			submitter_submit(adma_container_of(first, struct adma_copy, link));
		else if (self.workers || !adma_engine_thread.help(NULL))
			submitter_rest();
	}
	adma_engine_unlock();
	return unused;
}

static int submitter_start(void)
{
	int err = ADMA_FAULT(ADMA_FAULT_THREAD);

	return -(err ? err : adma_thread_start(&self.submitter, "adma-dma", 0, submitter_run, NULL));
}

/* ---- the interface ---- */

/* Submitting wakes the submitter itself, because workers complete copies, too, and kick only each other. */
static void dma_kick(void)
{
	adma_engine_thread.kick();
}

static int dma_probe(void)
{
	struct adma_device_limits limits;
	int fd = adma_device_open(DEVICE, &limits);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void dma_release(void)
{
	adma_device_unmap(self.mapped);
	adma_own_close(&self.event_fd, &self.own_event_fd);
	if (!self.lost) /* if it is lost, its number may be another file's by now */
		adma_own_close(&self.device, &self.own_device);
	memset(&self, 0, sizeof(self));
	self.device = self.event_fd = -1;
	adma_list_init(&self.queued);
}

static int dma_open(void)
{
	int event;

	self.device = adma_device_open(DEVICE, &self.limits);
	if (self.device < 0)
		return self.device;
	event = adma_event_make();
	self.event_fd = event < 0 ? -1 : event;
	if (event < 0)
		return event;
	self.own_device = adma_own_note(self.device);
	self.own_event_fd = adma_own_note(self.event_fd);
	self.looked_at = adma_now();
	return adma_device_map(self.device, &self.mapped);
}

static int dma_start(uint32_t workers, enum adma_policy policy)
{
	int rc = dma_open(), got;

	adma_entries_init(&self.entries, 0, ADMA_DEVICE_ENTRIES, 0);
	rc = rc ? rc : submitter_start();
	if (rc) {
		dma_release();
		return rc;
	}
	/* The submitter waits for the lock until this function is done. Where no worker starts, it makes the copies. */
	got = adma_engine_thread.start(workers, policy);
	self.workers = got > 0 ? (uint32_t)got : 0;
	return self.workers ? got : 1;
}

static void dma_stop(void)
{
	adma_engine_lock();
	self.stop = true;
	submitter_wake();
	adma_engine_unlock();
	pthread_join(self.submitter, NULL);
	adma_engine_thread.stop();
	dma_release();
}

/* The descriptor is closed, so that the child cannot post memory of the parent by it. */
static void dma_forked(void)
{
	dma_release();
	adma_engine_thread.forked();
}

const struct adma_engine adma_engine_dma = {
	.name = "dmaengine",
	.probe = dma_probe,
	.start = dma_start,
	.stop = dma_stop,
	.forked = dma_forked,
	.submit = dma_submit,
	.cancel = dma_cancel,
	.help = dma_help,
	.reap = dma_reap,
	.kick = dma_kick,
};
