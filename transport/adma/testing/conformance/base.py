# SPDX-License-Identifier: BSD-3-Clause
"""What each part of the kit starts from: mechanisms, a peer, a channel, and a check for leaks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest

import adma

from .. import pool
from ..leaks import Scope, left_behind, snapshot
from ..peer import Peer, Wrap
from ..thread_peer import ThreadPeer


class Conformance:
    """The base of all parts: class attributes say what is tested.

    `mechanisms`: each test runs once for each name, forced; "auto" forces none.
    `preload`: modules that a peer imports before it connects, as those that register a mechanism.
    `wrap`: called with each `adma.Channel`, at both ends; what it returns is what is tested.
    `check_leaks`: does the kit look at what this process holds after each test?
    """

    mechanisms: ClassVar[Sequence[str]] = ("auto",)
    preload: ClassVar[Sequence[str]] = ()
    wrap: ClassVar[Wrap | None] = None
    check_leaks: ClassVar[bool] = True

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Once for each mechanism. Pytest calls it."""
        if "mechanism" in metafunc.fixturenames:
            metafunc.parametrize("mechanism", self.mechanisms)

    def connect(self, peer: Any, mechanism: str) -> Any:
        """This process's end of a new channel to `peer`, for who makes channels in another way."""
        return peer.connect(mechanism, wrap=type(self).wrap)

    @pytest.fixture(autouse=True)
    def _nothing_left(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Fail a test that leaves anything in this process. Peers look after their own."""
        if not self.check_leaks:
            yield
            return
        before = snapshot(_scope())
        failed = request.session.testsfailed
        yield
        if request.session.testsfailed != failed:
            return  # its frames still hold what it used
        outstanding = adma.stats()["outstanding"]
        adma.configure()  # waits for copies, and stops the threads that make them
        assert not outstanding, f"{outstanding} copies were outstanding"
        left = left_behind(before, _scope())
        if left:
            pytest.fail("left behind by this test:\n  " + "\n  ".join(left), pytrace=False)

    @pytest.fixture
    def peer(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        """A second process, looked over for leaks after the test."""
        request.config.add_cleanup(pool.close)
        failed = request.session.testsfailed
        with pool.borrowed(tuple(self.preload)) as peer:
            yield peer
            if request.session.testsfailed != failed:
                peer.discard()  # it may be in the middle of a call

    @pytest.fixture
    def channel(self, peer: Any, mechanism: str) -> Any:
        """Our end of a channel to `peer`. The test fails when the mechanism does not work here."""
        return self.connect(peer, mechanism)


class InProcess(Conformance):
    """The same, with the peer in a thread of this process."""

    @pytest.fixture
    def peer(self) -> Iterator[Any]:
        """A thread of this process that has the other end."""
        peer = ThreadPeer()
        yield peer
        peer.rest()


def _scope() -> Scope:
    """Whose segments count as ours, and which children and descriptors are the pool's."""
    idle = pool.idle()
    return Scope(
        pids=frozenset({os.getpid(), *Peer.pids}),
        other_children=frozenset(peer.pid for peer in idle),
        other_fds=frozenset(peer.fd for peer in idle),
    )
