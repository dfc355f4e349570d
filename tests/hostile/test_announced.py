# SPDX-License-Identifier: BSD-3-Clause
"""What an object announces is judged before memory is taken for it.

The peer is honest but for the numbers: it posts messages of its own making through the core.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Final

import pytest

import adma
from adma._core.constants import OBJECT, PART, PARTS_MAX, SLOT
from adma._core.operation import Operation
from adma.testing import Peer
from adma.testing.limits import HANG, KIB, MIB
from support.calls import hostile
from support.memory import OVERHEAD

LIMIT: Final = 16 * MIB
READ_ONLY: Final = 1 << 63
BODY: Final = pickle.dumps([1])


def post(
    channel: adma.Channel,
    head: bytes,
    parts: Sequence[int] = (),
    *,
    count: int | None = None,
    total: int | None = None,
) -> None:
    """An object: `count` parts and `total` bytes are announced, and parts of these sizes follow."""
    first = Operation(head, read=False, kind=OBJECT, flags=SLOT)
    first.req.parts = len(parts) if count is None else count
    first.req.total = len(head) + sum(parts) if total is None else total
    operations = [first]
    for nbytes in parts:
        operations.append(Operation(bytes(nbytes), read=False, kind=PART, flags=SLOT))
    for each in operations:
        channel._endpoint.bring_segment(each.req.length)
    channel._endpoint.post(operations)


def sizes(*told: int) -> bytes:
    return struct.pack(f"={len(told)}Q", *told)


@pytest.mark.parametrize("mechanism", ["auto", "shared"])
@pytest.mark.parametrize("count", [PARTS_MAX + 1, LIMIT // 8, 0xFFFFFFFF])
def test_more_parts_than_there_can_be(peer: Peer, mechanism: str, count: int) -> None:
    """Each of no bytes, so that the sum is within the limit."""
    channel = peer.connect(mechanism)
    task = peer.begin(hostile.recv_and_measure, LIMIT, 5.0)
    post(channel, bytes(LIMIT), count=count)
    error, growth, _ = task.result()
    assert error == "ProtocolError"
    assert growth <= 4 * LIMIT * OVERHEAD
    peer.call(hostile.close_spoilt)


@pytest.mark.parametrize(
    "told",
    [
        [1 << 62],
        [READ_ONLY | 1 << 62],
        [1 << 62, 1 << 62, 1 << 62, 1 << 62],
        [READ_ONLY - 1, READ_ONLY - 1],
        [512 * MIB],
    ],
    ids=str,
)
def test_parts_that_are_longer_than_announced(peer: Peer, told: list[int]) -> None:
    """Their sum is within the limit, as the peer says, and their sizes are not."""
    channel = peer.connect()
    task = peer.begin(hostile.recv_and_measure, LIMIT, 5.0)
    post(channel, sizes(*told) + BODY, count=len(told), total=LIMIT)
    error, growth, _ = task.result()
    assert error == "ProtocolError"
    assert growth <= LIMIT * OVERHEAD
    peer.call(hostile.close_spoilt)


def test_a_sum_above_the_limit(peer: Peer) -> None:
    channel = peer.connect()
    for part in (LIMIT, 1 << 62):
        task = peer.begin(hostile.recv_and_measure, LIMIT, 5.0)
        if part == LIMIT:
            post(channel, sizes(part) + BODY, count=1, total=1 << 62)
        error, growth, _ = task.result()
        assert error == "MessageTooLong"
        assert growth <= LIMIT * OVERHEAD
    peer.call(hostile.close_spoilt)


@pytest.mark.parametrize("mechanism", ["auto", "shared"])
@pytest.mark.parametrize("came", [0, 1, 64 * KIB, MIB - 1, MIB + 1])
def test_a_part_of_another_size_than_announced(peer: Peer, mechanism: str, came: int) -> None:
    """A buffer of an object holds what came, and nothing that was in this memory before."""
    channel = peer.connect(mechanism)
    body = pickle.dumps(
        ["x", pickle.PickleBuffer(bytearray(MIB))], 5, buffer_callback=lambda _: None
    )
    task = peer.begin(hostile.recv_and_measure, None, 5.0)
    post(channel, sizes(MIB) + body, [came], total=8 + len(body) + MIB)
    error, _, found = task.result()
    assert (error, found) == ("ProtocolError", b"")
    peer.call(hostile.close_spoilt)


def test_an_honest_object(peer: Peer) -> None:
    """As many parts as there can be."""
    channel = peer.connect()
    parts = [pickle.PickleBuffer(bytearray(64 * KIB)) for _ in range(PARTS_MAX + 1)]
    task = peer.begin(hostile.recv_and_measure, None, HANG)
    channel.send([0, *parts], timeout=HANG)
    error, _, found = task.result()
    assert (error, len(found)) == ("", (PARTS_MAX + 1) * 64 * KIB)
