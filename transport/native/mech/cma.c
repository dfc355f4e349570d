/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cma.c - `mapped:cma`: one copy, straight between the pages of the two processes.
 *
 * With process_vm_readv(2) and process_vm_writev(2) the reader pulls, the writer pushes, or both
 * do, chunk by chunk. A pid may come to name another program (exec, reuse), so a nonce in the
 * peer's memory is read in the same call as each pulled chunk. Before a push the peer has to have shown
 * within the last millisecond that it is there: by that nonce, or because it has matched a message that
 * was posted since. Between that and the push the peer may call exec; the pushed bytes then land only if the
 * new image has mapped the very same address.
 *
 * A short pull is a pread(2) of the peer's /proc/PID/mem instead, where that can be opened. Such a descriptor names the
 * memory, and not the pid: once the peer has ended, or has called exec, it reads nothing. So it needs no nonce, which is
 * read through it once, when it is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/residency.h"
#include "mech/guarded.h"
#include "mech/mechanism.h"

#define CMA_CHUNK_MIN (128ull << 10)
#define CMA_CHUNK_MAX (1ull << 20)
#define CMA_ALIVE_NS 1000000 /* a proof that the peer is there holds for so long */
/* Where one copy beats two, this ranks above `shared` (FIRST), and elsewhere below it (SECOND). */
#define CMA_RANK_FIRST 30
#define CMA_RANK_SECOND 10

/* There are enough chunks for two copiers to finish together, and each is large enough to be worth a system call. */
static uint64_t cma_chunk(uint64_t length)
{
	uint64_t n = length / 16 & ~4095ull;

	if (n < CMA_CHUNK_MIN)
		return CMA_CHUNK_MIN;
	return n > CMA_CHUNK_MAX ? CMA_CHUNK_MAX : n;
}

/* Small ones let both endpoints copy also what is short. Large ones take fewer system calls, and what is short as a whole. */
static uint64_t cma_other_chunk(uint64_t length, uint32_t i)
{
	static const uint64_t sizes[ADMA_OTHER_CHUNKS] = {32 << 10, 512 << 10};

	(void)length;
	return sizes[i];
}

static bool cma_may(const struct adma_config *peer, uint32_t what)
{
	return peer->mech_found[ADMA_MECH_CMA] & what;
}

static struct iovec cma_piece(uint64_t address, uint64_t n)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)address, .iov_len = n};
}

/* ---- the peer's memory as a file ---- */

/*
 * So many bytes are read from the file, and more by process_vm_readv(2). The kernel copies each page of the file twice,
 * but one page of the peer is pinned, and not also that of the nonce; no rights are checked; and there are no vectors to
 * read. Within a page the second copy stays in the first-level cache, so this is quicker on any processor.
 */
#define CMA_SHORT 4096ull

/* Beside the descriptor. */
enum { CMA_UNOPENED = -1, CMA_NO_FILE = -2 };

struct cma_state {
	_Atomic int memory;   /* of /proc/PID/mem, opened by the first short pull */
	struct adma_own own; /* what it names; written before `memory` */
	_Atomic int64_t alive_at; /* a time after which the peer has shown its nonce */
};

static struct cma_state *cma_state(const struct adma_connection *connection)
{
	return connection->state[ADMA_MECH_CMA];
}

static int cma_open_state(struct adma_connection *connection)
{
	struct cma_state *state = calloc(1, sizeof(*state));

	connection->state[ADMA_MECH_CMA] = state;
	if (!state)
		return -ENOMEM;
	atomic_init(&state->memory, CMA_UNOPENED);
	return 0;
}

static void cma_close_state(struct adma_connection *connection)
{
	struct cma_state *state = cma_state(connection);
	int fd;

	if (!state)
		return;
	connection->state[ADMA_MECH_CMA] = NULL;
	fd = atomic_exchange_explicit(&state->memory, CMA_NO_FILE, memory_order_acquire);
	if (fd >= 0)
		adma_own_close(&fd, &state->own);
	free(state);
}

/* Is this the memory that the handshake met? /proc may be that of another PID namespace, and the pid another process's. */
static bool cma_is_peer(const struct adma_config *peer, int fd)
{
	uint8_t nonce[ADMA_NONCE_BYTES];

	return pread(fd, nonce, sizeof(nonce), (off_t)peer->nonce_address) == (ssize_t)sizeof(nonce) &&
	       !memcmp(nonce, peer->nonce, sizeof(nonce));
}

