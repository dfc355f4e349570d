# SPDX-License-Identifier: BSD-3-Clause
"""`toy`: a mechanism that is registered from outside of adma, in this one file.

A stream through a small ring of bytes for each direction, in memory that one end makes and
passes to the other. It is here to show that nothing of adma has to know a mechanism, and is
as simple as the interface allows: transport/native/mech/mechanism.h for the core's side,
adma/mechanisms/interface.py for the probe.

Who imports this module has the mechanism, if ADMA_TOY_LIBRARY names the library that `build`
has made.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import secrets
import subprocess
from pathlib import Path
from typing import Final

from adma import mechanisms
from adma.connect.record import Entry
from adma.mechanisms import Context, Probe, refusal_in

SOURCE: Final = r"""
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "mech/mechanism.h"

#define TOY_ID 15
#define TOY_CHUNK (16ull << 10)
#define TOY_RING (64ull << 10)
#define TOY_MADE_HERE 1 /* mech_found: this end made the memory */

/* One direction. The counters only grow; they tell where the writer and the reader are. */
struct toy_ring {
	_Atomic uint64_t filled;
	_Atomic uint64_t drained;
	uint8_t bytes[TOY_RING];
};

/* The maker of the memory writes to the first ring, the other end to the second. */
struct toy_memory {
	struct toy_ring rings[2];
};

static struct toy_ring *toy_ring(const struct adma_connection *connection, bool outbound)
{
	struct toy_memory *memory = connection->state[TOY_ID];
	bool first = (connection->config.mech_found[TOY_ID] & TOY_MADE_HERE) ? outbound : !outbound;

	return &memory->rings[first ? 0 : 1];
}

