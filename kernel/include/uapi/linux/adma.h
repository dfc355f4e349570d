/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * adma.h - what /dev/adma offers to user space.
 *
 * The helper copies messages between the memory of two processes, once, while
 * both may do other work: each endpoint posts a request, the kernel matches
 * the two and pins both buffers, and a DMA engine or a kernel worker copies.
 *
 * File descriptors. An open /dev/adma is for copies within a process (open()
 * fails with EDQUOT at opens_max, a module parameter, or with ENOMEM).
 * ADMA_IOC_PAIR makes a connected pair of file descriptors, the two endpoints
 * of a connection; one of them is passed to the peer over a socket. To hold a
 * file descriptor is the permission: there are no ids, and no ptrace rights
 * are needed. Whoever holds one may post. What is posted is always the
 * poster's own memory, and it is charged to the poster's user. So a forked
 * child, or a third process that was given the file descriptor, may use it
 * like any other. Limits of a user are also limits of the owner of the user's
 * namespace: all users of one owner have together what a few users may have.
 *
 * Requests. A post names a completion entry and a generation, together the
 * cookie. The entry is {generation, ADMA_PENDING} until the request is
 * completed. Entries can be mapped read-only, so that a check is a load. Once
 * its request is completed, an entry may be named again; that acknowledges the
 * former result.
 *
 * Matching. In each direction key 0 is a FIFO: the oldest write matches the
 * oldest read. A read of another kind is completed with -EPROTOTYPE, and a
 * read that is too short with -EMSGSIZE. The entry's length is then that of
 * the write, which stays at the head of the FIFO. A longer read is fine: its
 * entry tells how many bytes came. Any other key matches exactly: one write
 * with one read that names the same key, under the same rules of kind and
 * length. Two pending reads, or two pending writes, must not name the same
 * such key (-EEXIST).
 *
 * Close. When the last copy of a file descriptor is closed, the pending
 * requests of this endpoint are withdrawn, and those of its peer are completed
 * with -EPIPE. Requests that have matched before are still copied, and their
 * results stored for whoever can still see them. But if nothing moves for
 * a second, because page faults of one side's memory are not served
 * (userfaultfd, FUSE), then these requests are completed in the same way.
 *
 * Every structure begins with its size, as the caller knows it. A structure
 * larger than the kernel's is accepted if what the kernel does not know is zero
 * (else -E2BIG), and a smaller one if it holds the first version's fields (else
 * -EINVAL). Unknown flags and non-zero padding: -EINVAL. Unknown commands:
 * -ENOTTY. A structure that cannot be read or written: -EFAULT, and nothing
 * has happened.
 */
#ifndef _UAPI_LINUX_ADMA_H
#define _UAPI_LINUX_ADMA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ADMA_ABI_VERSION 1

/* ---- properties of the module ---- */

#define ADMA_FEATURE_CPU   (1u << 0) /* the kernel-mapped copy */
#define ADMA_FEATURE_DMA   (1u << 1) /* at least one DMA channel that works */
#define ADMA_FEATURE_COPY  (1u << 2) /* ADMA_IOC_COPY */
#define ADMA_FEATURE_TIMES (1u << 3) /* ADMA_POST_TIMES */

/*
 * ADMA_IOC_INFO. Errors: EINVAL, E2BIG, EFAULT.
 */
struct adma_info {
	__u32 size;
	__u32 flags;           /* 0 */
	__u32 abi;             /* out: ADMA_ABI_VERSION */
	__u32 features;        /* out: ADMA_FEATURE_* */
	__u32 channels;        /* out: DMA channels held, retired ones included */
	__u32 retired;         /* out: DMA channels given up after a timeout */
	__u32 entries;         /* out: completion entries of a file descriptor */
	__u32 iov_max;         /* out: pieces of a post, at most */
	__u64 length_max;      /* out: bytes of a post, at most */
	__u64 window;          /* out: bytes pinned at a time for one side of a transfer */
	__u64 pin_limit;       /* out: bytes the pin cache may keep */
	__u64 dma_min;         /* out: shorter transfers are copied by the CPU */
	__u32 requests_max;    /* out: pending requests of one user */
	__u32 connections_max; /* out: pairs of one user */
};

