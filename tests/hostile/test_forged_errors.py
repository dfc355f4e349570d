# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of errors that a peer tells are errnos, or codes that a transfer may end with.

Others mean something inside the library: that a call has to be made once more, that the request was
cancelled here, that this end has closed.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Final

import pytest

import adma
from adma._core._native import lib
from adma.connect.record import Entry, Wire
from adma.handshake.handshake import shake
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from support.endpoints import InThread, hello_entry, pair, segment_fd, terms
from support.segment import CELLS, SLOT, word
from support.spoilt import SHUT, spoilt

MEANS_SOMETHING: Final = {
    "closed": lib.ADMA_E_CLOSED,
    "died": lib.ADMA_E_DIED,
    "kind": lib.ADMA_E_KIND,
    "cancelled": lib.ADMA_E_CANCELLED,
    "closed here": lib.ADMA_E_CLOSED_HERE,
    "forked": lib.ADMA_E_FORKED,
    "full": lib.ADMA_E_FULL,
    "pending": lib.ADMA_E_PENDING,
    "bulk": lib.ADMA_E_BULK,
    "lost": lib.ADMA_E_LOST,
    "descriptor": lib.ADMA_E_DESCRIPTOR,
    "no errno": 134,
    "nothing": 500,
    "much": 0x7FFFFFFF,
    "below 0": 0xFFFFFFF5,
}


def ends_with(peer: Peer, name: str) -> BaseException:
    with pytest.raises((adma.AdmaError, OSError)) as caught:
        peer.call(messages.wait, name, 1.0)
    return caught.value


@pytest.mark.parametrize("mechanism", ["shared", "loopback:tcp"])
@pytest.mark.parametrize("number", MEANS_SOMETHING)
def test_the_error_of_a_write(peer: Peer, mechanism: str, number: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(messages.iwrite, "it", LARGE)
        end.match(mechanism, cursor=SHUT, error=MEANS_SOMETHING[number])
        assert isinstance(ends_with(peer, "it"), adma.ProtocolError)


@pytest.mark.parametrize("number", [*MEANS_SOMETHING, "too long", "ended"])
def test_the_error_of_a_read(peer: Peer, number: str) -> None:
    """What only a reader tells is no error of a read either."""
    others = {"too long": lib.ADMA_E_TOOLONG, "ended": lib.ADMA_E_ENDED}
    with spoilt(peer, "shared") as end:
        peer.call(messages.iread, "it", LARGE)
        slot = end.post(LARGE, "shared")
        end.until_matched("it")
        slot.error = word(1, (MEANS_SOMETHING | others)[number])
        slot.cursor = word(1, SHUT)
        assert isinstance(ends_with(peer, "it"), adma.ProtocolError)


@pytest.mark.parametrize("number", [errno.EIO, errno.EFAULT, errno.ENOMEM, 133])
def test_an_errno_is_believed(peer: Peer, number: int) -> None:
    with spoilt(peer, "shared") as end:
        peer.call(messages.iwrite, "it", LARGE)
        end.match("shared", cursor=SHUT, error=number)
        error = ends_with(peer, "it")
        assert isinstance(error, OSError)
        assert error.errno == number
        assert not isinstance(error, adma.AdmaError)


def test_a_write_is_published_once(peer: Peer) -> None:
    """The number by which the core asks its caller for memory, and to come again."""
    with spoilt(peer, "shared") as end:
        writing = peer.begin(messages.write, LARGE)
        deadline = time.monotonic() + HANG
        while not any(cell.carry == SLOT for cell in end.remote.cells):
            assert time.monotonic() < deadline
        end.match("shared", cursor=SHUT, error=lib.ADMA_E_BULK)
        os.write(end.channel._endpoint.link.sock, b"w")
        with pytest.raises(adma.ProtocolError):
            writing.result()
        assert sum(cell.carry == SLOT for cell in end.remote.cells[:CELLS]) == 1


# In the handshake


def refused(number: int) -> BaseException:
    """What a handshake raises whose peer refuses it with this number."""
    ours, theirs = pair()

    def act() -> None:
        with theirs, Wire(theirs, time.monotonic() + HANG).receive():
            Wire(theirs, time.monotonic() + HANG).send(
                lib.ADMA_ROUND_REFUSED, [Entry(0, number, b"so")]
            )

    other = InThread(act)
    with ours, pytest.raises(Exception, match="refuse") as caught:
        shake(ours, terms(), HANG)
    other.result()
    return caught.value


@pytest.mark.parametrize(
    "number", [-1, 134, 500, *sorted({*MEANS_SOMETHING.values()} - {134, 500})]
)
def test_a_refusal(number: int) -> None:
    number -= 1 << 32 if number >= 1 << 31 else 0
    assert isinstance(refused(number), adma.ProtocolError)


def test_a_refusal_with_an_errno() -> None:
    error = refused(errno.ENOSPC)
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC


@pytest.mark.parametrize("number", [-1, 134, lib.ADMA_E_BULK, 0x7FFFFFFF])
def test_a_mechanism_that_is_refused(number: int) -> None:
    """What is shown to the user of it is an errno."""
    ours, theirs = pair()
    ids = (lib.ADMA_MECH_SHARED, lib.ADMA_MECH_CMA)

    def act(sock: socket.socket) -> None:
        wire = Wire(sock, time.monotonic() + HANG)
        wire.send(lib.ADMA_ROUND_HELLO, [hello_entry(mechanisms=sum(1 << each for each in ids))])
        segments = [Entry(0, 0, b"", [segment_fd()])]
        for round_ in (lib.ADMA_ROUND_OFFER, lib.ADMA_ROUND_ANSWER, lib.ADMA_ROUND_VERDICT):
            with wire.receive():
                wire.send(round_, [*segments, *(Entry(each, number, b"no") for each in ids)])
            for segment in segments:
                os.close(segment.fds[0])
            segments = []
        with wire.receive():
            pass

    other = InThread(lambda: act(theirs))
    with ours:
        link = shake(ours, terms(), HANG)
        for direction in (link.out, link.in_):
            refusal = direction["mapped:cma"]
            assert refusal is not None
            assert refusal.errno in errno.errorcode
        ours.detach()
        link.discard()
    other.result()
    theirs.close()
