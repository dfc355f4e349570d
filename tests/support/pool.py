# SPDX-License-Identifier: BSD-3-Clause
"""Peers that wait for the next test, since to start an interpreter takes longer than most tests.

A peer comes back only if it ended nothing, and after it showed that it is as it was when
it started: no channel, descriptor, thread or mapping more. One more is always starting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from support.peer import Peer

_idle: list[Peer] = []
_SPARE = 1


def take() -> Peer:
    """A peer that nobody uses."""
    peer = _idle.pop(0) if _idle else Peer()
    while len(_idle) < _SPARE:
        _idle.append(Peer())
    return peer


def give_back(peer: Peer) -> None:
    """Keep it for the next test; AssertionError when it holds something, or ended by surprise."""
    if peer.ended:
        peer.close()
        return
    try:
        peer.rest()
    except BaseException:
        peer.discard()
        raise
    if len(_idle) > _SPARE:
        peer.close()
    else:
        _idle.insert(0, peer)


@contextmanager
def borrowed() -> Iterator[Peer]:
    """Take one and give it back; after an error it is ended."""
    peer = take()
    try:
        yield peer
    except BaseException:
        peer.discard()
        raise
    give_back(peer)


def idle() -> list[Peer]:
    """Those that no test uses: what they hold is nobody's leak."""
    return list(_idle)


def close() -> None:
    """End all of them."""
    while _idle:
        _idle.pop().close()
