# SPDX-License-Identifier: BSD-3-Clause
"""Processes that run out of descriptors: no message is lost, and no mechanism for long."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest

import adma
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import CELL, HANG, LARGE
from adma.testing.observe import until, until_asleep
from support import confine
from support.calls import confined
from support.endpoints import InChild

LEFT = range(9)
BULK = 2 * CELL  # bytes that `auto` sends through a bulk segment
SHORT = "ulimit -n"


# The handshake


def limited(left: int, run: Callable[[], Any]) -> Callable[[], Any]:
    """A function that runs while so many descriptors can be opened."""

    def inside() -> Any:
        confine.leave_descriptors(left)
        try:
            return run()
        finally:
            confine.free_descriptors()

    return inside


def meet(sock: socket.socket) -> str:
    """Make a channel, and pass a message each way over each mechanism that works."""
    with adma.from_socket(sock, timeout=HANG) as channel:
        writing = channel.iwrite(bytes(BULK))
        assert channel.read(bytearray(BULK), timeout=HANG) == BULK
        writing.wait(timeout=HANG)
        refused = channel.explain(BULK).refusals
        return ",".join(name for name in ("shared", "mapped:cma") if name in refused)


def told(run: Callable[[], str]) -> str:
    """What a function returned, or the text of its error."""
    try:
        return run()
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]}: {error}"


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("short", ["here", "there"])
def test_a_handshake_works_or_tells_both_ends(left: int, short: str) -> None:
    """And no mechanism is lost for the life of a channel because of a moment's shortage."""
    ours, theirs = socket.socketpair()
    ends = [lambda: told(lambda: meet(ours)), lambda: told(lambda: meet(theirs))]
    if short == "there":
        ends[1] = limited(left, ends[1])
    child = InChild(ends[1], theirs)
    here = limited(left, ends[0])() if short == "here" else ends[0]()
    there = child.result()
    if here or there:
        assert here.startswith("EMFILE: ")
        assert there.startswith("EMFILE: ")
        assert SHORT in here
        assert SHORT in there
        assert "refused the handshake" in (here if short == "there" else there)


# The bulk segment


@pytest.mark.parametrize("left", [0, 1, 2, 8])
def test_a_writer_without_descriptors(fresh_peers: tuple[Peer, Peer], left: int) -> None:
    """Another mechanism carries the message. When there are descriptors again, `shared` does."""
    writer, reader = fresh_peers
    writer.connect_to(reader)
    writer.call(confined.leave_descriptors, left)
    send(writer, reader)
    writer.call(confined.free_descriptors)
    until("the writer makes a segment", lambda: send(writer, reader) > 0)


@pytest.mark.parametrize("left", [0, 1, 8])
def test_a_reader_without_descriptors(fresh_peers: tuple[Peer, Peer], left: int) -> None:
    """So does it where the segment came, and could not be received."""
    writer, reader = fresh_peers
    writer.connect_to(reader)
    reader.call(confined.leave_descriptors, left)
    for _ in range(3):
        send(writer, reader)
    reader.call(confined.free_descriptors)
    until("the writer passes another one", lambda: send(writer, reader) > 0)


def send(writer: Peer, reader: Peer) -> int:
    """Pass a message that would travel by `shared`; how many have done so."""
    reading = reader.begin(messages.read_expected, BULK, 1)
    writer.call(messages.write, BULK, 1)
    reading.result()
    return int(writer.call(messages.stats)["mechanism:shared"])


def test_a_forced_mechanism_tells_who_is_short(fresh_peers: tuple[Peer, Peer]) -> None:
    """Nothing else may carry the message: an error, and the next try succeeds."""
    writer, reader = fresh_peers
    writer.connect_to(reader, "shared")
    writer.call(confined.leave_descriptors, 0)
    with pytest.raises(OSError, match=SHORT):
        writer.call(messages.write, BULK, 1)
    writer.call(confined.free_descriptors)
    reading = reader.begin(messages.read_expected, BULK, 1)
    writer.call(messages.write, BULK, 1)
    reading.result()


def test_a_forced_mechanism_tells_both_ends(fresh_peers: tuple[Peer, Peer]) -> None:
    """The reader cannot receive the segment; both calls fail, and later ones succeed again."""
    writer, reader = fresh_peers
    writer.connect_to(reader, "shared")
    reader.call(confined.leave_descriptors, 0)
    assert not passes(writer, reader)
    reader.call(confined.free_descriptors)
    until("the writer passes another one", lambda: passes(writer, reader))


def passes(writer: Peer, reader: Peer) -> bool:
    """Does a message arrive? Otherwise both ends are told of the shortage."""
    reading = reader.begin(messages.read_expected, BULK, 1)
    errors = []
    for finish in (lambda: writer.call(messages.write, BULK, 1), reading.result):
        try:
            finish()
        except OSError as error:
            errors.append(str(error))
    assert len(errors) in (0, 2)
    assert all(SHORT in error for error in errors)
    return not errors


# A limit that is set once everything is open


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_limit_of_nothing(limit: int) -> None:
    """The process sleeps as before, passes messages, and sees the end of its peer."""
    ours, theirs = socket.socketpair()

    def run() -> list[int]:
        with adma.from_socket(theirs, timeout=HANG) as channel:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            buffer = bytearray(LARGE)
            got = [channel.read(buffer, timeout=HANG) for _ in range(2)]
            channel.write(b"now", timeout=HANG)
            with pytest.raises(adma.ChannelClosed):
                channel.read(buffer, timeout=HANG)
            return got

    child = InChild(run, theirs)
    with adma.from_socket(ours, timeout=HANG) as channel:
        for nbytes in (8, LARGE):
            channel.write(bytes(nbytes), timeout=HANG)
        channel.read(bytearray(3), timeout=HANG)
        until_asleep(child.pid)
    assert child.result() == [8, LARGE]
