/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_handshake.h - the records that two endpoints exchange before there is a channel, and what
 * else the handshake needs of C.
 *
 * A record is a head and a number of entries. It is sent with one sendmsg(), and the file
 * descriptors of all its entries are attached to it in order:
 *
 *   head    magic, wire version range, round, total length, entries, fds
 *   entry   subject, number of fds, errno, length, then the bytes
 *
 * Round 0 is the hello. It has one entry, struct adma_hello, and no descriptors. The end that was called says hello
 * after it has heard the other one's. The rounds after it have an entry for each mechanism, whose bytes only that
 * mechanism interprets. They come again for mechanisms that are tried only where the others do not work. Round 1, the
 * offer, also has an entry of subject 0 when it comes first, with the sender's segment and pidfd. A refusal
 * (ADMA_ROUND_REFUSED) may take the place of any record. It has one entry, with an errno and a text for people.
 *
 * The parser is given bytes from a stranger. It reads nothing outside of them, allocates nothing,
 * and tells which rule a record breaks.
 */
#ifndef ADMA_HANDSHAKE_H
#define ADMA_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ADMA_RECORD_MAGIC = 0x4d444131, /* "ADM1" */
	/*
	 * 7: a writer is told of room only if it has asked for that.
	 * 6: bounce buffers for messages that the reader wants eagerly; descriptors tell when they were posted.
	 * 5: the reader of a large message says in the slot how it is copied, chunks of several sizes included.
	 * 4: descriptors come with the offer; proofs over TCP; mechanisms that are tried last; addresses only for who
	 * accesses the memory of the other end.
	 */
	ADMA_WIRE_VERSION = 7,
	ADMA_WIRE_OLDEST = 7,
	ADMA_RECORD_MAX = 4096,   /* bytes of a record, at most */
	ADMA_ENTRIES_MAX = 16,
	ADMA_RECORD_FDS_MAX = 8,
	/* What one message on a Unix socket may carry: limits of the kernel, and a name that its older headers lack. */
	ADMA_MESSAGE_FDS_MAX = 253, /* SCM_MAX_FD */
	ADMA_MESSAGE_LABEL_MAX = 1024, /* bytes of a security label, generously */
	ADMA_SCM_PIDFD = 4, /* SCM_PIDFD, Linux 6.5 */
	ADMA_ROUND_HELLO = 0,
	ADMA_ROUND_OFFER = 1,
	ADMA_ROUND_ANSWER = 2,
	ADMA_ROUND_VERDICT = 3,
	ADMA_ROUND_REFUSED = 255,
};

struct adma_record_head {
	uint32_t magic;
	uint16_t oldest;   /* the wire versions that the sender speaks */
	uint16_t newest;
	uint16_t round;
	uint16_t entries;
	uint32_t length;   /* bytes of the whole record */
	uint32_t fds;
};

struct adma_entry_head {
	uint16_t subject;  /* enum adma_mechanism_id; 0 in a hello and a refusal, and for the segment in an offer */
	uint16_t fds;
	int32_t error;     /* 0, or an errno of the sender */
	uint32_t length;   /* bytes that follow; in the record they are padded to a multiple of 8 */
	uint32_t zero;
};

struct adma_hello {
	int32_t pid;             /* in the sender's own pid namespace */
	uint32_t uid;
	uint64_t start_time;     /* in clock ticks after boot: field 22 of /proc/self/stat */
	uint64_t half_size;
	uint8_t nonce[16];       /* random; where it is in memory only a peer learns that may look there */
	uint32_t mechanisms;     /* a mask of those that the sender can try */
	uint32_t forced;         /* enum adma_mechanism_id; 0: auto */
	uint32_t features;       /* 0, since none is defined yet; unknown bits are ignored */
	uint32_t zero;
};

struct adma_record_entry {
	struct adma_entry_head head;
	size_t offset;  /* where its bytes are in the record */
	uint32_t first_fd;
};

struct adma_record {
	struct adma_record_head head;
	struct adma_record_entry entries[ADMA_ENTRIES_MAX];
};