/* Open it, once: where that fails nobody tries again, and a thread that comes meanwhile goes without. */
static int cma_open_memory(const struct adma_config *peer, struct cma_state *state)
{
	int expected = CMA_UNOPENED, fd;
	char path[sizeof("/proc//mem") + 3 * sizeof(peer->pid)];

	if (!atomic_compare_exchange_strong_explicit(&state->memory, &expected, CMA_NO_FILE, memory_order_relaxed,
						     memory_order_relaxed))
		return expected;
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", peer->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	if (!cma_is_peer(peer, fd)) {
		close(fd);
		return CMA_NO_FILE;
	}
	state->own = adma_own_note(fd);
	atomic_store_explicit(&state->memory, fd, memory_order_release);
	return fd;
}

/* Other code of the process may have closed the descriptor by mistake: see base/own.h. Relaxed: two threads at most look both. */
static bool cma_is_ours(struct adma_connection *connection, int fd)
{
	struct cma_state *state = cma_state(connection);
	int64_t now = adma_now();
	int64_t before = atomic_exchange_explicit(&connection->used_at[ADMA_MECH_CMA], now, memory_order_relaxed);

	if (now - before < ADMA_REST_NS || adma_own_is(&state->own, fd))
		return true;
	atomic_store_explicit(&state->memory, CMA_NO_FILE, memory_order_relaxed);
	return false;
}

/* Pull few bytes. False: not all of them came this way, and process_vm_readv(2) tells why, or does better. */
static bool cma_pull_short(struct adma_connection *connection, uint64_t remote, uint8_t *local, uint64_t n)
{
	struct cma_state *state = cma_state(connection);
	int fd;

	if (n > CMA_SHORT || !cma_may(&connection->config, ADMA_CMA_PULL))
		return false;
	fd = atomic_load_explicit(&state->memory, memory_order_acquire);
	if (fd == CMA_UNOPENED)
		fd = cma_open_memory(&connection->config, state);
	return fd >= 0 && cma_is_ours(connection, fd) && pread(fd, local, n, (off_t)remote) == (ssize_t)n;
}

/* ---- process_vm_readv(2) and process_vm_writev(2) ---- */

/*
 * What a failed read of the nonce means. Its address was mapped at the handshake, so a fault there
 * means that the process runs another image. ESRCH means that there is no process.
 */
static int cma_lost(int err)
{
	return err == ESRCH || err == EFAULT ? ADMA_E_DIED : err;
}

/* Is the peer's memory still the one that the handshake met? 0; ADMA_E_DIED; or an errno. */
static int cma_check_nonce(const struct adma_config *peer)
{
	uint8_t nonce[ADMA_NONCE_BYTES];
	struct iovec to = cma_piece((uintptr_t)nonce, sizeof(nonce));
	struct iovec from = cma_piece(peer->nonce_address, sizeof(nonce));
	ssize_t rc = process_vm_readv(peer->pid, &to, 1, &from, 1, 0);

	if (rc < 0)
		return cma_lost(errno);
	if (rc != (ssize_t)sizeof(nonce) || memcmp(nonce, peer->nonce, sizeof(nonce)) != 0)
		return ADMA_E_DIED;
	return 0;
}

/* The kernel refused a page, ours at `local` or the peer's that belongs to it. Whose? */
static int cma_fault(uint8_t *local, bool write)
{
	return adma_guarded_probe(local, write) ? ADMA_E_MEMORY_PEER : ADMA_E_MEMORY_HERE;
}

static int cma_pull(const struct adma_config *peer, uint64_t remote, uint8_t *local, uint64_t n)
{
	uint8_t nonce[ADMA_NONCE_BYTES];
	uint64_t got = 0;

	while (got < n) {
		struct iovec to[2] = {cma_piece((uintptr_t)nonce, sizeof(nonce)),
				      cma_piece((uintptr_t)local + got, n - got)};
		struct iovec from[2] = {cma_piece(peer->nonce_address, sizeof(nonce)),
					cma_piece(remote + got, n - got)};
		ssize_t rc = process_vm_readv(peer->pid, to, 2, from, 2, 0);

		if (rc < 0)
			return cma_lost(errno); /* even the nonce, which comes first, was not read */
		if (rc < (ssize_t)sizeof(nonce) || memcmp(nonce, peer->nonce, sizeof(nonce)) != 0)
			return ADMA_E_DIED;
		if (rc == (ssize_t)sizeof(nonce))
			return cma_fault(local + got, true);
		got += (uint64_t)rc - sizeof(nonce);
	}
	return 0;
}

