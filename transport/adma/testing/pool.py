# SPDX-License-Identifier: BSD-3-Clause
"""Peers that wait for the next test, since to start an interpreter takes longer than most tests.

A peer comes back only if it did not end, and after it showed that it is as it was when it
started: no channel, descriptor, thread or mapping more. One spare peer is always starting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .peer import Peer

_idle: list[Peer] = []
_SPARE = 1


def take(preload: tuple[str, ...] = ()) -> Peer:
    """A peer that nobody uses, and that has imported these modules."""
    fitting = [peer for peer in _idle if peer.preload == preload]
    peer = fitting.pop(0) if fitting else Peer(preload=preload)
    if peer in _idle:
        _idle.remove(peer)
    _idle.extend(Peer(preload=preload) for _ in range(_SPARE - len(fitting)))
    return peer


def give_back(peer: Peer) -> None:
    """Keep it for the next test; AssertionError when it holds something or ended by itself."""
    if peer.ended:
        peer.close()
        return
    try:
        peer.rest()
    except BaseException:
        peer.discard()
        raise
    if sum(other.preload == peer.preload for other in _idle) > _SPARE:
        peer.close()
    else:
        _idle.insert(0, peer)


@contextmanager
def borrowed(preload: tuple[str, ...] = ()) -> Iterator[Peer]:
    """Take a peer and give it back; after an error it is killed."""
    peer = take(preload)
    try:
        yield peer
    except BaseException:
        peer.discard()
        raise
    if peer in Peer.alive:
        give_back(peer)


def idle() -> list[Peer]:
    """The peers that no test uses now; what they hold is not a leak."""
    return list(_idle)


def close() -> None:
    """End all of them."""
    while _idle:
        _idle.pop().close()
