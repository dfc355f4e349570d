# SPDX-License-Identifier: BSD-3-Clause
"""A stream is complete only when this end has moved its bytes, whatever the peer's words say.

The victim reads into a buffer that holds what another client sent, or writes. Its peer brings
nothing, or a part, and forges the words of the slot.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from typing import Final

import pytest

import adma
from adma._core.constants import MECH_TCP
from adma.messages.worker import Worker
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, LARGE
from adma.testing.observe import until
from support.calls import hostile
from support.endpoints import NOBODY_SPECIAL, InChild, become, pair
from support.segment import AGAIN, MATCHED, POSTED, SLOT, HostileRing, Spoiler, mapped, word
from support.spoilt import CHUNKS, SHUT, Spoilt, spoilt
from support.workers import connect, settle

ROOM: Final = 600_000
STREAMS: Final = ("shared", "loopback:tcp")
ENDED: Final = (adma.ProtocolError, adma.MessagesLost, OSError)


def chunks(mechanism: str, nbytes: int = ROOM) -> int:
    return -(-nbytes // CHUNKS[mechanism])


def outcome(end: Spoilt, name: str) -> BaseException | None:
    """How the request ended; None: it says that all bytes have been moved."""
    try:
        end.victim.call(messages.wait, name, 1.0)
    except (adma.AdmaError, OSError) as error:
        return error
    return None


FORGED: Final = {
    "all is done": lambda n: {"cursor": SHUT | n, "done": n},
    "all but the close": lambda n: {"cursor": n, "done": n},
    "one is done": lambda n: {"cursor": 1, "done": 1},
    "more than there are": lambda n: {"cursor": SHUT | (n + 1), "done": n + 1},
    "closed at once": lambda n: {"cursor": SHUT, "done": 0},
    "closed after one": lambda n: {"cursor": SHUT | 1, "done": 1},
    "done, never claimed": lambda n: {"cursor": 0, "done": n},
}


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize("forged", FORGED)
def test_a_read_of_which_nothing_came(peer: Peer, mechanism: str, forged: str) -> None:
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iread_into_secrets, "it", ROOM)
        slot = end.post(ROOM, mechanism)
        end.until_matched("it")
        fields = FORGED[forged](chunks(mechanism))
        # The cursor first: otherwise the victim might see what no forger wants to be seen.
        for name, value in fields.items():
            setattr(slot, name, word(1, value))
        error = outcome(end, "it")
        assert isinstance(error, ENDED), error
        assert not isinstance(error, TimeoutError)


@pytest.mark.parametrize("mechanism", STREAMS)
def test_a_read_of_which_a_part_came(peer: Peer, mechanism: str) -> None:
    """The last bytes are missing."""
    with spoilt(peer, mechanism) as end:
        peer.call(hostile.iread_into_secrets, "it", ROOM)
        slot = end.post(ROOM, mechanism)
        end.until_matched("it")
        bring(end, mechanism, slot.base)
        until(
            "a part has come",
            lambda: not peer.call(messages.check, "it") and arrived(end, mechanism, slot.base),
        )
        n = chunks(mechanism)
        slot.cursor, slot.done = word(1, SHUT | n), word(1, n)
        assert isinstance(outcome(end, "it"), adma.ProtocolError)


def bring(end: Spoilt, mechanism: str, base: int) -> None:
    """Two chunks of `shared`; of TCP a few bytes, which are no chunk."""
    if mechanism == "shared":
        end.slot.cursor = word(1, 2)
        end.local.filled = base + 2
        os.write(end.channel._endpoint.link.sock, b"w")
        return
    with tcp_of(end) as sock:
        end.slot.cursor = word(1, 1)
        assert sock.send(b"x" * 1000) == 1000


def arrived(end: Spoilt, mechanism: str, base: int) -> bool:
    if mechanism == "shared":
        return end.local.drained == base + 2
    with tcp_of(end) as sock:
        return not unsent(sock)


@contextlib.contextmanager
def tcp_of(end: Spoilt) -> Iterator[socket.socket]:
    """The TCP socket of the hostile end."""
    with socket.socket(fileno=os.dup(end.channel._endpoint.link.fds[MECH_TCP])) as sock:
        yield sock


def unsent(sock: socket.socket) -> int:
    """Bytes that have not reached the other end's socket."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0])


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize("forged", ["all is done", "all but the close", "one is done"])
def test_a_write_of_which_nothing_was_taken(peer: Peer, mechanism: str, forged: str) -> None:
    """A reader may lie about what it got, and not about what was never sent."""
    with spoilt(peer, mechanism) as end:
        peer.call(messages.iwrite, "it", LARGE)
        end.match(mechanism, **FORGED[forged](chunks(mechanism, LARGE)))
        assert isinstance(outcome(end, "it"), adma.ProtocolError)


@pytest.mark.parametrize("mechanism", STREAMS)
@pytest.mark.parametrize("cursor", [1, SHUT | 1, SHUT | 0x7FFFFFFF])
def test_a_message_of_no_bytes(peer: Peer, mechanism: str, cursor: int) -> None:
    """It is complete at once, unless its words say that something was claimed."""
    with spoilt(peer, mechanism) as end:
        end.post(0, mechanism)
        end.slot.cursor = end.slot.done = word(1, cursor)
        assert isinstance(read_now(end), adma.ProtocolError)


