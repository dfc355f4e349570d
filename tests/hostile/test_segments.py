# SPDX-License-Identifier: BSD-3-Clause
"""Memory that a peer of another user passes: none of it makes the victim die or read what is not.

Victim and attacker are forked children with uids of their own. The attacker is an honest end but
for the memory that it passes, in the handshake or in mid-life.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pytest

import adma
from adma._core import handshake as core
from adma._core._native import ffi, lib
from adma._core.constants import BULK_SIZE
from adma.mechanisms import segment
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern
from support.endpoints import InChild, become, pair
from support.silent_file import silent_file

VICTIM, ATTACKER, THIRD = 4321, 4322, 4323
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
RINGS = int(lib.adma_segment_size())
HUGE = 2 << 20  # bytes of a huge page, where there are none of other sizes
BYTE_SEGMENT = b"s"  # worker/peer.c
_MFD_HUGETLB = 4
_PUNCH_HOLE, _KEEP_SIZE = 2, 1

_libc = ctypes.CDLL(None, use_errno=True)

root = pytest.mark.root


def sealed(nbytes: int, flags: int = 0) -> int:
    """A sealed memfd of so many bytes, none of which is allocated."""
    fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC | flags)
    os.ftruncate(fd, nbytes)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def huge(nbytes: int) -> int:
    """The same in huge pages, of which there may be none left: a hole in it is a SIGBUS."""
    try:
        return sealed((nbytes + HUGE - 1) // HUGE * HUGE, _MFD_HUGETLB)
    except OSError as error:
        pytest.skip(f"no memfds of huge pages here: {error}")


def unsealed(nbytes: int) -> int:
    fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, nbytes)
    return fd


def on_disk(nbytes: int) -> int:
    """A file of no name, which can be cut short at any time."""
    with tempfile.TemporaryFile(dir="/var/tmp") as file:
        file.truncate(nbytes)
        return os.dup(file.fileno())


def in_shm(nbytes: int) -> int:
    """As a POSIX segment is: it cannot be sealed."""
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.truncate(nbytes)
        return os.dup(file.fileno())


def a_pipe(nbytes: int) -> int:
    del nbytes
    out, into = os.pipe()
    os.close(into)
    return out


KINDS: dict[str, Callable[[int], int]] = {
    "huge pages": huge,
    "longer": lambda nbytes: sealed(nbytes + mmap.PAGESIZE),
    "shorter": lambda nbytes: sealed(nbytes - mmap.PAGESIZE),
    "much longer": lambda nbytes: sealed(2 * nbytes),
    "empty": lambda nbytes: sealed(0),
    "not sealed": unsealed,
    "a file": on_disk,
    "a POSIX segment": in_shm,
    "a pipe": a_pipe,
}


# ---- one end's judgement ----


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Callable[[int], int]:
    return KINDS[request.param]


def test_a_bulk_segment_that_is_none(kind: Callable[[int], int]) -> None:
    fd = kind(BULK_SIZE)
    try:
        with pytest.raises(adma.ProtocolError, match="the peer's bulk segment"):
            segment.check(fd, same_user=False)
    finally:
        os.close(fd)


def test_rings_that_are_none(kind: Callable[[int], int]) -> None:
    fd = kind(RINGS)
    try:
        with pytest.raises(adma.ProtocolError):
            core.map_segment(fd, same_user=False)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["huge pages", "longer", "shorter", "empty", "a pipe"])
def test_between_processes_of_one_user_only_seals_are_not_asked_for(name: str) -> None:
    for nbytes, check in (
        (BULK_SIZE, lambda fd: segment.check(fd, same_user=True)),
        (RINGS, lambda fd: core.map_segment(fd, same_user=True)),
    ):
        fd = KINDS[name](nbytes)
        try:
            with pytest.raises(adma.ProtocolError):
                check(fd)
        finally:
            os.close(fd)


@root
@pytest.mark.parametrize("make", [on_disk, in_shm, unsealed])
def test_a_third_users_memory_passed_by_ones_own_user(make: Callable[[int], int]) -> None:
    """That user can take it away, and passes it on to somebody whom this process trusts."""
    here, there = pair()

    def third() -> None:
        become(THIRD)
        socket.send_fds(there, [b"!"], [make(BULK_SIZE)])

    InChild(third).result()
    _, (fd,), _, _ = socket.recv_fds(here, 1, 1)
    try:
        with pytest.raises(adma.ProtocolError, match="another user"):
            segment.check(fd, same_user=True)
    finally:
        os.close(fd)
        here.close()
        there.close()


@root
@pytest.mark.parametrize("nbytes", [BULK_SIZE, RINGS])
def test_a_file_that_does_not_answer(nbytes: int) -> None:
    """Of a file system in user space. Nothing is asked that it would have to answer itself."""

    def judge() -> str:
        become(VICTIM)
        with pytest.raises(adma.ProtocolError) as caught:
            if nbytes == BULK_SIZE:
                segment.check(fd, same_user=False)
            else:
                core.map_segment(fd, same_user=False)
        os.write(into, b"!")
        return str(caught.value)

    try:
        with silent_file() as fd:
            out, into = os.pipe()
            victim = InChild(judge)
            os.close(into)
            ready = select.select([out], [], [], HANG / 4)[0] and os.read(out, 1)
            os.close(out)
    except OSError as error:
        pytest.skip(f"{error}")
    assert "sealed" in victim.result()  # it ends when the file system does
    assert ready == b"!"


def test_the_pages_that_every_channel_needs_are_there_before_they_are_used() -> None:
    """The peer need not have allocated any. A lack of memory is an error then, and no SIGBUS."""
    fd = sealed(RINGS)
    try:
        with open(fd, "r+b", buffering=0, closefd=False) as file:
            file.write(ffi.buffer(_magic()))
        sparse = os.fstat(fd).st_blocks
        core.unmap_segment(core.map_segment(fd, same_user=False))
        honest, mapped = core.make_segment()
        core.unmap_segment(mapped)
        needed = os.fstat(honest).st_blocks
        os.close(honest)
        assert sparse < needed <= os.fstat(fd).st_blocks
    finally:
        os.close(fd)


def _magic() -> Any:
    """The first word of a segment."""
    fd, mapped = core.make_segment()
    os.close(fd)
    word = ffi.new("uint64_t *", ffi.cast("uint64_t *", mapped)[0])
    core.unmap_segment(mapped)
    return word


# ---- two ends ----


class Meeting:
    """A victim, which calls `use` with its channel, and an attacker, which calls `attack`."""

    def __init__(
        self,
        use: Callable[[adma.Channel], Any],
        attack: Callable[[adma.Channel, socket.socket], Any],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        here, there = pair()

        def victim() -> Any:
            there.close()
            become(VICTIM)
            with adma.from_socket(here, timeout=HANG, mechanism="shared") as channel:
                return use(channel)

        def attacker() -> Any:
            here.close()
            become(ATTACKER)
            prepare()
            own = there.dup()
            channel = adma.from_socket(there, timeout=HANG, mechanism="shared")
            try:
                return attack(channel, own)
            finally:
                channel.close(timeout=0)

        self._victim = InChild(victim)
        self._attacker = InChild(attacker)
        here.close()
        there.close()

    def result(self) -> Any:
        """What the victim returned or raised, whatever became of the attacker."""
        try:
            return self._victim.result()
        finally:
            try:
                self._attacker.result()
            except (adma.AdmaError, OSError):
                pass


@root
def test_rings_in_the_handshake(kind: Callable[[int], int]) -> None:
    def prepare() -> None:
        _, mapped = core.make_segment()
        core.make_segment = lambda: (kind(RINGS), mapped)  # type: ignore[assignment]
        core.is_sealed = lambda fd: True  # type: ignore[assignment]

    os.close(kind(RINGS))  # skips where there are none
    with pytest.raises(adma.ProtocolError):
        Meeting(lambda channel: None, lambda channel, own: None, prepare).result()


@root
@pytest.mark.parametrize("times", [1, 40])
def test_a_bulk_segment_in_mid_life(kind: Callable[[int], int], times: int) -> None:
    """It is passed in place of the first one, once or often.

    The attacker's own library passes a sound segment after it. So its next message arrives, or
    fails as one that breaks the protocol; other bytes never come.
    """

    def attack(channel: adma.Channel, own: socket.socket) -> None:
        fd = kind(BULK_SIZE)
        for _ in range(times):
            socket.send_fds(own, [BYTE_SEGMENT], [fd])
        channel.write(pattern(LARGE, 1), timeout=HANG)
        channel.read(bytearray(1), timeout=HANG)

    def use(channel: adma.Channel) -> bool:
        buffer = bytearray(LARGE)
        try:
            whole = channel.read(buffer, timeout=HANG) == LARGE and buffer == pattern(LARGE, 1)
        except (adma.ProtocolError, adma.MechanismUnavailable):
            return True
        channel.write(b"!", timeout=HANG)
        return whole

    os.close(kind(BULK_SIZE))  # skips where there are none
    assert Meeting(use, attack).result()


@root
def test_holes_in_mid_life() -> None:
    """The attacker punches them into both ends' rings while the victim works, which no seal stops.

    The pages come again, as zeros. Whatever that does to the messages, each call ends, and so does
    the close.
    """
    rings: list[int] = []

    def prepare() -> None:
        make, take = core.make_segment, core.map_segment

        def keep_own() -> Any:
            fd, mapped = make()
            rings.append(os.dup(fd))
            return fd, mapped

        def keep_theirs(fd: int, same_user: bool) -> Any:
            rings.append(os.dup(fd))
            return take(fd, same_user)

        core.make_segment, core.map_segment = keep_own, keep_theirs

    def attack(channel: adma.Channel, own: socket.socket) -> None:
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            for fd in rings:
                punched = _libc.fallocate(
                    fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(RINGS)
                )
                assert punched == 0
            for step in (channel.write, channel.read):
                try:
                    step(bytearray(LARGE), timeout=0.01)
                except (adma.AdmaError, OSError):
                    pass

    def use(channel: adma.Channel) -> float:
        end = time.monotonic() + 2.0
        longest = 0.0
        while time.monotonic() < end:
            for step, nbytes in ((channel.write, 1), (channel.read, LARGE), (channel.write, LARGE)):
                began = time.monotonic()
                try:
                    step(bytearray(nbytes), timeout=0.05)
                except (adma.AdmaError, OSError):
                    pass
                longest = max(longest, time.monotonic() - began)
        began = time.monotonic()
        channel.close(timeout=0.5)
        return max(longest, time.monotonic() - began)

    assert Meeting(use, attack, prepare).result() < HANG / 2
