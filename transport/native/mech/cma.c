/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mech_cma.c - one copy between the two processes' own pages.
 *
 * process_vm_readv(2) and process_vm_writev(2): the reader pulls, the writer
 * pushes, or both, chunk by chunk. A pid may have been taken over by another
 * program (exec, reuse), so a nonce in the peer's memory is read in the same
 * call as each pulled chunk, and just before each pushed one. Between that
 * read and the push remains a moment in which the peer may exec; its new
 * image would have to map the very address for the push to land.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/channel.h"

#define CHUNK_MIN (128ull << 10)
#define CHUNK_MAX (1ull << 20)

/* Enough pieces for two copiers to end together, few enough that each call pays for itself. */
static uint64_t chunk(uint64_t length)
{
	uint64_t n = length / 16 & ~4095ull;

	if (n < CHUNK_MIN)
		return CHUNK_MIN;
	return n > CHUNK_MAX ? CHUNK_MAX : n;
}

static struct iovec piece(uint64_t address, uint64_t n)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)address, .iov_len = n};
}

/*
 * What a failed read of the nonce means. Its address was good when we met, so a
 * fault there is another image, as ESRCH is no image at all.
 */
static int lost(int err)
{
	return err == ESRCH || err == EFAULT ? ADMA_E_DIED : err;
}

static int pull(const struct adma_config *peer, uint64_t remote, uint8_t *local, uint64_t n)
{
	uint8_t nonce[ADMA_NONCE_BYTES];
	uint64_t got = 0;

	while (got < n) {
		struct iovec to[2] = {piece((uintptr_t)nonce, sizeof(nonce)),
				      piece((uintptr_t)local + got, n - got)};
		struct iovec from[2] = {piece(peer->nonce_address, sizeof(nonce)),
					piece(remote + got, n - got)};
		ssize_t rc = process_vm_readv(peer->pid, to, 2, from, 2, 0);

		if (rc < 0)
			return lost(errno); /* not even the nonce, which comes first */
		if (rc < (ssize_t)sizeof(nonce) || memcmp(nonce, peer->nonce, sizeof(nonce)) != 0)
			return ADMA_E_DIED;
		if (rc == (ssize_t)sizeof(nonce)) /* the first page of the rest is no good, ours or theirs */
			return EFAULT;
		got += (uint64_t)rc - sizeof(nonce);
	}
	return 0;
}

static int push(const struct adma_chan *chan, uint64_t remote, const uint8_t *local, uint64_t n)
{
	const struct adma_config *peer = &chan->config;
	uint64_t put = 0;

	while (put < n) {
		struct iovec from = piece((uintptr_t)local + put, n - put);
		struct iovec to = piece(remote + put, n - put);
		int err = peer->mech_found[ADMA_MECH_CMA] & ADMA_CMA_PULL ? adma_peer_nonce_check(chan) : 0;

		if (err)
			return err;
		ssize_t rc = process_vm_writev(peer->pid, &from, 1, &to, 1, 0);

		if (rc < 0)
			return errno == ESRCH ? ADMA_E_DIED : errno;
		if (rc == 0)
			return EFAULT;
		put += (uint64_t)rc;
	}
	return 0;
}

/*
 * The kernel copies with `rep movsb`, and some processors fall to a fifth of
 * their speed when the destination begins a little behind the source, modulo
 * 4 KiB: each load then waits for the store before it. Ordinary allocators
 * produce such pairs (two bytearrays of one size, one 16 bytes further into
 * its page), so those go in pieces through a scratch half a page away from both.
 */
#define PAGE 4096ull
#define ALIASED 32ull
#define SCRATCH (32ull << 10)

static bool aliased(uint64_t destination, uint64_t source)
{
	uint64_t distance = (destination - source) % PAGE;

	return distance > 0 && distance < ALIASED;
}

static uint8_t *scratch_beside(uint64_t address)
{
	static _Thread_local uint8_t scratch[SCRATCH + PAGE];

	return scratch + (address + PAGE / 2 - (uintptr_t)scratch) % PAGE;
}

static int copy_aside(struct adma_chan *chan, const struct adma_transfer *t, uint64_t at, uint64_t n)
{
	int err = 0;

	for (uint64_t done = 0; done < n && !err;) {
		uint64_t piece_bytes = n - done < SCRATCH ? n - done : SCRATCH;
		uint8_t *local = t->local + at + done;
		uint64_t remote = t->remote + at + done;
		uint8_t *aside = scratch_beside(remote);

		if (t->outbound) {
			memcpy(aside, local, piece_bytes);
			err = push(chan, remote, aside, piece_bytes);
		} else {
			err = pull(&chan->config, remote, aside, piece_bytes);
			if (!err)
				memcpy(local, aside, piece_bytes);
		}
		done += piece_bytes;
	}
	return err;
}

static int copy(struct adma_chan *chan, const struct adma_transfer *t, uint64_t at, uint64_t n)
{
	uint64_t local = (uintptr_t)t->local, remote = t->remote;

	if (t->outbound ? aliased(remote, local) : aliased(local, remote))
		return copy_aside(chan, t, at, n);
	if (t->outbound)
		return push(chan, t->remote + at, t->local + at, n);
	return pull(&chan->config, t->remote + at, t->local + at, n);
}

static bool able(const struct adma_chan *chan, bool outbound)
{
	if (outbound)
		return (chan->config.mech_found[ADMA_MECH_CMA] & ADMA_CMA_PUSH) && chan->config.copiers & ADMA_COPY_AS_WRITER;
	return (chan->config.mech_found[ADMA_MECH_CMA] & ADMA_CMA_PULL) && chan->config.copiers & ADMA_COPY_AS_READER;
}

int adma_peer_nonce_check(const struct adma_chan *chan)
{
	uint8_t nonce[ADMA_NONCE_BYTES];
	struct iovec to = piece((uintptr_t)nonce, sizeof(nonce));
	struct iovec from = piece(chan->config.nonce_address, sizeof(nonce));
	ssize_t rc = process_vm_readv(chan->config.pid, &to, 1, &from, 1, 0);

	if (rc < 0)
		return lost(errno);
	if (rc != (ssize_t)sizeof(nonce) || memcmp(nonce, chan->config.nonce, sizeof(nonce)) != 0)
		return ADMA_E_DIED;
	return 0;
}

const struct adma_mechanism adma_mech_cma = {
	.name = "mapped:cma",
	.flags = ADMA_EITHER_ENDPOINT,
	.chunk = chunk,
	.copy = copy,
	.able = able,
};