/* States of a DMA channel. */
#define ADMA_CHANNEL_WORKS   0
#define ADMA_CHANNEL_RETIRED 1 /* timed out; takes no more work */
#define ADMA_CHANNEL_LOST    2 /* its driver, or one of a device below, was unbound */
#define ADMA_CHANNEL_FAULTY  3 /* failed its self-test when it was taken; takes no work */

/*
 * ADMA_IOC_CHANNEL: one DMA channel. Errors: ENOENT (index is not below
 * adma_info.channels), EINVAL, E2BIG, EFAULT.
 */
struct adma_channel {
	__u32 size;
	__u32 flags;    /* 0 */
	__u32 index;    /* in */
	__u32 state;    /* out: ADMA_CHANNEL_* */
	__u32 align;    /* out: bytes, to which both addresses and the length are aligned */
	__u32 pad;      /* 0 */
	__u64 bytes;    /* out: copied */
	__u64 pieces;   /* out: DMA descriptors */
	__u64 errors;   /* out */
	__u64 timeouts; /* out */
	char name[32];  /* out: as in /sys/class/dma */
	char driver[32]; /* out */
};

/* Why DMA channels of a device were not taken. */
#define ADMA_REFUSED_SILENT 1 /* its driver is not known to report errors */
#define ADMA_REFUSED_ALIGN  2 /* its copies have to be aligned to more than a page */

/*
 * ADMA_IOC_REFUSED: one device whose DMA channels can copy memory, and that was not used when the
 * DMA channels were taken, that is at the first open. Errors: ENOENT (there are not so many),
 * EINVAL, E2BIG, EFAULT; ENOTTY: an older module, which refuses none.
 */
struct adma_refused {
	__u32 size;
	__u32 flags;     /* 0 */
	__u32 index;     /* in */
	__u32 reason;    /* out: ADMA_REFUSED_* */
	char name[32];   /* out: the device */
	char driver[32]; /* out */
};

/* ---- connections ---- */

/* The policy: what copies. */
#define ADMA_BY_ANY 0 /* a DMA channel from dma_min on if there is one, else the CPU */
#define ADMA_BY_CPU 1 /* the kernel-mapped copy, always */
#define ADMA_BY_DMA 2 /* DMA from dma_min on; memory that cannot be pinned for long is refused */

/*
 * ADMA_IOC_PAIR: two connected file descriptors, both closed on exec, charged
 * to the caller. Errors: ENODEV (ADMA_BY_DMA, and no DMA channel
 * works), EDQUOT (connections_max), EMFILE, ENFILE, ENOMEM, EINVAL, E2BIG, EFAULT.
 */
struct adma_pair {
	__u32 size;
	__u32 flags;  /* 0 */
	__u32 policy; /* in: ADMA_BY_* */
	__u32 pad;    /* 0 */
	__s32 fd[2];  /* out */
};

/* ---- requests ---- */

#define ADMA_COOKIE(generation, entry) (((__u64)(generation) << 32) | (__u32)(entry))

struct adma_iovec {
	__u64 base;   /* address in the poster's memory */
	__u64 length; /* bytes */
};

#define ADMA_READ  1 /* fill the memory from the peer's matching write */
#define ADMA_WRITE 2 /* hand the memory to the peer's matching read */

#define ADMA_POST_TIMES (1u << 0) /* keep this request's time split for ADMA_IOC_CHECK */

/*
 * ADMA_IOC_POST: post a read or write on a connected file descriptor. 0: posted
 * (the entry tells the rest; the request may be completed already). On an error
 * nothing was posted and the entry is as before.
 *
 *   ENOTCONN    the file descriptor is not one of a pair
 *   EPIPE       the peer's endpoint is closed
 *   EBUSY       the entry's request is still pending
 *   EINVAL      op, flags, padding, iovcnt (0 .. iov_max) or entry is invalid; the
 *               generation is 0 or the one that the entry holds; the total length
 *               is above length_max
 *   EEXIST      the key is not 0, and another read (or write) is pending on it
 *   EFAULT      the memory is not mapped, is the kernel's, or wraps around; or a read
 *               names memory that may not be written
 *   ENOMEM      RLIMIT_MEMLOCK does not allow to pin even one page (ADMA_BY_DMA); or
 *               there is no memory
 *   EOPNOTSUPP  the memory cannot be pinned for long, such as a file's (ADMA_BY_DMA)
 *   EDQUOT      the user has requests_max pending requests, or the owner of the
 *               user's namespace has a few times as many
 */
