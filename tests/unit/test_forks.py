# SPDX-License-Identifier: BSD-3-Clause
"""Forks: who waits for whom, and what a child runs."""

from __future__ import annotations

import os
import threading

import pytest

from adma import forks
from adma.connect.claims import ALONE, Claims, Others
from adma.connect.pipe import Pipe
from adma.testing.limits import HANG
from adma.testing.observe import until
from support.endpoints import InChild, InThread


def test_a_fork_waits_for_a_block_of_another_thread() -> None:
    entered, leave = threading.Event(), threading.Event()
    over: list[bool] = []

    def block() -> None:
        with forks.held_off():
            entered.set()
            leave.wait(HANG)
            over.append(True)

    blocking = InThread(block)
    entered.wait(HANG)
    forking = InThread(lambda: InChild(lambda: list(over)).result())
    until("the fork waits", lambda: forks._gate._forks > 0)
    leave.set()
    assert forking.result() == [True]
    blocking.result()


def test_a_block_waits_for_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_FIRST", HANG)
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with forks.held_off():
            entered.set()
            leave.wait(HANG)

    blocking = InThread(first)
    entered.wait(HANG)
    forking = InThread(lambda: InChild(lambda: None).result())
    until("the fork waits", lambda: forks._gate._forks > 0)
    began: list[bool] = []

    def second() -> None:
        with forks.held_off():
            began.append(True)

    late = InThread(second)
    assert began == []
    leave.set()
    for thread in (blocking, forking, late):
        thread.result()
    assert began == [True]


def test_a_fork_waits_for_a_block_that_needs_another_one() -> None:
    """Both ends of a handshake in one process: one's step may wait for the other's."""
    entered, go_on = threading.Event(), threading.Event()

    def first() -> bool:
        with forks.held_off():
            entered.set()
            return go_on.wait(HANG)

    def second() -> None:
        with forks.held_off():
            go_on.set()

    blocking = InThread(first)
    entered.wait(HANG)
    forking = InThread(lambda: InChild(go_on.is_set).result())
    until("the fork waits", lambda: forks._gate._forks > 0)
    helping = InThread(second)
    assert forking.result()
    helping.result()
    assert blocking.result()


def test_a_fork_in_a_block_of_its_own_thread() -> None:
    def inner() -> bool:
        with forks.held_off():
            return True

    with forks.held_off(), forks.held_off():
        child = InChild(inner)
    assert child.result()
    assert forks._gate._inside == {}


def test_a_block_that_does_not_end_does_not_keep_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_PATIENCE", forks._FIRST)
    entered, leave = threading.Event(), threading.Event()

    def block() -> None:
        with forks.held_off():
            entered.set()
            leave.wait(HANG)

    blocking = InThread(block)
    entered.wait(HANG)
    assert InChild(lambda: forks._gate._inside).result() == {}
    leave.set()
    blocking.result()


class _Owner:
    def __init__(self) -> None:
        self.told: list[str] = []


def test_owners_are_told_as_long_as_they_live() -> None:
    def fail(owner: _Owner) -> None:
        raise OSError

    owners = [_Owner(), _Owner()]
    forks.in_child(owners[0], fail)
    forks.before(owners[1], lambda owner: owner.told.append("before"))
    forks.in_child(owners[1], lambda owner: owner.told.append("child"))
    registered = len(forks._in_child)
    assert InChild(lambda: owners[1].told).result() == ["before", "child"]
    assert owners[1].told == ["before"]
    owners.clear()
    assert len(forks._in_child) == registered - 2


def test_an_owner_that_another_one_drops_has_its_turn() -> None:
    kept, told = [_Owner()], []
    first = _Owner()
    forks.in_child(first, lambda owner: kept.clear())
    forks.in_child(kept[0], lambda owner: told.append("child"))
    assert InChild(lambda: (len(kept), told)).result() == (0, ["child"])


# Claims


def test_whoever_leaves_knows_who_is_left() -> None:
    claims = Claims()
    ask, answer = os.pipe()

    def inherit() -> Others:
        os.close(answer)
        os.read(ask, 1)
        return claims.withdraw(False)

    child = InChild(inherit)
    assert claims.withdraw(True) == Others(hold=True, serve=False)
    os.close(answer)
    assert child.result() == ALONE
    os.close(ask)


def test_one_that_was_killed_does_not_count_for_ever() -> None:
    claims = Claims()
    InChild(claims.add).result()  # it ends without a word
    assert claims.withdraw(True) == ALONE


def test_a_pipe_that_was_closed_behind_its_back() -> None:
    """Its numbers are somebody else's by now, who gets no byte and loses none."""
    pipe = Pipe()
    ends = [pipe.out, pipe._into]
    theirs = os.pipe()
    out, into = (os.dup2(fd, number) for fd, number in zip(theirs, ends, strict=True))
    for fd in theirs:
        os.close(fd)
    os.set_blocking(out, False)
    try:
        pipe.put()
        with pytest.raises(BlockingIOError):
            os.read(out, 1)
        os.write(into, b"theirs")
        pipe.take(10)
        pipe.close()
        assert os.read(out, 10) == b"theirs"
    finally:
        os.close(out)
        os.close(into)