/*
 * Is the peer there? 0, or an error. A read of the nonce before each push would leave some time between the two as
 * well, and it takes as long as the copy of 16 KB.
 */
static int cma_check_peer(struct adma_connection *connection, const struct adma_span *span)
{
	struct cma_state *state = cma_state(connection);
	int64_t now = adma_now(), alive_at;
	int err;

	if (now - span->posted_at < CMA_ALIVE_NS)
		return 0;
	/* Relaxed: it is a time, and orders nothing. */
	alive_at = atomic_load_explicit(&state->alive_at, memory_order_relaxed);
	if (alive_at && now - alive_at < CMA_ALIVE_NS)
		return 0;
	err = cma_check_nonce(&connection->config);
	if (!err)
		atomic_store_explicit(&state->alive_at, now, memory_order_relaxed);
	return err;
}

static int cma_push(struct adma_connection *connection, const struct adma_span *span, uint64_t remote, uint8_t *local,
		    uint64_t n)
{
	const struct adma_config *peer = &connection->config;
	uint64_t put = 0;

	while (put < n) {
		struct iovec from = cma_piece((uintptr_t)local + put, n - put);
		struct iovec to = cma_piece(remote + put, n - put);
		int err = cma_may(peer, ADMA_CMA_PULL) ? cma_check_peer(connection, span) : 0;

		if (err)
			return err;
		ssize_t rc = process_vm_writev(peer->pid, &from, 1, &to, 1, 0);

		if (rc == 0 || (rc < 0 && errno == EFAULT))
			return cma_fault(local + put, false);
		if (rc < 0)
			return errno == ESRCH ? ADMA_E_DIED : errno;
		put += (uint64_t)rc;
	}
	return 0;
}

/*
 * The kernel copies with `rep movsb`, and some processors fall to a fifth of their speed when the
 * destination begins a little behind the source, modulo 4 KiB: each load then waits for the store
 * before it. Ordinary allocators produce such pairs (two bytearrays of one size, one of them 16
 * bytes further into its page), so those can be copied in pieces through a scratch buffer that is
 * half a page away from both. On other processors this detour takes twice the time. So it is a matter
 * of experience whether it is taken.
 */
#define CMA_PAGE 4096ull
#define CMA_ALIASED 32ull
#define CMA_SCRATCH (32ull << 10)

static bool cma_aliased(uint64_t destination, uint64_t source)
{
	uint64_t distance = (destination - source) % CMA_PAGE;

	return distance > 0 && distance < CMA_ALIASED;
}

/* Is this a processor that usually gains by the detour? */
static bool cma_usually_detours(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_is("amd");
#else
	return false;
#endif
}

static enum adma_detour cma_detours(const struct adma_span *span)
{
	uint64_t local = (uintptr_t)span->local, remote = span->remote;

	if (span->outbound ? !cma_aliased(remote, local) : !cma_aliased(local, remote))
		return ADMA_DETOUR_NONE;
	return cma_usually_detours() ? ADMA_DETOUR_USUAL : ADMA_DETOUR_POSSIBLE;
}

static uint8_t *cma_scratch_beside(uint64_t address)
{
	static _Thread_local uint8_t scratch[CMA_SCRATCH + CMA_PAGE];

	return scratch + (address + CMA_PAGE / 2 - (uintptr_t)scratch) % CMA_PAGE;
}

/*
 * Copy within this process. The kernel does it: a page of the caller's that is gone, such as one beyond the end of its
 * file, is an error then, and in user space it would be a SIGBUS.
 */
static int cma_copy_here(uint8_t *to, uint8_t *from, uint64_t n)
{
	pid_t self = getpid();
	uint64_t done = 0;

	while (done < n) {
		struct iovec into = cma_piece((uintptr_t)to + done, n - done);
		struct iovec out_of = cma_piece((uintptr_t)from + done, n - done);
		ssize_t rc = process_vm_readv(self, &into, 1, &out_of, 1, 0);

		if (rc == 0 || (rc < 0 && errno == EFAULT))
			return ADMA_E_MEMORY_HERE; /* the scratch buffer is there */
		if (rc < 0)
			return errno;
		done += (uint64_t)rc;
	}
	return 0;
}

