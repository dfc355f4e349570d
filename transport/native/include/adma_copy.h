/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_copy.h - copies inside one process, handed to a copy engine: the paper's table 1.
 *
 * A copy belongs to its caller and is kept, with both buffers, until its state is
 * ADMA_COPY_DONE. Copies are started in the order of their posts as far as that can be
 * told from the outside: one that touches bytes which an earlier one writes, or writes
 * bytes which an earlier one touches, begins after that one has ended. Up to
 * ADMA_OUTSTANDING are looked at for that at a time; behind them the others wait in line.
 *
 *   adma_copy_post()    IDLE -> WAITING (for earlier ones) -> READY (with the engine)
 *                                                          -> RUNNING -> DONE
 *
 * What several threads post at the same time has no order until a post has returned: they must not
 * touch the same bytes. (A copy that is made in its post is not looked for by the others.)
 *
 * Results are >= 0 or a negated errno. Every function may be called from any thread.
 * No function but the waits and adma_engine_drain() copies for long, and those no longer
 * than they are told to.
 */
#ifndef ADMA_COPY_H
#define ADMA_COPY_H

#include <stdbool.h>
#include <stdint.h>

/* ---- ways for a core to copy a run of bytes (copy/kernels.h) ---- */

enum adma_kernel {
	ADMA_KERNEL_LIBC = 0,
	ADMA_KERNEL_MOVSB = 1,    /* rep movsb */
	ADMA_KERNEL_STREAM = 2,   /* stores that go past the caches */
	ADMA_KERNEL_PREFETCH = 3, /* plain loads and stores, the source fetched ahead */
	ADMA_KERNELS = 4,
};

/* How many ways there are in this build. */
int adma_kernels(void);
const char *adma_kernel_name(int kernel);

/* ---- the geometry of a copy (copy/plan.h) ---- */

enum {
	ADMA_DIMS_MAX = 64,
	ADMA_PART_BYTES = 128 * 1024, /* about what one part moves */
};

/* One dimension: how many, and the bytes from one to the next in each array. */
struct adma_dim {
	uint64_t count;
	int64_t dst_step, src_step;
};

/* The bytes that a copy may touch, [from, to). */
struct adma_extent {
	uintptr_t from, to;
};

struct adma_plan {
	uint8_t *dst;
	const uint8_t *src;
	uint64_t width;
	uint64_t rows;
	uint64_t bytes;      /* rows * width */
	uint64_t parts;      /* how many parts it is cut into; 0 for no bytes */
	uint64_t rows_each;  /* rows of a part; 0: a row is one part or several */
	struct adma_extent writes, reads;
	struct adma_dim *dims; /* outermost first, the caller's memory; changed by the planning */
	uint32_t ndim;
	uint8_t in_order;
	uint8_t backwards;   /* the last part first */
	uint8_t staged;      /* the first half of the parts gathers, the second scatters */
	uint8_t *stage;      /* `bytes` bytes, the owner's to allocate and free */
};

/* n contiguous bytes. */
void adma_plan_bytes(struct adma_plan *plan, void *dst, const void *src, uint64_t n);

/*
 * Elements of `width` bytes in `ndim` dimensions, outermost first. `dims` must live as
 * long as the plan. -EINVAL: two elements of the destination are the same memory
 * (a step of 0); -E2BIG: more than ADMA_DIMS_MAX dimensions; -EOVERFLOW.
 */
int adma_plan_strided(struct adma_plan *plan, void *dst, const void *src, uint64_t width,
		      struct adma_dim *dims, uint32_t ndim);

/* ---- a copy ---- */

/* The core's own: what a schedule lists (copy/schedule.h). */
struct adma_work {
	uint64_t bytes; /* of the whole: small work goes first */
	uint32_t lent;  /* it is no copy */

	/* the schedule's own */
	struct adma_work *next, *prev;
	uint32_t line; /* the line it stands in */
	uint32_t listed;
};

enum {
	ADMA_OUTSTANDING = 256, /* copies that are compared with each other */
	ADMA_BACKLOG_MAX = 1 << 16, /* copies that wait behind them, at most */
};

enum adma_copy_state {
	ADMA_COPY_IDLE = 0,
	ADMA_COPY_WAITING = 1,
	ADMA_COPY_READY = 2,
	ADMA_COPY_RUNNING = 3,
	ADMA_COPY_DONE = 4,
};

/* Where the time of a copy went (the paper's figure 7): nanoseconds of CLOCK_MONOTONIC. */
struct adma_copy_times {
	int64_t posted;   /* the post began */
	int64_t queued;   /* and returned */
	int64_t started;  /* its first part began */
	int64_t copied;   /* its last part ended */
	int64_t seen;     /* a caller looked and found it done; 0: nobody did, or it was copied in the post */
};

struct adma_copy {
	/* filled by the caller: adma_plan_bytes() or adma_plan_strided() */
	struct adma_plan plan;

	/* written by the core; readable at any time, final once the state is DONE */
	int32_t state;   /* enum adma_copy_state */
	int32_t error;   /* 0, ECANCELED, or why it failed */
	uint64_t copied; /* parts done */
	struct adma_copy_times times;

	/* the core's own */
	struct adma_work work;
	struct adma_copy *next, *prev; /* in the line */
	uint64_t claimed;  /* parts begun */
	uint32_t place;    /* among the outstanding */
	uint32_t blockers; /* earlier ones to wait for */
	uint32_t family;   /* of which process, forks counted */
	uint32_t cookie;   /* an engine's own */
};

/* ---- copying ---- */