struct adma_post {
	__u32 size;
	__u32 flags;   /* ADMA_POST_* */
	__u32 op;      /* ADMA_READ or ADMA_WRITE */
	__u32 kind;    /* the caller's; a read matches writes of its own kind */
	__u64 cookie;  /* ADMA_COOKIE(): generation and entry, chosen by the caller */
	__u64 key;     /* 0: the FIFO */
	__u64 iov;     /* struct adma_iovec[iovcnt] */
	__u32 iovcnt;  /* 0: a message of no bytes */
	__u32 pad;     /* 0 */
	__u64 note[2]; /* writes: for the reader, in peek and in its entry; reads: 0 */
};

/*
 * ADMA_IOC_COPY: copy within the caller's memory. Ranges that overlap are
 * refused with EINVAL, because an engine copies in no particular order. Any file
 * descriptor of the device will do. Errors: as ADMA_IOC_POST, without those that
 * concern the peer or the key; and ENODEV (ADMA_BY_DMA, and no DMA channel works).
 */
struct adma_copy {
	__u32 size;
	__u32 flags;  /* ADMA_POST_* */
	__u64 cookie;
	__u64 destination;
	__u64 source;
	__u64 length; /* bytes */
	__u32 policy; /* ADMA_BY_* */
	__u32 pad;    /* 0 */
};

/*
 * ADMA_IOC_PEEK: the write at the head of the FIFO, which no read has matched.
 * Errors: EAGAIN (there is none), EPIPE (there is none, and the peer is closed),
 * ENOTCONN, EINVAL, E2BIG, EFAULT.
 */
struct adma_peek {
	__u32 size;
	__u32 flags;   /* 0 */
	__u32 kind;    /* out */
	__u32 pad;     /* 0 */
	__u64 length;  /* out: bytes */
	__u64 note[2]; /* out: the writer's */
};

/* Where a request's time went, nanoseconds: the paper's figure 7. */
#define ADMA_TIME_POST     0 /* in the post's system call, without pinning */
#define ADMA_TIME_PIN      1 /* pinning this request's pages */
#define ADMA_TIME_START    2 /* from the match to the first piece submitted, without pinning */
#define ADMA_TIME_COPY     3 /* from there to the last piece copied */
#define ADMA_TIME_COMPLETE 4 /* from there to the result stored */
#define ADMA_TIMES         5

/*
 * ADMA_IOC_CHECK: the state of a request, now. ADMA_IOC_WAIT: the same, once the
 * request is completed. Errors: ENOENT (the entry holds another request), EINVAL,
 * E2BIG, EFAULT; of ADMA_IOC_WAIT also ETIMEDOUT and EINTR (a signal), after which
 * the request is pending as before.
 */
struct adma_check {
	__u32 size;
	__u32 flags;         /* 0 */
	__u64 cookie;
	__s64 timeout_ns;    /* ADMA_IOC_WAIT: at most; negative: no limit. ADMA_IOC_CHECK: 0 */
	__s32 status;        /* out: ADMA_PENDING, 0, or a negated errno as in the entry */
	__u32 matched;       /* out: 1 once it was matched */
	__u64 length;        /* out: as in the entry; while it is pending, bytes copied so far */
	__u64 note[2];       /* out: as in the entry */
	__u64 times[ADMA_TIMES]; /* out: of a request that asked for it, else 0 */
};

/*
 * ADMA_IOC_CANCEL: withdraw a request. 0: nothing will be copied, and its entry is
 * -ECANCELED. Errors: EBUSY (it has matched, and goes on), EALREADY (it is
 * completed), ENOENT, EINVAL, E2BIG, EFAULT.
 */
struct adma_cancel {
	__u32 size;
	__u32 flags; /* 0 */
	__u64 cookie;
};

/*
 * The completion entries: mmap() offset 0, PROT_READ, MAP_SHARED,
 * adma_info.entries of them. The kernel stores `length` and `note` first and then
 * `state` with release order. A thread that loads `state` with acquire order and
 * finds the request completed may use the other fields.
 */
#define ADMA_PENDING 1 /* the low 32 bits of state, while the request is pending */

struct adma_entry {
	__u64 state;   /* {generation:32, ADMA_PENDING, 0 or a negated errno:32} */
	__u64 length;  /* bytes copied; with EMSGSIZE and EPROTOTYPE the length of the write */
	__u64 note[2]; /* reads: the writer's */
};

