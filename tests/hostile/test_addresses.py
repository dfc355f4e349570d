# SPDX-License-Identifier: BSD-3-Clause
"""Where its memory lies is told to a peer only if that peer may access the memory itself."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import adma
from adma.connect import record
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from support.calls import hostile
from support.endpoints import NOBODY_SPECIAL, InChild, become, pair
from support.segment import SLOTS_FIRST, Segment, Slot, mapped
from support.spoilt import spoilt, words

SIZES: Final = (0, 1, 5000, 100_000, LARGE)
#: Up to the first slots: what follows is not allocated yet.
USED: Final = Segment.blocks.offset + ctypes.sizeof(Slot) * SLOTS_FIRST


class Maps:
    """Where this process has memory that is its own."""

    def __init__(self, lowest: int = 0) -> None:
        found = re.findall(
            r"^([0-9a-f]+)-([0-9a-f]+) rw-p", Path("/proc/self/maps").read_text(), re.MULTILINE
        )
        ranges = [(int(begin, 16), int(end, 16)) for begin, end in found]
        # Not the shadow of a sanitizer, which is a part of all addresses that there are.
        self._ranges = [
            (begin, end) for begin, end in ranges if begin >= lowest and end - begin < 1 << 36
        ]

    def __contains__(self, word: int) -> bool:
        return any(begin <= word < end for begin, end in self._ranges)


def swap(channel: adma.Channel, first: bool) -> None:
    """Messages of all sizes in both directions, of zeros: nothing in them looks like an address."""
    for nbytes in SIZES:
        for writes in (first, not first):
            if writes:
                channel.write(bytes(nbytes), timeout=HANG)
            else:
                assert channel.read(bytearray(nbytes), timeout=HANG) == nbytes


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What handshakes of this process send."""
    sent: list[bytes] = []
    pack: Callable[..., bytes] = record.pack

    def note(*arguments: Any) -> bytes:
        data = pack(*arguments)
        sent.append(data)
        return data

    monkeypatch.setattr(record, "pack", note)
    return sent


def told(data: bytes, maps: Maps) -> list[int]:
    """Addresses of this process in a record, wherever they begin."""
    found = (struct.unpack_from("=Q", data, at)[0] for at in range(len(data) - 7))
    return [word for word in found if word in maps]


def shared_addresses(maps: Maps) -> Iterator[str]:
    for segment in mapped():
        for at, word in words(segment, USED):
            if word in maps:
                yield f"{word:#x} at byte {at:#x}"


@pytest.mark.root
def test_nothing_between_users(records: list[bytes]) -> None:
    """Neither in a record of the handshake nor in the memory that both map."""
    ours, theirs = pair()

    def call() -> None:
        ours.close()
        become(NOBODY_SPECIAL)
        with adma.from_socket(theirs, timeout=HANG) as channel:
            swap(channel, False)
            channel.read(bytearray(1), timeout=HANG)

    child = InChild(call, theirs)
    with adma.from_socket(ours, timeout=HANG) as channel:
        swap(channel, True)
        # An interpreter at a fixed address has its heap where small numbers are addresses.
        maps = Maps(lowest=1 << 32)
        assert len(records) == 4
        assert [told(data, maps) for data in records] == [[], [], [], []]
        assert list(shared_addresses(maps)) == []
        channel.write(b"!", timeout=HANG)
        child.result()


@pytest.mark.parametrize("mechanism", ["shared", "loopback:tcp"])
def test_nothing_by_a_stream(peer: Peer, mechanism: str) -> None:
    """Of one user, too: the writer's slot, and the reader's part of ours."""
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iwrite_own, "write", LARGE)
        peer.call(messages.iread, "read", LARGE)
        slot = end.post(LARGE, mechanism)
        end.until_matched("read")
        assert end.posted()[0].source == 0
        assert slot.destination == 0


def test_what_may_be_accessed_is_told(peer: Peer, records: list[bytes]) -> None:
    """Of one user, where each end copies from the memory of the other one: so this can find it."""
    with spoilt(peer) as end:
        peer.call(hostile.iwrite_own, "it", LARGE)
        assert end.posted()[0].source
        request = end.channel.iwrite(bytearray(LARGE))
        assert list(shared_addresses(Maps()))
        assert request.cancel()
        assert any(told(data, Maps()) for data in records)