enum adma_record_fault {
	ADMA_RECORD_OK = 0,
	ADMA_RECORD_SHORT = -1,    /* there are fewer bytes than its length tells: read more */
	ADMA_RECORD_MAGIC_BAD = -2,/* not a record of adma */
	ADMA_RECORD_VERSION = -3,  /* no common wire version; head is filled in */
	ADMA_RECORD_LENGTH = -4,   /* longer than allowed, or followed by other bytes */
	ADMA_RECORD_ENTRIES = -5,  /* the entries exceed the record, or there are too many */
	ADMA_RECORD_FDS = -6,      /* the numbers of descriptors do not match */
};

/* Parse n bytes that arrived with nfds descriptors. Returns 0 or a value of enum adma_record_fault. */
int adma_record_parse(const uint8_t *bytes, size_t n, uint32_t nfds, struct adma_record *record);

/* The length of the record that begins here: > 0; 0 when more bytes are needed to tell; < 0: a fault. */
int64_t adma_record_length(const uint8_t *bytes, size_t n);

/* Parse the bytes of a hello's entry. Returns 0, or -1 when its size or one of its fields cannot be right. */
int adma_hello_parse(const uint8_t *bytes, size_t n, struct adma_hello *hello);

/* A description of a fault for people. */
const char *adma_record_fault_text(int fault);

/* ---- probes: the system calls of a handshake that Python does not offer. Results are 0 or a negated errno. ---- */

/*
 * Memory by which a peer can identify this process. The peer reads `bytes` before it accesses our
 * memory, to make sure that the process with our pid is still the one that took part in the
 * handshake. It writes `scratch` once, to show that it can. The memory is private and is not
 * moved. It must not be freed before the channel is closed.
 */
struct adma_nonce {
	uint8_t bytes[16];
	uint64_t scratch;
};

/* Allocated with new random bytes and a scratch of 0. NULL and errno when there is no memory, or no randomness. */
struct adma_nonce *adma_nonce_new(void);
void adma_nonce_free(struct adma_nonce *nonce);

/* The addresses at which the peer finds them. */
uint64_t adma_nonce_address(const struct adma_nonce *nonce);
uint64_t adma_nonce_scratch_address(const struct adma_nonce *nonce);

/* The value of the scratch word now. The peer may have written to it. */
uint64_t adma_nonce_scratch(const struct adma_nonce *nonce);

/* Copy n bytes from, or to, the memory of another process. -EFAULT: not all of them could be copied. */
int adma_vm_read(int32_t pid, uint64_t address, void *bytes, size_t n);
int adma_vm_write(int32_t pid, uint64_t address, const void *bytes, size_t n);

/*
 * For Yama: let process `pid` trace this one, in place of the process that could before.
 * ADMA_TRACER_ANY: let all processes of this user. -EINVAL where there is no Yama.
 */
enum { ADMA_TRACER_ANY = -1 };
int adma_set_tracer(int32_t pid);

/* A pidfd of a process, close-on-exec; or a negated errno. */
int adma_pidfd_open(int32_t pid);

/* An eventfd(2) that has this value, close-on-exec and non-blocking; or a negated errno. */
int adma_eventfd(uint32_t value);

/* Is this descriptor, received from a stranger, a pidfd? 1, 0, or a negated errno: the system does not let us ask. */
int adma_is_pidfd(int fd);

/*
 * Close a descriptor that the user `owner` made or passed, by a thread of its own: the last close of a file may block
 * for as long as its maker likes. Does not wait. A linger time of a socket is cleared before. adma_closing_apart():
 * how many descriptors of that user are not closed yet. That stays above 0 while a close blocks.
 */
void adma_close_apart(int fd, uint32_t owner);
uint32_t adma_closing_apart(uint32_t owner);

/*
 * Let a Unix socket take descriptors, or not: then the kernel refuses them to the sender (SO_PASSRIGHTS, Linux 6.16).
 * Returns 0 or a negated errno; -ENOPROTOOPT: this kernel cannot.
 */
int adma_take_rights(int sock, bool take);

/* Bytes that this end of a Unix socket has sent and the other one has not read; or a negated errno. */
int64_t adma_unread(int sock);