/*
 * Errors of a request, negated in its entry:
 *   EMSGSIZE    the read is too short for the next write, which stays
 *   EPROTOTYPE  the next write is of another kind; it stays
 *   ECANCELED   withdrawn by ADMA_IOC_CANCEL, or by closing the endpoint
 *   EPIPE       the peer's endpoint was closed before the match; or after it, while the
 *               transfer waited for page faults. length: bytes copied by then
 *   EFAULT      one side's memory was unmapped before all was copied
 *   ESRCH       a process whose memory it is exited before all was copied
 *   ENOMEM      there is no memory
 *   EOPNOTSUPP  (ADMA_BY_DMA) it turned out that the memory cannot be pinned for long
 *   EIO         the engine neither finished nor stopped: the buffer may still be written
 *               (its pages are counted, and stay pinned until the engine is done with them)
 *
 * read() of 8 bytes: how many requests of this endpoint were completed since the
 * last read(); EAGAIN: none. It never blocks. poll(): EPOLLIN while that number is
 * not zero, EPOLLPRI while a write of key 0 waits for a read, EPOLLHUP once the peer
 * is closed.
 */

/* ---- counters ---- */

#define ADMA_COUNTERS_MODULE (1u << 0) /* of all endpoints since the module was loaded */

/*
 * ADMA_IOC_COUNTERS: of this endpoint's own requests. A transfer is counted at the
 * endpoint whose post made the match. Errors: EPERM (ADMA_COUNTERS_MODULE without
 * CAP_SYS_ADMIN, because it tells what other users do), EINVAL, E2BIG, EFAULT.
 */
struct adma_counters {
	__u32 size;
	__u32 flags;            /* ADMA_COUNTERS_* */
	__u64 posts;            /* requests posted */
	__u64 matches;          /* transfers started */
	__u64 done;             /* requests that succeeded */
	__u64 failed;           /* requests that failed, cancelled ones included */
	__u64 bytes_dma;        /* copied by DMA channels */
	__u64 bytes_cpu;        /* copied by the CPU, in all */
	__u64 bytes_edge;       /* of these: heads and tails of what a DMA channel copied */
	__u64 bytes_rescued;    /* of these: after a DMA error or timeout */
	__u64 pieces;           /* DMA descriptors */
	__u64 pin_hits;         /* windows found in the pin cache */
	__u64 pin_misses;       /* windows pinned anew */
	__u64 pages_pinned;
	__u64 pages_unpinned;
	__u64 pages_stuck;      /* left pinned, because an engine did not stop */
	__u64 invalidations;    /* cached pins dropped because their mapping changed */
	__u64 timeouts;         /* DMA timeouts */
	__u64 times[ADMA_TIMES]; /* nanoseconds, summed over requests */
};

#define ADMA_IOC_MAGIC    0xad
#define ADMA_IOC_INFO     _IOWR(ADMA_IOC_MAGIC, 0x00, struct adma_info)
#define ADMA_IOC_CHANNEL  _IOWR(ADMA_IOC_MAGIC, 0x01, struct adma_channel)
#define ADMA_IOC_COUNTERS _IOWR(ADMA_IOC_MAGIC, 0x02, struct adma_counters)
#define ADMA_IOC_PAIR     _IOWR(ADMA_IOC_MAGIC, 0x03, struct adma_pair)
#define ADMA_IOC_REFUSED  _IOWR(ADMA_IOC_MAGIC, 0x04, struct adma_refused)
#define ADMA_IOC_POST     _IOW(ADMA_IOC_MAGIC, 0x10, struct adma_post)
#define ADMA_IOC_COPY     _IOW(ADMA_IOC_MAGIC, 0x11, struct adma_copy)
#define ADMA_IOC_PEEK     _IOWR(ADMA_IOC_MAGIC, 0x12, struct adma_peek)
#define ADMA_IOC_CHECK    _IOWR(ADMA_IOC_MAGIC, 0x13, struct adma_check)
#define ADMA_IOC_WAIT     _IOWR(ADMA_IOC_MAGIC, 0x14, struct adma_check)
#define ADMA_IOC_CANCEL   _IOW(ADMA_IOC_MAGIC, 0x15, struct adma_cancel)

#endif
