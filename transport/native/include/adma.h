/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma.h - the C core's contract with whoever binds it.
 *
 * A channel (struct adma_chan) is built from what a finished handshake left:
 * the socket, the peer's pidfd and identity, both halves, and which
 * mechanisms work in which direction. Requests (struct adma_req) belong to the
 * caller and stay linked into the channel from a successful post until their
 * `state` is ADMA_DONE_STATE; the buffers they name stay untouched by the
 * caller for as long.
 *
 * Results are >= 0, or a negated errno, or a negated code of enum adma_error
 * for what errno has no word for. A NULL channel is a closed one. Every
 * function may be called from any thread; nothing here calls Python, installs
 * a handler or blocks a signal beyond its own call. No function but
 * adma_sleep() and adma_chan_close() ever blocks; adma_chan_abandon() and adma_chan_free() wait
 * for a chunk that a thread of this process is at.
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
	ADMA_E_CLOSED = 1001,   /* the peer closed in order; nothing more comes */
	ADMA_E_DIED = 1002,     /* the peer is gone without a close */
	ADMA_E_TOOLONG = 1003,  /* the read is too short; `needed` tells; message stays */
	ADMA_E_KIND = 1004,     /* the message is of another kind; it stays */
	ADMA_E_CANCELLED = 1005,
	ADMA_E_PROTOCOL = 1006, /* the peer broke the protocol; the channel is done */
	ADMA_E_CLOSED_HERE = 1007, /* this end was closed */
	ADMA_E_FORKED = 1008,   /* this is a forked child's copy */
	ADMA_E_FULL = 1009,     /* too many requests outstanding */
	ADMA_E_NO_MECHANISM = 1010, /* nothing can carry this message (any more) */
	ADMA_E_PENDING = 1011,  /* not now: post it and wait */
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
	ADMA_NEED_STATE = 4,    /* an open read met a message: supply a buffer */
	ADMA_DONE_STATE = 5,
};

/* How long the kernel helper's stages took, in nanoseconds: as it told, if it did. */
struct adma_req_kernel {
	int64_t post_ns; /* in the post, without pinning */
	int64_t pin_ns;  /* pinning this end's pages */
	int64_t start_ns, copy_ns, complete_ns;
	bool told;
};

/*
 * When a request came to each of its stages: nanoseconds of CLOCK_MONOTONIC, 0: not, or not seen from
 * this end. Not of blocking calls, which have nobody to ask. The paper's figure 7.
 */
struct adma_req_times {
	int64_t posted;
	int64_t published; /* a write: in the ring, or the kernel's line; a read: in its queue */
	int64_t matched;
	int64_t started;   /* this end began to copy */
	int64_t ended;
	int64_t seen;      /* its caller took note */
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
	uint8_t held;        /* done, but a stopped peer may still touch the buffer: keep it for ever */
};

enum adma_req_flags {
	ADMA_REQ_OPEN = 1,     /* read: stop at the match and ask for a buffer (NEED) */
	ADMA_REQ_SLOT = 2,     /* write: take a slot whatever the size (cancellable) */
	ADMA_REQ_BLOCKING = 4, /* may exceed ADMA_PENDING_MAX: its thread waits for it */
	ADMA_REQ_DROPPED = 8,  /* nobody will look: do not count it as unobserved */
	ADMA_REQ_LONG = 16,    /* the core's own: counted in long_reads */
	ADMA_REQ_SHORT = 32,   /* and in short_reads */
};

/* ---- life ---- */

/* 0 and *out, or a negated errno. The config's descriptors and maps are taken over on success only. */
int adma_chan_new(const struct adma_config *config, struct adma_chan **out);

/*
 * Close in order: withdraw what is unmatched, let no more chunks be claimed,
 * wake and fail every waiter, then wait at most timeout_ns until every slot is
 * quiet. 0: closed, descriptors and maps are gone. -EAGAIN: a peer still holds
 * a chunk; call again, or give up with adma_chan_abandon(). Idempotent.
 */
int adma_chan_close(struct adma_chan *chan, int64_t timeout_ns);

/*
 * Give up on a peer that keeps chunks: requests whose buffers it may still
 * touch are done with `held` set. The bytes held.
 */
uint64_t adma_chan_abandon(struct adma_chan *chan);

