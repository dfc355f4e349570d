/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_copy.h - copies inside one process, executed by a copy engine: table 1 of the paper.
 *
 * A copy (struct adma_copy) belongs to its caller. The caller keeps it, and does not touch its
 * two buffers, until its state is ADMA_COPY_DONE. To the caller, copies look as if they were
 * started in the order of their posts: a copy that touches bytes which an earlier copy writes,
 * or writes bytes which an earlier copy touches, is started after that copy is complete. Up to
 * ADMA_OUTSTANDING copies are compared with each other at a time; later ones wait behind them
 * in the backlog.
 *
 *   adma_copy_post()    IDLE -> WAITING (for earlier ones) -> READY (with the engine)
 *                                                          -> RUNNING -> DONE
 *
 * Posts that several threads make at the same time have no order: such copies must not touch
 * the same bytes. A post has its place in the order once it has returned. (Other threads do not
 * compare their copies with one that is made inside its post.)
 *
 * Results are >= 0 or a negated errno. Every function may be called from any thread. Only the
 * waits and adma_engine_drain() may take long, and they take no longer than the caller says.
 */
#ifndef ADMA_COPY_H
#define ADMA_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "adma.h"

/* ---- ways in which a core copies a run of bytes (copy/kernels.h) ---- */

enum adma_kernel {
	ADMA_KERNEL_LIBC = 0,
	ADMA_KERNEL_MOVSB = 1,    /* rep movsb */
	ADMA_KERNEL_STREAM = 2,   /* stores that bypass the caches */
	ADMA_KERNEL_PREFETCH = 3, /* ordinary loads and stores; the source is prefetched */
	ADMA_KERNELS = 4,
};

/* How many ways this build has. */
int adma_kernels(void);
const char *adma_kernel_name(int kernel);

/* ---- the geometry of a copy (copy/plan.h) ---- */

enum {
	ADMA_DIMS_MAX = 64,
	ADMA_PART_BYTES = 128 * 1024, /* bytes of a part, unless another size was learnt to be better */
};

/* One dimension: how many elements, and the bytes from one element to the next in each array. */
struct adma_dim {
	uint64_t count;
	int64_t dst_step, src_step;
};

/* The bytes [from, to), which include all that a copy writes, or reads. */
struct adma_extent {
	uintptr_t from, to;
};

struct adma_plan {
	uint8_t *dst;
	const uint8_t *src;
	uint64_t width;      /* bytes of a row */
	uint64_t rows;
	uint64_t bytes;      /* rows * width */
	uint64_t part_bytes; /* about how many bytes a part has */
	uint64_t parts;      /* how many parts the copy is cut into; 0 when there are no bytes */
	uint64_t rows_each;  /* rows of a part; 0: a row is one part or several */
	struct adma_extent writes, reads;
	struct adma_dim *dims; /* outermost first; the caller's memory, which planning changes */
	uint32_t ndim;
	uint8_t in_order;    /* a part may be started only when the one before it is complete */
	uint8_t backwards;   /* the parts are copied in reverse, from the highest address on */
	uint8_t staged;      /* the first `parts` / 2 parts gather into `stage`, the others scatter from it */
	uint8_t *stage;      /* `bytes` bytes, which the owner of the plan allocates and frees */
};

/* Plan n contiguous bytes. */
void adma_plan_bytes(struct adma_plan *plan, void *dst, const void *src, uint64_t n);

/*
 * Plan elements of `width` bytes in `ndim` dimensions, outermost first. `dims` must live as long
 * as the plan. -EINVAL: two elements of the destination are the same memory (a step is 0).
 * -E2BIG: more than ADMA_DIMS_MAX dimensions. -EOVERFLOW: more bytes than an int64_t counts.
 */
int adma_plan_strided(struct adma_plan *plan, void *dst, const void *src, uint64_t width, struct adma_dim *dims,
		      uint32_t ndim);

/* ---- a copy ---- */

/* An entry of a run queue (copy/schedule.h), private to the core. A zeroed one is on no list. */
struct adma_work {
	uint64_t bytes;  /* of the whole work: small work is served first */
	uint32_t assist; /* the work is a struct adma_assist, not a copy */

	/* private to the schedule */
	uint32_t run_queue; /* the one that the work is in, or was in last */
	uint32_t listed;    /* is it in there? */
	struct adma_list link;
};

enum {
	ADMA_OUTSTANDING = 256, /* how many copies are compared with each other */
	ADMA_BACKLOG_MAX = 1 << 16, /* how many copies may wait behind them */
};

enum adma_copy_state {
	ADMA_COPY_IDLE = 0,
	ADMA_COPY_WAITING = 1,
	ADMA_COPY_READY = 2,
	ADMA_COPY_RUNNING = 3,
	ADMA_COPY_DONE = 4,
};

