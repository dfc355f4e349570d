/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * adma_handshake.h - the records two ends exchange before there is a channel.
 *
 * A record is a head and a number of entries, sent with one sendmsg(), the
 * descriptors of all its entries attached in order:
 *
 *   head    magic, wire version range, round, total length, entries, fds
 *   entry   subject, number of fds, errno, length, then the bytes
 *
 * Round 0 is the hello: one entry, struct adma_hello, with the sender's half
 * and pidfd. The rounds after it carry an entry per mechanism; what the bytes
 * mean is that mechanism's own affair. A refusal (ADMA_ROUND_REFUSED) may
 * come in any place: one entry, an errno and a text for people.
 *
 * The parser is given bytes of a stranger: it reads nothing outside them,
 * allocates nothing, and says which rule was broken.
 */
#ifndef ADMA_HANDSHAKE_H
#define ADMA_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ADMA_RECORD_MAGIC = 0x4d444131, /* "ADM1" */
	ADMA_WIRE_VERSION = 1,
	ADMA_WIRE_OLDEST = 1,
	ADMA_RECORD_MAX = 4096,   /* bytes of a record */
	ADMA_ENTRIES_MAX = 16,
	ADMA_RECORD_FDS_MAX = 8,
	ADMA_ROUND_HELLO = 0,
	ADMA_ROUND_OFFER = 1,
	ADMA_ROUND_ANSWER = 2,
	ADMA_ROUND_VERDICT = 3,
	ADMA_ROUND_REFUSED = 255,
};

struct adma_record_head {
	uint32_t magic;
	uint16_t oldest;   /* wire versions the sender speaks */
	uint16_t newest;
	uint16_t round;
	uint16_t entries;
	uint32_t length;   /* of the whole record */
	uint32_t fds;
};

struct adma_entry_head {
	uint16_t subject;  /* enum adma_mechanism_id; 0 in a hello or refusal */
	uint16_t fds;
	int32_t error;     /* errno of the sender, 0: fine */
	uint32_t length;   /* bytes that follow, padded to 8 in the record */
	uint32_t zero;
};

struct adma_hello {
	int32_t pid;             /* as the sender sees itself */
	uint32_t uid;
	uint64_t start_time;     /* clock ticks after boot, /proc/self/stat field 22 */
	uint64_t half_size;
	uint8_t nonce[16];       /* random, also found at nonce_address in the sender */
	uint64_t nonce_address;
	uint64_t scratch_address;/* 8 bytes the peer may write to, to show that it can */
	uint32_t mechanisms;     /* mask of what the sender can try */
	uint32_t forced;         /* enum adma_mechanism_id, 0: auto */
	uint32_t features;       /* none defined: 0; unknown bits are ignored */
	uint32_t zero;
};

struct adma_record_entry {
	struct adma_entry_head head;
	size_t offset;  /* of its bytes in the record */
	uint32_t first_fd;
};

struct adma_record {
	struct adma_record_head head;
	struct adma_record_entry entries[ADMA_ENTRIES_MAX];
};

enum adma_record_fault {
	ADMA_RECORD_OK = 0,
	ADMA_RECORD_SHORT = -1,    /* fewer bytes than its length says: read on */
	ADMA_RECORD_MAGIC_BAD = -2,/* not ours at all */
	ADMA_RECORD_VERSION = -3,  /* no common wire version; head is filled in */
	ADMA_RECORD_LENGTH = -4,   /* longer than allowed, or trailing bytes */
	ADMA_RECORD_ENTRIES = -5,  /* entries overrun the record, or too many */
	ADMA_RECORD_FDS = -6,      /* descriptor counts do not add up */
};

/* Parse n bytes that arrived with nfds descriptors. 0 or enum adma_record_fault. */
int adma_record_parse(const uint8_t *bytes, size_t n, uint32_t nfds, struct adma_record *record);

/* How many bytes the record that begins here has: > 0; 0 when more are needed to tell; < 0 a fault. */
int64_t adma_record_length(const uint8_t *bytes, size_t n);