/*
 * Copy n bytes in this call, if nothing outstanding is in the way. 0; -EAGAIN: post it, an earlier copy
 * touches these bytes. adma_copy_small(): and only up to the configured `at_once`, where handing
 * over would cost more than copying.
 */
int adma_copy_now(void *dst, const void *src, uint64_t n);
int adma_copy_small(void *dst, const void *src, uint64_t n);

/*
 * Hand it over. 0: it is outstanding, or done already; 1: and nobody copies it but who waits (engine
 * `caller`): do. -EAGAIN: ADMA_BACKLOG_MAX wait in line, wait for room; -ENOMEM: source and
 * destination overlap with different steps, and there is no memory for the detour. Nothing was done then.
 */
int adma_copy_post(struct adma_copy *copy);

/* Plan n contiguous bytes and hand them over, in one call. */
int adma_copy_post_bytes(struct adma_copy *copy, void *dst, const void *src, uint64_t n);
/* Is it done? Whoever is told so sees what was copied. Does nothing else. */
bool adma_copy_done(const struct adma_copy *copy);

/* 1: it is done. 0: not yet; where nobody but callers copies, a part more is now. -ADMA_E_FORKED: it is the parent process's. */
int adma_copy_check(struct adma_copy *copy);

/* 1: nothing of it happens any more; done, error ECANCELED. 0: it has begun, or ended. */
int adma_copy_cancel(struct adma_copy *copy);

/*
 * Wait until `need` of these are done, copying meanwhile if callers may help: first parts of these, then of what
 * they wait for. Returns 1 then; 0 after slice_ns, when the caller should look at signals and
 * the clock and call again; -ADMA_E_FORKED. A signal ends a sleep early, with 0.
 */
int adma_copy_wait(struct adma_copy **copies, uint64_t n, uint64_t need, int64_t slice_ns);
int adma_copy_wait_one(struct adma_copy *copy, int64_t slice_ns);

/* The same, until the line has room. */
int adma_copy_wait_room(int64_t slice_ns);

/*
 * For who waits for other things, too: a descriptor of its own, opened and closed by it. It
 * is readable once a copy has ended after it was armed; to arm it empties it.
 */
struct adma_copy_signal {
	int32_t fd;
	uint32_t armed;
	struct adma_copy_signal *next;
};
int adma_copy_signal_open(struct adma_copy_signal *signal); /* 0 or a negated errno */
void adma_copy_signal_arm(struct adma_copy_signal *signal);
void adma_copy_signal_close(struct adma_copy_signal *signal);

/* ---- the engine ---- */

struct adma_engine_config {
	uint32_t engine;       /* enum adma_engine_id */
	uint32_t queues;       /* 0: by the cores that this process may use */
	uint32_t policy;       /* enum adma_policy */
	bool callers_help;     /* who waits copies, too */
	uint32_t kernel;       /* 0: what was measured to be fastest; else 1 + enum adma_kernel */
	uint64_t at_once;      /* posts of up to so many bytes are copied by the caller, in the post */
};

enum adma_engine_id {
	ADMA_ENGINE_AUTO = 0,
	ADMA_ENGINE_CALLER = 1,
	ADMA_ENGINE_THREAD = 2,
	ADMA_ENGINE_DMA = 3,
	ADMA_ENGINE_COUNT = 4,
};

/* What is used from the next post on. Waits for nothing: -EBUSY while copies are outstanding. -EINVAL. */
int adma_engine_configure(const struct adma_engine_config *config);

struct adma_engine_state {
	uint32_t chosen;      /* enum adma_engine_id: what AUTO came to */
	uint32_t running;     /* queues that run now; 0: not started, or none */
	uint32_t queues;      /* that would be started */
	int32_t refused;      /* errno: the chosen engine could not be started, and `caller` serves */
	struct adma_engine_config config;
};
void adma_engine_look(struct adma_engine_state *state);

/* 0, or the errno for which an engine cannot be had here. */
int adma_engine_probe(uint32_t engine);

/*
 * The engine is set up, and its end is seen to: from now on its queues help channels (lending.h), too, and
 * it may be started for that.
 */
void adma_engine_may_assist(void);

/* Copy what is outstanding to its end, for at most slice_ns. 1: nothing is left. */
int adma_engine_drain(int64_t slice_ns);

/*
 * End the queues for good: from now on only callers copy, also what is outstanding. -EBUSY: the
 * engine cannot leave that to them; drain first.
 */
int adma_engine_end(void);

/* End the queues; they start again when needed. -EBUSY while copies are outstanding: drain first. */
int adma_engine_stop(void);

/* What copying a part of ADMA_PART_BYTES took in each way, of copies of one class of size (schedule.h). */
struct adma_engine_kernels {
	uint32_t ways, best;
	uint32_t taken[4];     /* parts measured, by enum adma_kernel */
	uint32_t median_ns[4]; /* of the last ones */
};
void adma_engine_kernels(uint32_t class, struct adma_engine_kernels *found);

struct adma_engine_stats {
	uint64_t copies, bytes;      /* ended without error */
	uint64_t at_once;            /* of these: copied in the post */
	uint64_t cancelled, failed;
	uint64_t parts_queues;       /* parts that queues did */
	uint64_t parts_callers;      /* parts that waiting callers did */
	uint64_t held_back;          /* copies that had to wait for earlier ones */
	uint64_t copies_device, bytes_device; /* of these copies: by DMA channels */
	uint64_t refused_device;     /* copies that the device would not make: queues and callers did */
	uint64_t wakes, sleeps;      /* of queues */
	uint64_t outstanding, in_line;
	int64_t post_ns, start_ns, copy_ns, complete_ns; /* sums: figure 7 */
};
void adma_engine_get_stats(struct adma_engine_stats *stats);

#endif