/* When a copy reached each of its stages (figure 7 of the paper): nanoseconds of CLOCK_MONOTONIC. */
struct adma_copy_times {
	int64_t posted;   /* the post began */
	int64_t queued;   /* the post returned */
	int64_t started;  /* the first part was started */
	int64_t copied;   /* the last part was complete */
	int64_t seen;     /* a caller, or the post that made the copy, found it complete; 0: none yet */
};

/* Have callers made parts of a copy? */
enum adma_helped { ADMA_HELPED_NOT = 0, ADMA_HELPED_AT_ONCE = 1, ADMA_HELPED_LATE = 2 };

struct adma_copy {
	struct adma_hold hold; /* the first member: to the binding its address is that of the copy */

	/* filled in by the caller: adma_plan_bytes() or adma_plan_strided() */
	struct adma_plan plan;
	uint8_t tell; /* list it (adma_hold.h) if it completes after its post has returned */

	/* written by the core; readable at any time, and final once the state is DONE */
	int32_t state;   /* enum adma_copy_state */
	int32_t error;   /* 0, ECANCELED, or the errno with which it failed */
	uint64_t copied; /* how many parts are complete */
	struct adma_copy_times times;

	/* private to the core */
	struct adma_work work;
	struct adma_list link;    /* in the backlog, or in a list of an engine */
	uint64_t claimed;         /* how many parts were started */
	uint64_t arrivals;        /* how much work had been listed when it was posted */
	uint32_t queues;          /* at most so many workers make parts of it at the same time */
	uint32_t workers;         /* so many do */
	uint32_t helped;          /* enum adma_helped */
	uint32_t way;             /* how it is spread (copy/spread.h) */
	uint32_t waits;           /* its caller was expected to wait */
	uint32_t place;           /* among the outstanding copies */
	uint32_t blockers;        /* how many earlier copies it waits for */
	uint32_t fork_generation; /* of the process that posted it */
	uint32_t cookie;          /* private to an engine */
};

/* ---- copying ---- */

/*
 * Copy n bytes in this call, if no outstanding copy conflicts. Returns 0, or -EAGAIN: an earlier
 * copy touches these bytes, so the caller has to post. adma_copy_try_now() takes no lock and does
 * not wait: it returns -EBUSY if any copy is outstanding.
 */
int adma_copy_now(void *dst, const void *src, uint64_t n);
int adma_copy_try_now(void *dst, const void *src, uint64_t n);

/* Up to `at_once` bytes of the configuration? Handing such a copy over costs more than making it. */
bool adma_copy_is_small(uint64_t n);

/*
 * Hand the copy over. 0: it is outstanding, or complete already. 1: the same, but no thread will
 * copy it unless a caller waits for it (engine `caller`), so the caller should. -EAGAIN: the
 * backlog is full; call adma_copy_wait_room(). -ENOMEM: the copy needs a stage, because source and
 * destination overlap with different steps, and there is no memory for it. After an error nothing
 * was posted.
 */
int adma_copy_post(struct adma_copy *copy);

/* Plan n contiguous bytes and hand the copy over, in one call. */
int adma_copy_post_bytes(struct adma_copy *copy, void *dst, const void *src, uint64_t n);

/* Is the copy complete? If so, the caller sees the bytes that were copied. Makes no progress. */
bool adma_copy_done(const struct adma_copy *copy);

/*
 * 1: the copy is complete. 0: not yet; where only callers copy, this call has copied a part.
 * -ADMA_E_FORKED: the parent process posted it.
 */
int adma_copy_check(struct adma_copy *copy);

/*
 * 1: the copy is complete with the error ECANCELED, and none of its bytes will be touched any
 * more. 0: it was started, or is complete otherwise.
 */
int adma_copy_cancel(struct adma_copy *copy);

/* From now on an outstanding copy has `tell` set: see adma_tell(). 0; 1: it is complete already. */
int adma_copy_tell(struct adma_copy *copy);

/*
 * Wait until at least `need` of these copies are complete. Meanwhile the caller copies, if
 * callers may help: first parts of these copies, then parts of the copies that they wait for.
 * Returns 1; 0 after slice_ns, when the caller should look at signals and the clock and call
 * again; -ADMA_E_FORKED. A signal ends a sleep early, and the call returns 0.
 */
int adma_copy_wait(struct adma_copy **copies, uint64_t n, uint64_t need, int64_t slice_ns);
int adma_copy_wait_one(struct adma_copy *copy, int64_t slice_ns);

/* Wait in the same way until the backlog has room. */
int adma_copy_wait_room(int64_t slice_ns);

/*
 * A descriptor for a thread that waits for other things as well. It becomes readable when a copy
 * completes after it was armed; arming empties it. The thread opens and closes a descriptor of
 * its own. Opening returns 0 or a negated errno. Closing does nothing if opening failed.
 */