/* Parse the bytes of a hello's entry. 0, or -1 when its size or a field is impossible. */
int adma_hello_parse(const uint8_t *bytes, size_t n, struct adma_hello *hello);

/* What a fault means, for people. */
const char *adma_record_fault_text(int fault);

/* ---- probes: the system calls of a handshake that Python has no word for. Results are 0 or a negated errno. ---- */

/*
 * What a channel shows of itself in its own memory. The peer reads `bytes`
 * whenever it is about to touch our memory, to see that the process with our
 * pid is still the one it shook hands with; it writes `scratch` once, to show
 * that it can. The memory is private and stays where it is until freed, which
 * must not happen before the channel is closed.
 */
struct adma_nonce {
	uint8_t bytes[16];
	uint64_t scratch;
};

/* With fresh random bytes and a scratch of 0; NULL and errno when there is no memory or no randomness. */
struct adma_nonce *adma_nonce_new(void);
void adma_nonce_free(struct adma_nonce *nonce);

/* Where the peer finds it. */
uint64_t adma_nonce_address(const struct adma_nonce *nonce);
uint64_t adma_nonce_scratch_address(const struct adma_nonce *nonce);

/* What is in the scratch word now: the peer may have written to it. */
uint64_t adma_nonce_scratch(const struct adma_nonce *nonce);

/* Copy n bytes from or to another process's memory; a part of them only is -EFAULT. */
int adma_vm_read(int32_t pid, uint64_t address, void *bytes, size_t n);
int adma_vm_write(int32_t pid, uint64_t address, const void *bytes, size_t n);

/*
 * Yama: let process `pid` trace this one, in place of whoever could before;
 * ADMA_TRACER_ANY: let all of this user's. -EINVAL where there is no Yama.
 */
enum { ADMA_TRACER_ANY = -1 };
int adma_set_tracer(int32_t pid);

/* prctl(PR_GET_DUMPABLE): 1 when others of this user may look into this process. */
int adma_dumpable(void);

/* Pass ADMA_FAULT_HANDSHAKE: 0, or the positive errno to fail with. */
int adma_fault_handshake(void);

/* ---- the kernel helper's pair of descriptors: results are 0 or a negated errno ---- */

/*
 * A connected pair from the device at `path`, both close-on-exec. `by_dma`: DMA
 * is wanted (-ENODEV when no channel works), else the kernel-mapped copy.
 * -EPROTONOSUPPORT: the module speaks another version of the interface.
 */
int adma_helper_pair(const char *path, bool by_dma, int32_t fds[2]);

/* Is this, received from a stranger, an end of a pair that we can use? -EPROTO, -EPROTONOSUPPORT. */
int adma_helper_verify(int fd);

/*
 * The one trial message of each direction: post it from, or into, [p, p + n),
 * which stays untouched until it is awaited or forgotten. (Closing the descriptor is not
 * enough: whoever passed it may have kept a copy.)
 */
int adma_helper_try(int fd, bool read, void *p, uint64_t n);

/*
 * Nothing of it will happen any more, and [p, p + n) is the caller's again: 0. -EBUSY: it is
 * being copied, and does not come to its end.
 */
int adma_helper_forget(int fd, bool read);

/* Until it ended, well (0) or otherwise; -ETIMEDOUT; -EINTR: ask again. */
int adma_helper_tried(int fd, bool read, int64_t timeout_ns);

/* ---- the shared segment of an endpoint ---- */

struct adma_segment;

/* A fresh half: its pages allocated, initialised, sealed and mapped. 0 and fd (close-on-exec), or a negated errno. */
int adma_segment_make(int *fd, struct adma_segment **segment);

/*
 * Map a peer's half. The fd stays the caller's. 0 or a negated errno; -EPROTO:
 * not a sealed memfd of the right size that begins like a half.
 */
int adma_segment_map(int fd, struct adma_segment **segment);

void adma_segment_unmap(struct adma_segment *segment);

#endif