/* The effective uid and gid of this process as the kernel knows them. A preloaded library may tell libc others. */
struct adma_ids {
	uint32_t uid, gid;
};
struct adma_ids adma_own_ids(void);

/*
 * Does this process have rights that whoever started it lacks? So it is in set-user-id and set-group-id programs, and in
 * those with file capabilities. The environment is not to be trusted then. It stays so when the rights are given back.
 */
bool adma_has_more_rights(void);

/* prctl(PR_GET_DUMPABLE): 1 when other processes of this user may read the memory of this one. */
int adma_dumpable(void);

/* Pass the fault point ADMA_FAULT_HANDSHAKE. Returns 0, or the positive errno to fail with. */
int adma_fault_handshake(void);

/* ---- the kernel helper's pair of descriptors. Results are 0 or a negated errno. ---- */

/*
 * Make a connected pair of descriptors by the device at `path`; both are close-on-exec. `by_dma`:
 * messages are to be copied by DMA (-ENODEV when no DMA channel works), otherwise by the CPU.
 * -EPROTONOSUPPORT: the module speaks another version of the interface.
 */
int adma_helper_pair(const char *path, bool by_dma, int32_t fds[2]);

/* Is this descriptor, received from a stranger, an endpoint of a pair that we can use? -EPROTO, -EPROTONOSUPPORT. */
int adma_helper_verify(int fd);

/*
 * Post the trial message of one direction, from or into [p, p + n). The caller does not touch that
 * memory until adma_helper_tried() or adma_helper_forget() has told that the message is over.
 * (Closing the descriptor is not enough, because the process that passed it may have kept a copy.)
 */
int adma_helper_try(int fd, bool read, void *p, uint64_t n);

/*
 * Cancel the trial message. 0: it will not be copied any more, and [p, p + n) is the caller's again.
 * -EBUSY: it is being copied, and that does not come to an end.
 */
int adma_helper_forget(int fd, bool read);

/* Wait until the trial message is complete. 0, or the error it completed with; -ETIMEDOUT; -EINTR: call again. */
int adma_helper_tried(int fd, bool read, int64_t timeout_ns);

/* ---- the shared segment of an endpoint ---- */

struct adma_segment;

/*
 * Make a segment: the pages that every channel needs are allocated, and it is initialised and mapped. It is
 * sealed, unless the system refuses memfds. Returns 0 and its descriptor (close-on-exec), or a negated errno.
 */
int adma_segment_make(int *fd, struct adma_segment **segment);

/*
 * Map the segment of a peer. The descriptor stays the caller's. Returns 0 or a negated errno. -EPROTO, -EPERM: as
 * for adma_memory_check(), and -EPROTO also if the memory does not begin like a segment. Of another user's segment the
 * pages that every channel needs are made sure of: -ENOMEM, or -EFAULT.
 */
int adma_segment_map(int fd, bool same_user, struct adma_segment **segment);

void adma_segment_unmap(struct adma_segment *segment);

/* ---- memory that is shared by descriptor. Results are 0 or a negated errno. ---- */

/*
 * Open memory of no size yet, close-on-exec: a memfd or, where the system refuses memfds, a file without a name,
 * which cannot be sealed. A descriptor, or a negated errno.
 */
int adma_memory_open(const char *name);

/* Make it so many bytes long, all allocated. -ENOSPC, -EFBIG and others: it cannot be. */
int adma_memory_allocate(int fd, uint64_t bytes);

/* Fix its size for ever. -EINVAL, -EPERM: it is a file, which cannot be sealed. */
int adma_memory_seal(int fd);
bool adma_memory_is_sealed(int fd);

/*
 * May memory be mapped that a peer passed? `same_user`: the peer is of this process's user, as the kernel told.
 * -EPERM: it is not sealed, so that its owner could take it away under the map. That is allowed if a process of this user
 * passed it and it belongs to `owner`, which is this user or, on a channel, the one that it was when it connected. -EPROTO: it is no memory of exactly so many bytes, or its pages are huge ones, of
 * which there may be none left.
 */
int adma_memory_check(int fd, uint64_t bytes, bool same_user, uint32_t owner);

#endif