/* Free a closed (or forked) channel; closes first, without waiting, if need be. */
void adma_chan_free(struct adma_chan *chan);

/* ---- one call for small messages ---- */

/*
 * Publish a message of kind ADMA_BYTES that fits inline or eager, at once.
 * 0, -ADMA_E_PENDING (too large, forced, ring full or others queued before
 * it: nothing was done, post it), or why the channel is over.
 */
int adma_write_now(struct adma_chan *chan, const void *p, uint64_t n);

/*
 * Take a message of kind ADMA_BYTES that came inline or eager, spinning for
 * up to spin_ns (< 0: the channel's own measure). Its length, or
 * -ADMA_E_PENDING (nothing was done: post), -ADMA_E_TOOLONG and
 * -ADMA_E_KIND (see adma_needed()), or why the channel is over.
 */
int64_t adma_read_now(struct adma_chan *chan, void *p, uint64_t n, int64_t spin_ns);

/*
 * The result again of this thread's last adma_write_now() or adma_read_now(),
 * for a caller that was interrupted before it could take it; -ADMA_E_PENDING
 * when that was not the one on `chan` and `p`. And for TOOLONG the bytes needed.
 */
int64_t adma_last(const struct adma_chan *chan, const void *p);
uint64_t adma_needed(void);

/* ---- requests ---- */

/* Post `n` requests in order, all or none. 0; -ADMA_E_FULL; or why the channel is over. */
int adma_post(struct adma_chan *chan, struct adma_req **reqs, int n);

int adma_post_one(struct adma_chan *chan, struct adma_req *req);

/*
 * Post one request for [p, p + n) and drive it for a moment, in one call: for
 * blocking calls, whose kind, is_read and flags are set before. The bytes of
 * the message when done; -ADMA_E_PENDING: posted, wait for it; -ADMA_E_BULK
 * and other errors of adma_post(): not posted (state IDLE); or its error.
 */
