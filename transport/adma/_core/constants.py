# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of the core: what its fields may hold, limits and sizes. Said in the C headers."""

from __future__ import annotations

from typing import Final

from ._native import lib

# What a message is: enum adma_kind.
BYTES: Final = lib.ADMA_BYTES
OBJECT: Final = lib.ADMA_OBJECT
PART: Final = lib.ADMA_PART

# How its bytes travel: enum adma_carry.
INLINE: Final = lib.ADMA_INLINE
EAGER: Final = lib.ADMA_EAGER
RENDEZVOUS: Final = lib.ADMA_SLOT
BUFFERED: Final = lib.ADMA_BUFFERED  # eager, in a bounce buffer

# What becomes of a request: enum adma_req_state; and how it is posted: enum adma_req_flags.
IDLE: Final = lib.ADMA_IDLE_STATE
POSTED: Final = lib.ADMA_POSTED_STATE
MATCHED: Final = lib.ADMA_MATCHED_STATE
NEED: Final = lib.ADMA_NEED_STATE
DONE: Final = lib.ADMA_DONE_STATE
OPEN: Final = lib.ADMA_REQ_OPEN
SLOT: Final = lib.ADMA_REQ_SLOT
BLOCKING: Final = lib.ADMA_REQ_BLOCKING
TELL: Final = lib.ADMA_REQ_TELL

# What carries a message that is too long for the ring: enum adma_mechanism_id.
MECH_SHARED: Final = lib.ADMA_MECH_SHARED
MECH_CMA: Final = lib.ADMA_MECH_CMA
MECH_TCP: Final = lib.ADMA_MECH_TCP
MECH_DMA: Final = lib.ADMA_MECH_DMA
MECH_HELPER: Final = lib.ADMA_MECH_HELPER
MECH_MAX: Final = lib.ADMA_MECH_MAX
CMA_PULL: Final = lib.ADMA_CMA_PULL  # enum adma_cma_found
CMA_PUSH: Final = lib.ADMA_CMA_PUSH

# Which end may copy: enum adma_copier.
COPY_AS_READER: Final = lib.ADMA_COPY_AS_READER
COPY_AS_WRITER: Final = lib.ADMA_COPY_AS_WRITER

# Sockets: a Python that was built on an old system lacks these.
MSG_CMSG_CLOEXEC: Final = lib.MSG_CMSG_CLOEXEC
SCM_CREDENTIALS: Final = lib.SCM_CREDENTIALS
SO_PASSCRED: Final = lib.SO_PASSCRED
SO_PEERCRED: Final = lib.SO_PEERCRED

# Limits.
PENDING_MAX: Final = lib.ADMA_PENDING_MAX  # requests outstanding, per direction
PARTS_MAX: Final = lib.ADMA_PARTS_MAX  # buffers of an object that travel by themselves
MESSAGE_MAX: Final = (1 << 63) - 1  # bytes: lengths come back as signed numbers
DIMS_MAX: Final = lib.ADMA_DIMS_MAX  # dimensions of an array that is copied
QUEUES_MAX: Final = lib.ADMA_COPY_WORKERS_MAX  # copy worker threads
NONCE_BYTES: Final = lib.ADMA_NONCE_BYTES

# Bytes.
INLINE_MAX: Final = lib.adma_inline_max()  # longest message that rides in its descriptor
EAGER_MAX: Final = lib.adma_eager_max()  # longest message that goes through the bounce ring
BULK_SIZE: Final = lib.adma_bulk_size()
SEGMENT_SIZE: Final = lib.adma_segment_size()
SPIN_MAX_NS: Final = lib.adma_spin_max_ns()  # a waiting thread spins at most this long
