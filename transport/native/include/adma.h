/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma.h - channels: the contract of the C core with whoever binds it.
 *
 * A channel (struct adma_chan) is built from what a finished handshake left: the socket, the
 * peer's pidfd and identity, the segments of both endpoints, and which mechanisms work in which
 * direction. Requests (struct adma_req) belong to the caller. They stay linked into the channel
 * from a successful post until their `state` is ADMA_DONE_STATE, and until then the caller does not
 * touch the buffers that they name.
 *
 * Results are >= 0, or a negated errno, or a negated code of enum adma_error for what errno has no
 * word for. A NULL channel is a closed one. Every function may be called from any thread. Nothing
 * here calls Python, installs a handler, or blocks a signal beyond its own call. Only adma_sleep()
 * and adma_chan_close() block; adma_chan_abandon() and adma_chan_free() wait for a chunk that a
 * thread of this process is copying.
 *
 * A query makes no progress, and no system call unless its comment says so.
 */
#ifndef ADMA_H
#define ADMA_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct adma_segment;
struct adma_chan;
struct adma_mechanism;

/* A member or the head of a list of the core (base/list.h). */
struct adma_list {
	struct adma_list *next, *prev;
};

enum adma_error {
	ADMA_E_CLOSED = 1001,   /* the peer closed the channel in order; nothing more comes */
	ADMA_E_DIED = 1002,     /* the peer is gone without a close */
	ADMA_E_TOOLONG = 1003,  /* the read is too short, and `needed` tells what it needs; the message stays */
	ADMA_E_KIND = 1004,     /* the message is of another kind; it stays */
	ADMA_E_CANCELLED = 1005,
	ADMA_E_PROTOCOL = 1006, /* the peer broke the protocol; the channel is over */
	ADMA_E_CLOSED_HERE = 1007, /* this endpoint was closed */
	ADMA_E_FORKED = 1008,   /* this is the copy of a forked child */
	ADMA_E_FULL = 1009,     /* too many requests outstanding */
	ADMA_E_NO_MECHANISM = 1010, /* nothing can carry this message (any more) */
	ADMA_E_PENDING = 1011,  /* not at once: post it and wait */
	ADMA_E_BULK = 1012,     /* give the channel a bulk segment first */
};

enum adma_mechanism_id {
	ADMA_MECH_NONE = 0,
	ADMA_MECH_SHARED = 1,
	ADMA_MECH_CMA = 2,
	ADMA_MECH_TCP = 3,
	ADMA_MECH_DMA = 4,    /* the kernel helper's, by DMA channels */
	ADMA_MECH_HELPER = 5, /* the kernel helper's mapped copy */
	ADMA_MECH_COUNT = 6,  /* those that adma brings along */
	ADMA_MECH_MAX = 16,   /* and others that are registered: adma_mechanism_register() */
};
#define ADMA_MECH_BIT(id) (1u << (id))

enum adma_limits {
	ADMA_PENDING_MAX = 1024,  /* requests outstanding, per direction */
	ADMA_NONCE_BYTES = 16,
};

/* What a handshake hands over. The channel owns the descriptors afterwards. */
struct adma_config {
	int sock;                  /* the connected AF_UNIX socket */
	int pidfd;                 /* the peer's, or -1: its death is seen by the socket alone */
	int32_t pid;               /* the peer, in our pid namespace; 0 unknown */
	struct adma_segment *local; /* mapped; unmapped by adma_chan_close() */
	struct adma_segment *remote;
	uint64_t nonce_address;    /* of the nonce in the peer's memory */
	uint8_t nonce[ADMA_NONCE_BYTES];
	uint32_t out_mask;         /* mechanisms that carry our writes */
	uint32_t in_mask;          /* mechanisms that carry our reads */
	uint32_t forced;           /* enum adma_mechanism_id, or 0 for auto */
	bool same_user;            /* both processes belong to one user */
	uint32_t copiers;          /* enum adma_copier mask: who may copy chunks of ours */
	uint64_t single_copy_from; /* auto: bytes from which one copy in the kernel beats two in user space */
	uint64_t single_copy_from_waiting; /* the same while both endpoints wait and there are cores for both */
	/* By enum adma_mechanism_id: the descriptor that the mechanism's probe leaves to the channel, or -1,
	 * and what the probe found out, in bits of the mechanism's own. */
	int mech_fd[ADMA_MECH_MAX];
	uint32_t mech_found[ADMA_MECH_MAX];
};