int64_t adma_run(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/* NEED: hand over the buffer and go on. 0 or -EINVAL. */
int adma_supply(struct adma_chan *chan, struct adma_req *req, void *p, uint64_t n);

/* 1: nothing of it will happen any more (done, error ADMA_E_CANCELLED); 0: too late. */
int adma_cancel(struct adma_chan *chan, struct adma_req *req);

/* Bring `state` and `done_bytes` of a pending request up to date, where that takes a system call. */
void adma_refresh(struct adma_chan *chan, struct adma_req *req);

/* Ask the kernel helper for its part of the times of a request that is done. It may have forgotten them. */
void adma_tell_times(struct adma_chan *chan, struct adma_req *req);

/*
 * How long each stage took, from `times`; 0 where a stage was skipped. Where the kernel helper told, its
 * stages, the call of its post among them; match_ns is then what is left until the end was seen here.
 */
struct adma_req_split {
	int64_t post_ns;     /* until it was published */
	int64_t match_ns;    /* from there until it was matched */
	int64_t pin_ns;      /* pinning this end's pages, if the kernel helper told */
	int64_t start_ns;    /* from there until this end began to copy, if it did */
	int64_t copy_ns;     /* from there to the end */
	int64_t complete_ns; /* from there until its caller took note */
};
void adma_split(const struct adma_req *req, struct adma_req_split *split);

/* The caller has seen that it is done (fileno() counts the unobserved). */
void adma_observe(struct adma_chan *chan, struct adma_req *req);

/* ---- progress and waiting ---- */

enum adma_drive_result {
	ADMA_READY = 0,  /* `need` requests are done (or in NEED); or a message waits */
	ADMA_BUSY = 1,   /* the budget is spent, there is more to do: call again */
	ADMA_QUIET = 2,  /* nothing to do for now: sleep */
};

/* What a caller waits for: `need` of `nreqs` requests, or with nreqs 0 a message on chans[0]. */
struct adma_wait {
	struct adma_chan **chans;
	struct adma_req **reqs;
	int32_t nchans;
	int32_t nreqs;
	int32_t need;
	int32_t also; /* a descriptor that ends a sleep when it is readable, or -1 */
};

/*
 * Make progress until ADMA_READY, at most budget_ns of copying, spinning up
 * to spin_ns (< 0: own measure; 0: look once) when there is nothing to do.
 */
int adma_drive(const struct adma_wait *wait, int64_t spin_ns, int64_t budget_ns);

/*
 * Arm, look again, sleep until something happens on any of the channels, at
 * most timeout_ns (< 0: no limit). Returns 0 (call adma_drive() again),
 * -ETIMEDOUT, or -EINTR. `mask`: the signal mask to sleep under, or NULL.
 */
int adma_sleep(const struct adma_wait *wait, int64_t timeout_ns, const sigset_t *mask);

/*
 * The caller of adma_drive() with ADMA_BUSY or ADMA_QUIET, or of adma_sleep(), comes back, and
 * until then nobody else copies for these channels. It came to an end without that: by an
 * exception, say. (Not needed after ADMA_READY, or with spin_ns 0.)
 */
void adma_give_up(const struct adma_wait *wait);

/* The same for one request, or with NULL for a message, of one channel. */
int adma_drive_one(struct adma_chan *chan, struct adma_req *req, int64_t spin_ns, int64_t budget_ns);
int adma_sleep_one(struct adma_chan *chan, struct adma_req *req, int64_t timeout_ns, const sigset_t *mask);
void adma_give_up_one(struct adma_chan *chan);

/*
 * Block all signals that do not come from a fault of our own; the old mask in
 * *old. And back. (A caller that has to answer signals blocks them, looks
 * whether one came, and sleeps under the old mask.)
 */
void adma_signals_block(sigset_t *old);
void adma_signals_restore(const sigset_t *old);

/* How many tasks this process has, the progress thread left out: with one, no other can be handed our signal. */
int adma_task_count(void);

/* ---- looking ---- */

struct adma_message {
	int32_t present;
	uint32_t kind;    /* enum adma_kind */
	uint64_t nbytes;  /* parts included */
};

/* The first message in line, after one round of progress. 0, or why none will ever come. */
int adma_peek(struct adma_chan *chan, struct adma_message *message);

/* True when both ends sit in a blocking write of a large message that the other does not read. */
bool adma_deadlocked(struct adma_chan *chan);
/* Count this end in (+1) or out (-1) of a blocking write of a large message. */
void adma_blocked(struct adma_chan *chan, int delta);

/* A descriptor to poll: readable while a completion is unobserved, a message waits or the peer is gone. */
int adma_fileno(struct adma_chan *chan);

/* 0 while usable, or why not (negative), without a system call. */
int adma_health(struct adma_chan *chan);

/* ---- choice ---- */

/* Does the next large write of n bytes want a bulk segment, and is there none yet? */
bool adma_wants_bulk(struct adma_chan *chan, uint64_t n);

/* The segment, ADMA_BULK_SIZE bytes; the fd is duplicated as needed and stays the caller's. 0 or negated errno. */
int adma_give_bulk(struct adma_chan *chan, int fd);

/* The bulk segment could not be made: `shared` carries no more writes of ours. */
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
	uint64_t writes, reads;              /* messages through */
	uint64_t bytes_out, bytes_in;
	uint64_t inlined, eager, rendezvous; /* messages written, by carry */
	uint64_t mechanism[16];              /* transfers, either direction, by enum adma_mechanism_id */
	uint64_t chunks_copied;              /* chunks this end copied */
	uint64_t chunks_peer;                /* chunks the peer copied */
	uint64_t chunks_mover;               /* of chunks_copied: by the progress thread (mover.h) */
	uint64_t chunks_queues;              /* and by queues of the engine that helped it */
	uint64_t wakes_sent, sleeps;
	uint64_t pending_reads, pending_writes;
	/* Sums over requests that were not of blocking calls and ended well, nanoseconds: figure 7. */
	uint64_t timed;                      /* how many */
	int64_t post_ns, match_ns, start_ns, copy_ns, complete_ns;
};
void adma_get_stats(struct adma_chan *chan, struct adma_stats *stats);

/*
 * The progress thread of this process, which copies for requests that nobody waits for. There is
 * none before the first of them, nor when the channels that had any are closed.
 */
struct adma_progress_stats {
	uint64_t wakeups;  /* times it was woken, or woke for a moment that had come */
	uint64_t starts;
	uint64_t failures; /* times it, or what it needs for a channel, could not be had */
	int32_t error;     /* errno of the last of these */
	int32_t running;
	uint32_t channels; /* that it may have to look after */
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