static int cma_copy_by_scratch(struct adma_connection *connection, const struct adma_span *span, uint64_t at,
			       uint64_t n)
{
	const struct adma_config *peer = &connection->config;
	int err = 0;

	for (uint64_t done = 0; done < n && !err;) {
		uint64_t bytes = n - done < CMA_SCRATCH ? n - done : CMA_SCRATCH;
		uint8_t *local = span->local + at + done;
		uint64_t remote = span->remote + at + done;
		uint8_t *scratch = cma_scratch_beside(remote);

		if (span->outbound) {
			err = cma_copy_here(scratch, local, bytes);
			if (!err)
				err = cma_push(connection, span, remote, scratch, bytes);
		} else {
			err = cma_pull(peer, remote, scratch, bytes);
			if (!err)
				err = cma_copy_here(local, scratch, bytes);
		}
		done += bytes;
	}
	return err;
}

static int cma_copy(struct adma_connection *connection, const struct adma_span *span, uint64_t at, uint64_t n)
{
	const struct adma_config *peer = &connection->config;

	if (!span->outbound && cma_pull_short(connection, span->remote + at, span->local + at, n))
		return 0;
	if (span->detour)
		return cma_copy_by_scratch(connection, span, at, n);
	if (span->outbound)
		return cma_push(connection, span, span->remote + at, span->local + at, n);
	return cma_pull(peer, span->remote + at, span->local + at, n);
}

static bool cma_resident(const struct adma_connection *connection, const struct adma_span *span)
{
	return adma_is_resident_in(connection->config.pid, span->remote, span->length);
}

static bool cma_able(const struct adma_connection *connection, bool outbound)
{
	const struct adma_config *peer = &connection->config;

	if (outbound)
		return cma_may(peer, ADMA_CMA_PUSH) && peer->copiers & ADMA_COPY_AS_WRITER;
	return cma_may(peer, ADMA_CMA_PULL) && peer->copiers & ADMA_COPY_AS_READER;
}

static enum adma_peer_memory cma_peer_memory(const struct adma_connection *connection)
{
	if (!cma_may(&connection->config, ADMA_CMA_PULL))
		return ADMA_PEER_MEMORY_UNKNOWN;
	switch (cma_check_nonce(&connection->config)) {
	case 0:
		return ADMA_PEER_MEMORY_KEPT;
	case ADMA_E_DIED:
		return ADMA_PEER_MEMORY_GONE;
	default:
		return ADMA_PEER_MEMORY_UNKNOWN;
	}
}

/*
 * While both endpoints wait, and each has a core, two overlapping copies in user space take less
 * time than one in the kernel. As soon as one endpoint computes, or other tasks need the cores,
 * one copy costs least.
 */
static int cma_rank(const struct adma_connection *connection, uint64_t n, bool both_wait)
{
	const struct adma_config *config = &connection->config;

	if (n < config->single_copy_from)
		return CMA_RANK_SECOND;
	if (!both_wait || n >= config->single_copy_from_waiting || adma_cpu_short_with(config->pid, adma_now()))
		return CMA_RANK_FIRST;
	return CMA_RANK_SECOND;
}

static enum adma_reason cma_reason(const struct adma_connection *connection, uint64_t n, bool chosen, bool single_copy)
{
	bool is_long = n >= connection->config.single_copy_from;

	(void)single_copy;
	if (chosen)
		return is_long ? ADMA_REASON_SINGLE_COPY : ADMA_REASON_ONLY_SINGLE_COPY;
	return is_long ? ADMA_REASON_SLOWER_WAITING : ADMA_REASON_SLOWER_SHORT;
}

const struct adma_mechanism adma_mech_cma = {
	.name = "mapped:cma",
	.id = ADMA_MECH_CMA,
	.flags = ADMA_EITHER_ENDPOINT,
	.open = cma_open_state,
	.close = cma_close_state,
	.rank = cma_rank,
	.reason = cma_reason,
	.chunk = cma_chunk,
	.competes = true,
	.other_chunk = cma_other_chunk,
	.detours = cma_detours,
	.resident = cma_resident,
	.able = cma_able,
	.copy = cma_copy,
	.peer_memory = cma_peer_memory,
};