/* mech_found of ADMA_MECH_CMA. */
enum adma_cma_found {
	ADMA_CMA_PULL = 1, /* process_vm_readv on the peer works */
	ADMA_CMA_PUSH = 2, /* process_vm_writev on the peer works */
};

enum adma_copier { ADMA_COPY_AS_READER = 1, ADMA_COPY_AS_WRITER = 2 };

enum adma_req_state {
	ADMA_IDLE_STATE = 0,
	ADMA_QUEUED_STATE = 1,  /* a write not yet in the ring, or a read not yet matched */
	ADMA_POSTED_STATE = 2,  /* a write in the ring, not yet matched */
	ADMA_MATCHED_STATE = 3, /* being copied */
	ADMA_NEED_STATE = 4,    /* an open read met a message: its caller has to supply a buffer */
	ADMA_DONE_STATE = 5,
};

/* How long the stages of the kernel helper took, in nanoseconds, if it told. */
struct adma_req_kernel {
	int64_t post_ns; /* in the post, without pinning */
	int64_t pin_ns;  /* pinning the pages of this endpoint */
	int64_t start_ns, copy_ns, complete_ns;
	bool told;
};

/*
 * When a request came to each of its stages: nanoseconds of CLOCK_MONOTONIC. 0: it did not, or that
 * cannot be seen from this endpoint. Blocking calls are not timed, since nobody can ask. (The paper, figure 7.)
 */
struct adma_req_times {
	int64_t posted;
	int64_t published; /* a write: in the ring, or the kernel's FIFO; a read: in its queue */
	int64_t matched;
	int64_t started;   /* this endpoint began to copy */
	int64_t ended;
	int64_t seen;      /* its caller saw that it is complete */
	struct adma_req_kernel kernel;
};

struct adma_req {
	/* filled by the caller */
	void *address;
	uint64_t length;
	uint64_t total;      /* writes: see struct adma_desc */
	uint32_t parts;      /* writes: see struct adma_desc */
	uint16_t kind;       /* enum adma_kind wanted or written */
	uint8_t is_read;
	uint8_t flags;       /* enum adma_req_flags */
	uint64_t limit;      /* open reads: longest message accepted */

	/* filled by the core; readable at any time, final once state is DONE */
	int32_t state;       /* enum adma_req_state */
	int32_t error;       /* 0, errno or enum adma_error (positive) */
	uint64_t done_bytes; /* bytes of the message when done; an estimate before */
	uint64_t needed;     /* TOOLONG and NEED: bytes (total, parts included) */
	uint64_t need_length;/* NEED: bytes of this message alone */
	uint32_t need_parts; /* NEED: parts that follow */
	uint32_t mechanism;  /* enum adma_mechanism_id, 0: inline or eager */
	struct adma_req_times times;

	/* the core's own */
	struct adma_list link;
	struct adma_transfer *transfer;
	uint32_t slot_index; /* or the index of the helper's completion entry */
	uint32_t slot_gen;
	uint64_t key;        /* the helper's: that of a part, or of an object's first part */
	uint8_t observed;
	uint8_t held;        /* it is done, but a stopped peer may still touch the buffer: keep that for ever */
};

enum adma_req_flags {
	ADMA_REQ_OPEN = 1,     /* read: stop at the match and ask for a buffer (NEED) */
	ADMA_REQ_SLOT = 2,     /* write: take a slot whatever the size (cancellable) */
	ADMA_REQ_BLOCKING = 4, /* a blocking call waits for it: it may exceed ADMA_PENDING_MAX */
	ADMA_REQ_DROPPED = 8,  /* nobody will look at it: it is not counted as unobserved */
	ADMA_REQ_LONG = 16,    /* the core's own: it is counted in long_reads */
	ADMA_REQ_SHORT = 32,   /* the core's own: it is counted in short_reads */
};

/* ---- life ---- */

/* 0 and *out, or a negated errno. The config's descriptors and maps are taken over on success only. */
int adma_chan_new(const struct adma_config *config, struct adma_chan **out);