static int toy_open(struct adma_connection *connection)
{
	int fd = connection->config.mech_fd[TOY_ID];
	void *memory;

	if (fd < 0)
		return 0;
	memory = mmap(NULL, sizeof(struct toy_memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	connection->state[TOY_ID] = memory;
	return 0;
}

static void toy_close(struct adma_connection *connection)
{
	void *memory = connection->state[TOY_ID];

	connection->state[TOY_ID] = NULL;
	if (memory)
		munmap(memory, sizeof(struct toy_memory));
}

/* The lowest of all: it is used only where it is asked for. */
static int toy_rank(const struct adma_connection *connection, uint64_t n, bool both_wait)
{
	(void)connection, (void)n, (void)both_wait;
	return 1;
}

static enum adma_reason toy_reason(const struct adma_connection *connection, uint64_t n,
				bool chosen, bool single_copy)
{
	(void)connection, (void)n, (void)single_copy;
	return chosen ? ADMA_REASON_LAST : ADMA_REASON_TWO_COPIES_MORE;
}

static bool toy_serves(const struct adma_connection *connection)
{
	return connection->state[TOY_ID] != NULL;
}

/* A transfer that breaks off leaves bytes in the ring, which would be taken for the next one's. */
static enum adma_on_error toy_on_error(int error)
{
	(void)error;
	return ADMA_ON_ERROR_BREAK;
}

static uint64_t toy_chunk(uint64_t length)
{
	(void)length;
	return TOY_CHUNK;
}

static uint64_t least(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Bytes that are left of the chunk that `at` lies in. */
static uint64_t toy_left(const struct adma_span *span, uint64_t at)
{
	uint32_t i = (uint32_t)(at / span->chunk);

	return i * span->chunk + adma_chunk_bytes(span, i) - at;
}

static int toy_fill(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	struct toy_ring *ring = toy_ring(connection, true);
	uint64_t filled = atomic_load_explicit(&ring->filled, memory_order_relaxed);
	uint64_t used = filled - atomic_load_explicit(&ring->drained, memory_order_acquire);
	uint64_t place = filled % TOY_RING;
	uint64_t n;

	if (used > TOY_RING)
		return -EPROTO; /* the peer may write what it likes */
	n = least(toy_left(span, *at), TOY_RING - used, TOY_RING - place);
	if (n == 0)
		return 0;
	memcpy(ring->bytes + place, span->local + *at, n);
	atomic_store_explicit(&ring->filled, filled + n, memory_order_release);
	*at += n;
	return ADMA_MOVED_SIGNAL;
}

static int toy_drain(struct adma_connection *connection, const struct adma_span *span, uint64_t *at)
{
	struct toy_ring *ring = toy_ring(connection, false);
	uint64_t drained = atomic_load_explicit(&ring->drained, memory_order_relaxed);
	uint64_t there = atomic_load_explicit(&ring->filled, memory_order_acquire) - drained;
	uint64_t place = drained % TOY_RING;
	uint64_t n;

	if (there > TOY_RING)
		return -EPROTO;
	n = least(toy_left(span, *at), there, TOY_RING - place);
	if (n == 0)
		return 0;
	memcpy(span->local + *at, ring->bytes + place, n);
	atomic_store_explicit(&ring->drained, drained + n, memory_order_release);
	*at += n;
	return ADMA_MOVED_SIGNAL;
}

static bool toy_ready(const struct adma_connection *connection, const struct adma_span *span,
				uint64_t at)
{
	struct toy_ring *ring = toy_ring(connection, span->outbound);
	uint64_t used = atomic_load_explicit(&ring->filled, memory_order_acquire) -
			atomic_load_explicit(&ring->drained, memory_order_acquire);

	(void)at;
	return span->outbound ? used != TOY_RING : used != 0;
}

const struct adma_mechanism toy_mechanism = {
	.name = "toy",
	.id = TOY_ID,
	.flags = ADMA_STREAM,
	.open = toy_open,
	.close = toy_close,
	.rank = toy_rank,
	.reason = toy_reason,
	.serves = toy_serves,
	.on_error = toy_on_error,
	.chunk = toy_chunk,
	.fill = toy_fill,
	.drain = toy_drain,
	.ready = toy_ready,
};

_Static_assert(sizeof(struct toy_memory) == 2 * (TOY_RING + 16), "as the probe makes it");
"""

NATIVE: Final = Path(__file__).parents[2] / "transport" / "native"
_MADE_HERE: Final = 1  # TOY_MADE_HERE
_BYTES: Final = 2 * (64 * 1024 + 16)  # sizeof(struct toy_memory)
_TOKEN: Final = 16  # random bytes at the end of the memory, for the probe


def build(place: Path, compiler: str) -> Path:
    """Compile the library into `place`. CalledProcessError, with the compiler's words."""
    source, library = place / "toy.c", place / "toy.so"
    source.write_text(SOURCE)
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    includes = [f"-I{NATIVE}", f"-I{NATIVE / 'include'}"]
    subprocess.run([compiler, *flags, *includes, "-o", library, source], check=True)
    return library


class Toy(Probe):
    """One end makes the memory and writes a token; the other finds it there, and answers."""

    name = "toy"
    id = 15  # TOY_ID
    keeps_descriptor = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._makes = context.nonce < context.peer.nonce
        self.found = _MADE_HERE if self._makes else 0
        self._fd = -1
        self._token = b""

    def offer(self) -> Entry:
        """The memory, and the token that is in it."""
        if not self._makes:
            return Entry(self.id)
        self._fd = os.memfd_create("adma-toy", os.MFD_CLOEXEC)
        os.truncate(self._fd, _BYTES)
        self._token = secrets.token_bytes(_TOKEN)
        with mmap.mmap(self._fd, _BYTES) as memory:
            memory[-_TOKEN:] = self._token
        return Entry(self.id, 0, self._token, [self._fd])

    def answer(self, offer: Entry) -> Entry:
        """Turn the token round, where it was found."""
        if self._makes:
            return Entry(self.id)
        if offer.error:
            self.out = self.in_ = refusal_in(offer, self.name)
            return self.out.entry(self.id)
        self._fd = offer.take_fd()
        with mmap.mmap(self._fd, _BYTES) as memory:
            if memory[-_TOKEN:] != offer.data:
                return self._refuse("the token is not in the memory")
            memory[-_TOKEN:] = offer.data[::-1]
        return Entry(self.id)

    def verdict(self, answer: Entry) -> Entry:
        """Is it turned round?"""
        if answer.error:
            self.out = self.in_ = refusal_in(answer, self.name)
            return self.out.entry(self.id)
        if self._makes:
            with mmap.mmap(self._fd, _BYTES) as memory:
                if memory[-_TOKEN:] != self._token[::-1]:
                    return self._refuse("the peer's token is not in the memory")
        return Entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        """Both directions work, or neither."""
        if verdict.error and self.out is None:
            self.out = self.in_ = refusal_in(verdict, self.name)

    def take(self) -> int:
        """The memory."""
        if self.out is not None:
            return -1
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Let go of the memory if no channel took it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _refuse(self, cause: str) -> Entry:
        self.out = self.in_ = self.refuse(errno.EIO, cause)
        return self.out.entry(self.id)


def _register(path: str) -> None:
    library = ctypes.CDLL(path)
    operations = ctypes.c_char.in_dll(library, "toy_mechanism")  # struct adma_mechanism
    mechanisms.register(Toy, ctypes.addressof(operations))


if "ADMA_TOY_LIBRARY" in os.environ:
    _register(os.environ["ADMA_TOY_LIBRARY"])