def read_now(end: Spoilt) -> BaseException | None:
    try:
        end.victim.call(messages.read, ROOM, 1.0)
    except (adma.AdmaError, OSError) as error:
        return error
    return None


@pytest.mark.parametrize("mechanism", STREAMS)
def test_progress_is_what_came(peer: Peer, mechanism: str) -> None:
    """While nothing comes, a read does not look as if bytes moved: its time is over."""
    with spoilt(peer, mechanism) as end:
        reading = peer.begin(messages.read, ROOM, 0.1)
        slot = end.post(ROOM, mechanism)
        os.write(end.channel._endpoint.link.sock, b"w")
        until("it is matched", lambda: slot.state == word(1, MATCHED))
        slot.cursor = word(1, 1)
        with pytest.raises(adma.Stalled):
            reading.result()


def test_the_second_life_of_a_read(peer: Peer) -> None:
    """Its first mechanism could not copy, as its writer had it. The next one is a stream."""
    with spoilt(peer) as end:
        peer.call(hostile.iread_into_secrets, "it", ROOM)
        slot = end.post(ROOM, "mapped:cma")  # from address 0
        until(
            "it waits for a second life",
            lambda: not peer.call(messages.check, "it") and slot.state == word(1, AGAIN),
        )
        slot.set(offered=2, cursor=word(2, 0), done=word(2, 0), error=word(2, 0))
        slot.state = word(2, POSTED)
        until(
            "it is matched again",
            lambda: not peer.call(messages.check, "it") and slot.state == word(2, MATCHED),
        )
        n = chunks("shared")
        slot.cursor, slot.done = word(2, SHUT | n), word(2, n)
        assert isinstance(outcome(end, "it"), adma.ProtocolError)


# Between users


@pytest.mark.root
def test_a_buffer_that_serves_one_client_after_another() -> None:
    """An echo server of one buffer: what one client sent never gets to another one."""
    buffer = bytearray(ROOM)
    honest, channel = meet(call_honestly)
    with channel:
        assert channel.read(buffer, timeout=HANG) == ROOM
        channel.write(buffer, timeout=HANG)
        assert honest.result()
    thief, channel = meet(call_hostile)
    with channel:
        assert channel.read(bytearray(1), timeout=HANG) == 1
        with pytest.raises(adma.ProtocolError):
            channel.read(buffer, timeout=HANG)
        with contextlib.suppress(adma.AdmaError):
            channel.write(buffer, timeout=0.1)
    assert thief.result() == 0


def meet(act: Callable[[adma.Channel], object]) -> tuple[InChild, adma.Channel]:
    """A client of another user, and our end of the channel to it."""
    ours, theirs = pair()

    def call() -> object:
        ours.close()
        become(NOBODY_SPECIAL)
        return act(adma.from_socket(theirs, timeout=HANG))

    child = InChild(call, theirs)
    return child, adma.from_socket(ours, timeout=HANG)


def call_honestly(channel: adma.Channel) -> bool:
    secret, back = bytes([hostile.SECRET]) * ROOM, bytearray(ROOM)
    with channel:
        channel.write(secret, timeout=HANG)
        channel.read(back, timeout=HANG)
    return back == secret


def call_hostile(channel: adma.Channel) -> int:
    """Offer a message, bring none of it, say that all came; how many bytes came back?"""
    channel.write(b"!", timeout=HANG)
    spoiler = Spoiler(mapped())  # a child that was forked has closed the copies of others
    slot = spoiler.local.slot(3)
    slot.set(source=0, length=ROOM, offered=2)
    slot.set(cursor=word(1, 0), done=word(1, 0), error=word(1, 0), state=word(1, POSTED))
    spoiler.forge(length=ROOM, total=ROOM, carry=SLOT, first=3, second=1)
    os.write(channel._endpoint.link.sock, b"w")
    until("the server has matched it", lambda: slot.state == word(1, MATCHED))
    n = chunks("shared")
    slot.cursor, slot.done = word(1, SHUT | n), word(1, n)
    os.write(channel._endpoint.link.sock, b"w")
    try:
        return channel.read(bytearray(ROOM), timeout=1)
    except (adma.AdmaError, OSError):
        return 0


# Messages with tags


def test_a_receive_of_which_nothing_came() -> None:
    """Both workers are in this process, which forges what they share."""
    before = {ctypes.addressof(segment) for segment in mapped()}
    with Worker() as victim, Worker() as bad:
        source, number = connect(victim, bad)
        first = bad.send(number, 1, b"!")
        settle([bad, victim], [first])
        found = [each for each in mapped() if ctypes.addressof(each) not in before]
        local = next(segment for segment in found if segment.cells[0].seq == 1)
        buffer = bytearray([hostile.SECRET]) * ROOM
        receive = victim.receive(source, 2, buffer)
        ring = HostileRing(local, lambda: None)
        ring.post_slot(3, length=ROOM)
        slot = local.slot(3)
        slot.set(source=0, offered=2)
        assert ring.put(ROOM, 2, carry=SLOT, first=3, second=1)
        settle([victim])
        assert slot.state == word(1, MATCHED)
        n = chunks("shared")
        slot.cursor, slot.done = word(1, SHUT | n), word(1, n)
        victim.progress()
        with pytest.raises(adma.ProtocolError):
            receive.wait(HANG)
        bad.drop(number, 0)
        with contextlib.suppress(TimeoutError):
            victim.drop(source, 0)
