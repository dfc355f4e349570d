# SPDX-License-Identifier: BSD-3-Clause
"""What a channel and a request say about themselves."""

from __future__ import annotations

import pytest

import adma
from support.acts import messages
from support.limits import CELL, HANG, LARGE
from support.mechanisms import KNOWN
from support.peer import Peer
from support.peer_main import End

SIZES = [0, 1, CELL, LARGE]


def test_a_forced_mechanism_carries_every_size(
    peer: Peer, channel: adma.Channel, mechanism: str
) -> None:
    """`explain` names it, and only it, as the choice; `auto` names one for each size."""
    for nbytes in SIZES:
        text = str(channel.explain(nbytes))
        assert text.strip()
        if mechanism != "auto":
            assert mechanism in text.splitlines()[0]
    writing = peer.begin(messages.write_all, SIZES)
    messages.read_all(End.of(channel), SIZES)
    writing.result()


def test_explain_names_every_mechanism(peer: Peer, channel: adma.Channel) -> None:
    """Why this one, and why not each of the others."""
    text = str(channel.explain(LARGE))
    assert all(name in text for name in KNOWN), text
    peer.call(messages.nothing)


@pytest.mark.parametrize("nbytes", [-1, "many", None])
def test_explain_wants_a_size(channel: adma.Channel, nbytes: object) -> None:
    with pytest.raises((ValueError, TypeError), match="nbytes"):
        channel.explain(nbytes)  # type: ignore[arg-type]


def test_a_request_tells_where_it_stands(peer: Peer, channel: adma.Channel) -> None:
    request = channel.iread(bytearray(LARGE))
    assert "read" in repr(request)
    assert "4 MiB" in repr(request)
    assert str(peer.pid) in repr(request)
    writing = peer.begin(messages.write, LARGE)
    request.wait(timeout=HANG)
    writing.result()
    assert "done" in repr(request)


def test_a_channel_tells_its_peer(peer: Peer, channel: adma.Channel) -> None:
    assert str(peer.pid) in repr(channel)