/*
 * Close in order: withdraw what is unmatched, let no more chunks be claimed, wake every waiter,
 * whose wait fails, and then wait for at most timeout_ns until every slot is quiet. 0: the channel
 * is closed, and its descriptors and maps are gone. -EAGAIN: the peer still copies a chunk; call
 * again, or give up with adma_chan_abandon(). Closing twice does nothing more.
 */
int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns);

/*
 * Give up on a peer that does not end its chunks. Requests whose buffers the peer may still touch are
 * completed with `held` set. Returns how many bytes these buffers have.
 */
uint64_t adma_chan_abandon(struct adma_chan *chan);

/* Free a channel. One that is still open is closed first, without waiting. */
void adma_chan_free(struct adma_chan *chan);

/* ---- one call for small messages ---- */

/*
 * Publish at once a message of kind ADMA_BYTES that travels inline or eagerly. 0; -ADMA_E_PENDING:
 * it is too large, a mechanism is forced, the ring is full, or other writes are queued before it, and
 * nothing was done: post it; or why the channel is over.
 */
int adma_write_now(struct adma_chan *chan, const void *p, uint64_t n);

/*
 * Take a message of kind ADMA_BYTES that came inline or eagerly, and spin for up to spin_ns until it
 * comes (< 0: by the channel's own measure). Its length; -ADMA_E_PENDING: nothing was done, so post a
 * read; -ADMA_E_TOOLONG (see adma_needed()); -ADMA_E_KIND; or why the channel is over.
 */
int64_t adma_read_now(struct adma_chan *chan, void *p, uint64_t n, int64_t spin_ns);

/*
 * The result of this thread's last adma_write_now() or adma_read_now() once more, for a caller that
 * was interrupted before it could take the result. -ADMA_E_PENDING: the last call was not one on
 * `chan` and `p`. adma_needed(): after -ADMA_E_TOOLONG, how many bytes the read has to have.
 */
int64_t adma_last(const struct adma_chan *chan, const void *p);
uint64_t adma_needed(void);

/* ---- requests ---- */

/* Post `n` requests in order, all or none. 0; -ADMA_E_FULL; or why the channel is over. */
int adma_post(struct adma_chan *chan, struct adma_req **reqs, int n);

int adma_post_one(struct adma_chan *chan, struct adma_req *req);

/*
 * Post one request for [p, p + n) and drive it for a moment, in one call. This is for blocking calls;
 * kind, is_read and flags have been set before. Returns the bytes of the message when it is done;
 * -ADMA_E_PENDING: it is posted, wait for it; -ADMA_E_BULK and other errors of adma_post(): it was not
 * posted (its state is IDLE); or the error of the request.
 */
int64_t adma_run(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/* State NEED: here is the buffer, go on. 0 or -EINVAL. */
int adma_supply(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/* 1: nothing of it will happen any more (it is done, with error ADMA_E_CANCELLED); 0: that came too late. */
int adma_cancel(struct adma_chan *chan, struct adma_req *req);

/* Bring `state` and `done_bytes` of a pending request up to date where that takes a system call, which is made. */
void adma_refresh(struct adma_chan *chan, struct adma_req *req);

/* Ask the kernel helper, by a system call, for its part of the times of a request that is done. It may have forgotten them. */
void adma_tell_times(struct adma_chan *chan, struct adma_req *req);

/*
 * How long each stage took, by `times`; 0 where a stage was skipped. Where the kernel helper told, these
 * are its stages, with the call of its post; match_ns is then what is left until the end was seen here.
 */
struct adma_req_split {
	int64_t post_ns;     /* until it was published */
	int64_t match_ns;    /* from there until it was matched */
	int64_t pin_ns;      /* pinning the pages of this endpoint, if the kernel helper told */
	int64_t start_ns;    /* from there until this endpoint began to copy, if it did */
	int64_t copy_ns;     /* from there to the end */
	int64_t complete_ns; /* from there until its caller saw it */
};
void adma_split(const struct adma_req *req, struct adma_req_split *split);

/* The caller has seen that it is done, or will never look. (fileno() counts requests that are done and unobserved.) */
void adma_observe(struct adma_chan *chan, struct adma_req *req);

/* ---- progress and waiting ---- */

enum adma_drive_result {
	ADMA_READY = 0,  /* `need` requests are done (or in NEED); or a message waits */
	ADMA_BUSY = 1,   /* the budget is spent, and there is more to do: call again */
	ADMA_QUIET = 2,  /* nothing to do for now: sleep */
};

/* What a caller waits for: `need` of `nreqs` requests; or, with nreqs 0, a message on chans[0]. */
struct adma_wait {
	struct adma_chan **chans;
	struct adma_req **reqs;
	int32_t nchans;
	int32_t nreqs;
	int32_t need;
	int32_t also; /* a descriptor that ends a sleep when it is readable, or -1 */
};

/*
 * Make progress until ADMA_READY, for at most budget_ns of copying. When there is nothing to do, spin for
 * up to spin_ns (< 0: by the channel's own measure; 0: look once). enum adma_drive_result, or why no channel
 * can be used.
 */
int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns);

/*
 * Arm, look again, and sleep until something happens on any of the channels, for at most timeout_ns
 * (< 0: no limit). Returns 0 (call adma_drive() again), -ETIMEDOUT or -EINTR. `mask`: the signal mask to
 * sleep under, or NULL.
 */
int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask);