struct adma_copy_signal {
	int32_t fd;
	uint32_t armed;
	struct adma_list link;
	uint64_t device, inode; /* private: what fd named at first */
};
int adma_copy_signal_open(struct adma_copy_signal *signal);
void adma_copy_signal_arm(struct adma_copy_signal *signal);
void adma_copy_signal_close(struct adma_copy_signal *signal);

/* ---- the engine ---- */

struct adma_engine_config {
	uint32_t engine;       /* enum adma_engine_id */
	uint32_t queues;       /* copy worker threads; 0: as many as the cores of this process suggest */
	uint32_t policy;       /* enum adma_policy */
	bool callers_help;     /* threads that wait for copies make parts of copies */
	uint32_t kernel;       /* 0: the way that was measured to be fastest; else 1 + enum adma_kernel */
	uint64_t at_once;      /* a post of up to so many bytes makes the copy itself */
	bool learns;           /* how copies are spread over the workers is learnt */
};

enum adma_engine_id {
	ADMA_ENGINE_AUTO = 0,
	ADMA_ENGINE_CALLER = 1,
	ADMA_ENGINE_THREAD = 2,
	ADMA_ENGINE_DMA = 3,
	ADMA_ENGINE_COUNT = 4,
};

/* Set the configuration for the posts that follow. Does not wait: -EBUSY while copies are outstanding. -EINVAL. */
int adma_engine_configure(const struct adma_engine_config *config);

struct adma_engine_state {
	uint32_t chosen;      /* enum adma_engine_id: the engine that AUTO stands for here */
	uint32_t running;     /* how many copy worker threads run; 0: it was not started, or has none */
	uint32_t queues;      /* how many would be started */
	int32_t refused;      /* the errno of the chosen engine's start, if it failed; `caller` is in use */
	struct adma_engine_config config;
};
void adma_engine_look(struct adma_engine_state *state);

/* 0, or the errno that tells why this engine cannot be used here. */
int adma_engine_probe(uint32_t engine);

/*
 * The caller has configured the engine, and will call adma_engine_end(). From now on its workers may
 * also assist channels (copy/assist.h), and the engine may be started for that.
 */
void adma_engine_may_assist(void);

/* Make the outstanding copies, for at most slice_ns. Returns 1 when none is left. */
int adma_engine_drain(int64_t slice_ns);

/*
 * End the workers for good. From now on only callers copy, including what is outstanding. -EBUSY:
 * the engine cannot leave its outstanding copies to callers, so drain first.
 */
int adma_engine_end(void);

/* End the workers. They are started again when they are needed. -EBUSY while copies are outstanding: drain first. */
int adma_engine_stop(void);

/* How long ADMA_PART_BYTES took in each way, of the copies of one class of size (copy/schedule.h). */
struct adma_engine_kernels {
	uint32_t ways, best;
	uint32_t taken[4];     /* how many parts were measured, by enum adma_kernel */
	uint32_t median_ns[4]; /* of the latest ones */
};
void adma_engine_kernels(uint32_t class, struct adma_engine_kernels *found);

/* A way of spreading copies of a size class over workers, and what is known of it. */
struct adma_spread {
	uint32_t size_class; /* see adma_learnt_size() */
	uint32_t waits;      /* their callers waited from the beginning, and made parts; 0: only workers did */
	uint32_t queues;     /* at most so many workers made parts at the same time */
	uint32_t size;       /* of a part. 0: ADMA_PART_BYTES; 1: a part for each copier */
	uint32_t chosen;     /* it is the way that such copies take, but for tries */
	uint32_t samples;    /* of this process */
	uint64_t part_bytes;
	uint64_t ns_per_mib; /* nanoseconds for each MiB, from the post on */
};

/* What was learnt. Returns how many ways there are, of which `room` are stored. */
int adma_engine_learnt(struct adma_spread *found, int room);

/* Take one up, of another process. It has no effect on a size class of which there were copies. 0; -EINVAL. */
int adma_engine_take_up(const struct adma_spread *spread);

struct adma_engine_stats {
	uint64_t copies, bytes;      /* that completed without an error */
	uint64_t at_once;            /* copies that their post made */
	uint64_t cancelled, failed;
	uint64_t parts_queues;       /* parts that copy worker threads made */
	uint64_t parts_callers;      /* parts that waiting callers made */
	uint64_t held_back;          /* copies that had to wait for earlier ones */
	uint64_t copies_device, bytes_device; /* those of `copies` and `bytes` that DMA channels made */
	uint64_t refused_device;     /* copies that the device refused: workers and callers made them */
	uint64_t wakes, sleeps;      /* of the engine's threads */
	uint64_t outstanding, in_line; /* copies that are not complete; of these: in the backlog */
	int64_t post_ns, start_ns, copy_ns, complete_ns; /* sums: figure 7 */
};
void adma_engine_get_stats(struct adma_engine_stats *stats);

#endif