/*
 * A caller to which adma_drive() returned ADMA_BUSY or ADMA_QUIET, or which called adma_sleep(), is
 * expected to come back, and until then nobody else copies for these channels. This says that it does not,
 * because of an exception, for example. (It is not needed after ADMA_READY, or with spin_ns 0.)
 */
void adma_give_up(const struct adma_wait *wait);

/* The same for one request, or with NULL for a message, of one channel. */
int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns);
int adma_sleep_one(struct adma_chan *chan, struct adma_req *req, int64_t timeout_ns, const sigset_t *mask);
void adma_give_up_one(struct adma_chan *chan);

/*
 * Block all signals but those of faults of the thread itself, and store the old mask in *old; and restore
 * it. (A caller that has to answer signals blocks them, looks whether one came, and sleeps under the old mask.)
 */
void adma_signals_block(sigset_t *old);
void adma_signals_restore(const sigset_t *old);

/*
 * How many threads this process has, without the progress thread: with one, no other thread can be handed
 * its signals. A system call.
 */
int adma_task_count(void);

/* ---- looking ---- */

struct adma_message {
	int32_t present;
	uint32_t kind;    /* enum adma_kind */
	uint64_t nbytes;  /* parts included */
};

/* The next message, after one round of progress, which may make system calls. 0, or why none will ever come. */
int adma_peek(struct adma_chan *chan, struct adma_message *message);

/*
 * True when both endpoints sit in a blocking write of a large message that the other one does not read. With
 * the kernel helper, a system call.
 */
bool adma_deadlocked(struct adma_chan *chan);
/* A thread of this endpoint begins (+1) or ends (-1) a blocking write of a large message. */
void adma_blocked(struct adma_chan *chan, int delta);

/*
 * A descriptor to poll: it is readable while a completed request is unobserved, a message waits, or the peer
 * is gone. The first call makes it.
 */
int adma_fileno(struct adma_chan *chan);

/* 0 while the channel can be used, or why it cannot (negative). */
int adma_health(struct adma_chan *chan);

/* ---- selection: queries, which may look at the load of the machine ---- */

/* Would a write of n bytes travel by a mechanism that needs a bulk segment, and is there none yet? */
bool adma_wants_bulk(struct adma_chan *chan, uint64_t n);

/* Here is the segment, of adma_bulk_size() bytes. The descriptor is duplicated and stays the caller's. 0 or a negated errno. */
int adma_give_bulk(struct adma_chan *chan, int fd);

/* The bulk segment could not be made: the mechanism that needs it carries no more writes of ours. */
void adma_no_bulk(struct adma_chan *chan, int err);

/* How a write of n bytes would travel: enum adma_carry | enum adma_mechanism_id << 8; negative: not at all. */
int adma_choose(struct adma_chan *chan, uint64_t n);

/* Why a mechanism would carry a message of this size, or why it would not. */
enum adma_reason {
	ADMA_REASON_NONE = 0,
	/* It would: */
	ADMA_REASON_FORCED = 1,             /* it was asked for */
	ADMA_REASON_SINGLE_COPY = 2,        /* it is long: one copy costs less than two */
	ADMA_REASON_ONLY_SINGLE_COPY = 3,   /* two copies would be quicker, but no mechanism that makes two works */
	ADMA_REASON_TWO_COPIES_SHORT = 4,   /* it is short: two copies in user space beat one in the kernel */
	ADMA_REASON_TWO_COPIES_WAITING = 5, /* both endpoints wait, and there are cores for both */
	ADMA_REASON_ONLY_TWO_COPIES = 6,    /* one copy would cost less, but no mechanism that makes one works */
	ADMA_REASON_LAST = 7,               /* nothing better works */
	/* It would not: */
	ADMA_REASON_WITHDRAWN = 8,          /* it failed in mid-life; `error` tells why */
	ADMA_REASON_UNAVAILABLE = 9,        /* the handshake found that it does not work */
	ADMA_REASON_OTHER_FORCED = 10,      /* another one was asked for */
	ADMA_REASON_NOT_NEEDED = 11,        /* the message travels inline or eagerly */
	ADMA_REASON_SLOW = 12,              /* it is for those who ask for it, or have nothing else */
	ADMA_REASON_TWO_COPIES_MORE = 13,   /* it copies twice */
	ADMA_REASON_SLOWER_WAITING = 14,    /* it copies once; while both endpoints wait, two copies are quicker */
	ADMA_REASON_SLOWER_SHORT = 15,      /* it makes a system call for each chunk, which is short */
};

struct adma_candidate {
	uint32_t mechanism; /* enum adma_mechanism_id */
	uint32_t reason;    /* enum adma_reason */
	int32_t error;      /* errno, where there is one */
};

/*
 * How each mechanism stands to a write of n bytes, the one that would carry it first, if one would.
 * `found` has room for ADMA_MECH_MAX. Returns how many there are, or why the channel is over.
 */
int adma_candidates(struct adma_chan *chan, uint64_t n, struct adma_candidate *found);

/*
 * Add a mechanism that adma does not bring along: its id is ADMA_MECH_COUNT or more. It stays for the
 * life of the process. 0; -EEXIST: the id is taken; -EINVAL: the id is out of range, or an operation is missing.
 */
int adma_mechanism_register(const struct adma_mechanism *mechanism);

/* The name of a mechanism, or NULL: there is none of this id. */
const char *adma_mechanism_name(uint32_t id);

/* Mechanisms that failed in mid-life and are withdrawn: mask; errno of each in errs[ADMA_MECH_MAX]. */
uint32_t adma_withdrawn(struct adma_chan *chan, int32_t *errs);

struct adma_stats {
	uint64_t writes, reads;              /* messages that were carried */
	uint64_t bytes_out, bytes_in;
	uint64_t inlined, eager, rendezvous; /* messages written, by carry */
	uint64_t mechanism[16];              /* transfers, either direction, by enum adma_mechanism_id */
	uint64_t chunks_copied;              /* chunks that this endpoint copied */
	uint64_t chunks_peer;                /* chunks that the peer copied */
	uint64_t chunks_mover;               /* of chunks_copied: by the progress thread */
	uint64_t chunks_queues;              /* and by copy worker threads that assisted it */
	uint64_t wakes_sent, sleeps;
	uint64_t pending_reads, pending_writes;
	/* Sums in nanoseconds over requests that ended well and were not those of blocking calls: figure 7. */
	uint64_t timed;                      /* how many */
	int64_t post_ns, match_ns, start_ns, copy_ns, complete_ns;
};
void adma_get_stats(struct adma_chan *chan, struct adma_stats *stats);

/*
 * The progress thread of this process, which makes progress on requests that nobody waits for. It exists from
 * the first of them until the channels that had any are closed.
 */
struct adma_progress_stats {
	uint64_t wakeups;  /* times that it woke, for an event or because a time had come */
	uint64_t starts;
	uint64_t failures; /* times that it could not be started, or lacked what it needs for a channel */
	int32_t error;     /* errno of the last of these */
	int32_t running;
	uint32_t channels; /* that were delegated to it so far, and are open */
};
void adma_get_progress_stats(struct adma_progress_stats *stats);

/* ---- constants and self-knowledge ---- */

uint64_t adma_segment_size(void);
void adma_segment_init(struct adma_segment *segment);
uint64_t adma_bulk_size(void);
uint64_t adma_eager_max(void);
uint64_t adma_inline_max(void);
int64_t adma_spin_max_ns(void); /* a waiter spins at most this long before it sleeps */
bool adma_faults_built(void);

#endif
