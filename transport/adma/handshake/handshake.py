# SPDX-License-Identifier: BSD-3-Clause
"""The handshake: from a connected Unix socket to a `Link`.

Both ends do the same, in lock step, whichever of them connected:

    HELLO    who I am: credentials, nonce; versions, mechanisms, the forced one
    OFFER    my segment and pidfd, and what each mechanism's probe needs of me
    ANSWER   what came of trying it
    VERDICT  what I saw of your trying

The last three come a second time for what is tried only where nothing else works.

A hello carries no descriptors. They come with the offer, when each end has judged the other one:
what was passed and is not read counts against the user that passed it (unix(7)), and what was
received has to be closed. A listener's end says hello only after it has heard a caller's, and
until then its socket takes no descriptors, where the kernel can refuse them.

A REFUSED record may come in place of any of them. It carries an errno and a text, and ends
the handshake. After the last VERDICT both ends know the same, and the socket belongs to the core.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from .. import forks
from .._core import faults
from .._core import handshake as core
from .._core.channel import has_mechanism
from .._core.constants import SEGMENT_SIZE
from ..connect import access
from ..connect.identity import (
    Credentials,
    Peer,
    is_same_user,
    judged,
    own_pidfd,
    own_uid,
    peers_pidfd,
    start_time,
    unread,
)
from ..connect.record import Entry, Record, Steps, Wire, await_events
from ..errors import (
    MechanismUnavailable,
    PeerDied,
    ProtocolError,
    VersionMismatch,
    explain,
    failure,
    is_shortage,
)
from ..mechanisms import MECHANISMS, NAMES, Context, Probe, Refusal
from .link import Link

if TYPE_CHECKING:
    from .._core.types import Nonce, Segment

__all__ = ["Handshake", "Terms", "refuse", "shake", "shake_into"]

T = TypeVar("T")

_LAST_WORD = 0.2  # seconds for a refusal to get into the socket
_SUBJECT = 0  # of the entry in a hello or a refusal, and of the one with the segment in an offer


@dataclass(frozen=True)
class Terms:
    """What this end expects of a handshake."""

    label: str  # how the two met, for people
    client: bool  # this end connected to the other one
    forced: int = 0  # enum adma_mechanism_id, 0: auto
    admit: access.Judge = access.own_user  # of the peer's uid
    private: bool = True  # False: this end lets other users in
    called: bool = False  # this end is a listener's: the other one connected, and others wait
    patience: float = math.inf  # seconds for which a probe may wait within one step


class Handshake:
    """One end of a handshake over a connected AF_UNIX socket, which goes on step by step.

    On success the socket is detached, and the link owns its descriptor. On failure it stays
    the caller's, who can only close it; everything else that was made or received is let go.
    The peer is told why, where that is possible.

    `deadline` is a moment (`time.monotonic()`). In a forked child it is let go of, unfinished;
    this process goes on with it.
    """

    def __init__(self, sock: socket.socket, terms: Terms, deadline: float) -> None:
        self.deadline = deadline
        self.events: int = select.POLLIN  # what the socket has to be ready for before a step
        self._sock = sock
        self._wait = not terms.called
        self._wire = Wire(sock, deadline)
        self._undo = ExitStack()
        self._run = _Handshake(self._wire, terms, self._undo)
        self._steps = self._run.run()
        forks.in_child(self, Handshake.abandon)
        forks.in_child(sock, socket.socket.close)

    @property
    def has_passed(self) -> bool:
        """Were descriptors passed to the peer?"""
        return self._run.has_passed

    @property
    def peer_pid(self) -> int:
        """The process that said hello, as seen from here; 0: it has not, or cannot be seen."""
        return self._run.peer_pid

    def step(self) -> Link | None:
        """Go on as far as the peer has; the link, when that is the end. Call it in `held_off()`.

        TimeoutError: the deadline has passed. PeerDied: the peer hung up. ProtocolError,
        VersionMismatch: the peer breaks the protocol, or speaks another one. PermissionError:
        its user is not admitted. MechanismUnavailable: the forced mechanism does not work in
        both directions, or the two ends force different ones.
        """
        try:
            self.events = next(self._steps)
            return None
        except StopIteration as end:
            link: Link = end.value
        except BaseException as error:
            if isinstance(error, Exception):
                _tell(self._wire, error, self._wait)
            self.abandon()
            raise
        self._undo.pop_all()
        self._sock.detach()
        return link

    def abandon(self) -> None:
        """Let go of everything but the socket. After its end this changes nothing."""
        with contextlib.suppress(ValueError):  # this is a step itself, or one of a thread that is
            self._steps.close()  # not there in a forked child
        self._undo.close()


def shake_into(sock: socket.socket, terms: Terms, timeout: float, make: Callable[[Link], T]) -> T:
    """Shake hands, wait for the peer, and make something that owns the link.

    Errors are those of `Handshake.step`, or of `make`; TimeoutError: it took more than
    `timeout` seconds.
    """
    handshake = Handshake(sock, terms, time.monotonic() + timeout)
    try:
        while True:
            with forks.held_off():
                link = handshake.step()
                if link is not None:
                    return make(link)
            await_events(sock, handshake.events, handshake.deadline)
    finally:
        handshake.abandon()


def shake(sock: socket.socket, terms: Terms, timeout: float) -> Link:
    """As `shake_into`; the link itself."""
    return shake_into(sock, terms, timeout, lambda link: link)


def refuse(sock: socket.socket, error: Exception) -> None:
    """Tell a client why there will be no handshake. Nothing was sent on the socket before.

    The socket stays the caller's, who closes it.
    """
    _tell(Wire(sock, time.monotonic()), error, wait=False)


class _Handshake:
    """One end of a handshake. `undo` lets go of what was made, until the link owns it."""

    def __init__(self, wire: Wire, terms: Terms, undo: ExitStack) -> None:
        self.wire = wire
        self.terms = terms
        self.undo = undo
        self.has_passed = False
        self.peer_pid = 0
        self.guest = False  # is the other end a caller of another user?

    def run(self) -> Steps[Link]:
        own = core.make_nonce()
        nonce = core.nonce_bytes(own)
        terms = self.terms
        if not terms.called:
            yield from self._send_hello(own)
        with (yield from self._receive(core.HELLO)) as record:
            peer = self._meet(record, nonce)
        self.peer_pid = peer.pid
        self.guest = terms.called and not peer.same_user
        if terms.called:
            self.wire.take_descriptors(True)
            yield from self._send_hello(own)
        forced = self._settle_forced(peer)
        reserve = self._reserve_descriptor()
        context = self._context(peer, own, nonce)
        probes, left_out = self._make_probes(context, forced)
        local = yield from self._send_offer(probes, peer)
        with (yield from self._receive(core.OFFER, record.sender)) as offer:
            pidfd, remote = self._take_segment(offer, peer)
            answers = _answers(probes, offer)
        yield from self._probe(probes, answers, record.sender)
        if not forced and _lacks_mechanism(probes) and (last := self._make_last(context)):
            yield from self._probe_last(last, record.sender)
            probes += last

        out, in_ = _directions(probes, left_out)
        if forced:
            refusal = out[NAMES[forced]] or in_[NAMES[forced]]
            if refusal is not None:
                raise refusal.error()
        self.wire.close()
        taken = {probe.id: probe.take() for probe in probes if _needed(probe, probes, forced)}
        for probe in probes:
            probe.close()
        reserve.close()
        return Link(
            sock=self.wire.sock.fileno(),
            pidfd=pidfd,
            pid=peer.pid,
            uid=peer.uid,
            same_user=peer.same_user,
            local=local,
            remote=remote,
            own_nonce=own,
            nonce=peer.nonce,
            nonce_address=next((probe.address for probe in probes if probe.address), 0),
            out=out,
            in_=in_,
            forced=NAMES[forced] if forced else None,
            fds={number: fd for number, fd in taken.items() if fd >= 0},
            found={probe.id: probe.found for probe in probes},
            label=self.terms.label,
        )

    def _context(self, peer: Peer, own: Nonce, nonce: bytes) -> Context:
        terms = self.terms
        return Context(
            peer,
            own,
            nonce,
            terms.client,
            self.wire.deadline,
            terms.private,
            terms.called,
            terms.patience,
        )

    def _make_probes(
        self, context: Context, forced: int
    ) -> tuple[list[Probe], dict[str, Refusal | None]]:
        """The probes of what both ends know and try; and why others are left out, by name."""
        left_out = {
            kind.name: _tried_last(kind, context, forced) or kind.left_out(forced)
            for kind in _common(context)
        }
        kinds = [kind for kind in _common(context) if left_out[kind.name] is None]
        return self._make(kinds, context), left_out

    def _make_last(self, context: Context) -> list[Probe]:
        """The probes of what is tried only where nothing else works. Both ends find the same."""
        kinds = [kind for kind in _common(context) if _tried_last(kind, context, 0) is not None]
        return self._make(kinds, context)

    def _make(self, kinds: Sequence[type[Probe]], context: Context) -> list[Probe]:
        probes = [kind(context) for kind in kinds]
        for probe in probes:
            self.undo.callback(probe.close)
        return probes

    def _reserve_descriptor(self) -> socket.socket:
        """A descriptor for the one that the channel opens last, when the peer relies on us.

        OSError: there is none left. The peer can still be told.
        """
        try:
            return self.undo.enter_context(self.wire.sock.dup())
        except OSError as error:
            # A limit of 0 is told as an argument that is out of range.
            number = errno.EMFILE if error.errno == errno.EINVAL else error.errno
            raise failure("handshake", number or errno.EIO) from None

    # Hello

    def _send_hello(self, own: Nonce) -> Steps[None]:
        yield from self._send(core.HELLO, [Entry(_SUBJECT, 0, self._hello(own).pack())])

    def _hello(self, own: Nonce) -> core.Hello:
        return core.Hello(
            pid=os.getpid(),
            uid=own_uid(),
            start_time=start_time() or 0,
            half_size=SEGMENT_SIZE,
            nonce=core.nonce_bytes(own),
            mechanisms=sum(1 << number for number in NAMES),
            forced=self.terms.forced,
        )

    def _meet(self, record: Record, own_nonce: bytes) -> Peer:
        """Check all that the peer says of itself; who it is."""
        entry = record.entry(_SUBJECT)
        if entry is None or entry.fds:
            raise ProtocolError("the peer's hello is malformed")
        hello = core.Hello.parse(entry.data)
        if hello.nonce == own_nonce:
            raise ProtocolError("the other end only repeats what it is told")
        sender = record.sender
        self.terms.admit(sender.uid)
        if hello.half_size != SEGMENT_SIZE:
            raise ProtocolError(f"the peer's segment has {hello.half_size} bytes")
        return Peer(
            pid=sender.pid,
            uid=sender.uid,
            same_user=is_same_user(sender.uid),
            same_pid_namespace=hello.pid == sender.pid,
            nonce=hello.nonce,
            mechanisms=hello.mechanisms,
            forced=hello.forced,
        )

    def _settle_forced(self, peer: Peer) -> int:
        """The mechanism that is forced on both ends; 0 for auto. Both ends find the same."""
        here, there = self.terms.forced, peer.forced
        forced = here or there
        if here and there and here != there:
            names = [NAMES.get(number, f"number {number}") for number in (here, there)]
            raise MechanismUnavailable(
                mechanism=names[0],
                cause=f"this end forces {names[0]}, the other {names[1]}",
                cure="force the same on both ends, or on one end only",
            )
        if forced and (forced not in NAMES or not peer.mechanisms >> forced & 1):
            name = NAMES.get(forced, f"number {forced}")
            cause, cure = _UNKNOWN
            raise MechanismUnavailable(mechanism=name, cause=cause, cure=cure)
        return forced

    # Segments

    def _send_offer(self, probes: Sequence[Probe], peer: Peer) -> Steps[Segment]:
        """Make our segment and pass it, with our pidfd and the probes' offers; it is mapped."""
        fd, segment = core.make_segment()
        fds = [fd]
        try:
            self.undo.callback(core.unmap_segment, segment)
            if not peer.same_user and not core.is_sealed(fd):
                # The peer could take our segment away under us.
                raise PermissionError(errno.EPERM, core.UNSEALED)
            pidfd = own_pidfd()
            if pidfd >= 0:
                fds.append(pidfd)
            offers = [_guarded(p, p.offer, True) for p in probes]
            self.has_passed = True
            yield from self._send(core.OFFER, [Entry(_SUBJECT, 0, b"", fds), *offers])
        finally:
            for number in fds:
                os.close(number)
        return segment

    def _take_segment(self, record: Record, peer: Peer) -> tuple[int, Segment]:
        """The peer's pidfd, and its segment, mapped."""
        entry = record.entry(_SUBJECT)
        if entry is None:
            raise ProtocolError("the peer passed no segment")
        segment_fd = entry.take_fd()
        with judged(segment_fd, peer.uid):
            pidfd = peers_pidfd(entry.take_fd() if entry.fds else -1, record.sender)
            if pidfd >= 0:
                self.undo.callback(os.close, pidfd)
            segment = core.map_segment(segment_fd, peer.same_user)
        self.undo.callback(core.unmap_segment, segment)
        os.close(segment_fd)  # it is memory, which closes at once
        return pidfd, segment

    # Rounds

    def _probe(
        self, probes: Sequence[Probe], answers: list[Entry], sender: Credentials
    ) -> Steps[None]:
        """The rounds after the offer."""
        if not self.guest:
            yield from self._send(core.ANSWER, answers)
        with (yield from self._receive(core.ANSWER, sender)) as record:
            self._check_was_read()
            verdicts = [_guarded(p, partial(p.verdict, _said(record, p)), True) for p in probes]
        if self.guest:
            yield from self._send(core.ANSWER, answers)
        yield from self._send(core.VERDICT, verdicts)

        with (yield from self._receive(core.VERDICT, sender)) as record:
            for probe in probes:
                probe.conclude(_said(record, probe))

    def _check_was_read(self) -> None:
        """ProtocolError: a guest answers our offer, and has not taken it out of its socket.

        What was passed to it would count against the user of this process for as long as it likes.
        So this end answers a guest only after that has answered: nothing else is under way.
        """
        if self.guest and unread(self.wire.sock) > 0:
            raise ProtocolError("the caller answers what it has not read")

    def _probe_last(self, probes: Sequence[Probe], sender: Credentials) -> Steps[None]:
        """All rounds for what is tried only where nothing else works."""
        yield from self._send(core.OFFER, [_guarded(p, p.offer, True) for p in probes])
        with (yield from self._receive(core.OFFER, sender)) as record:
            answers = _answers(probes, record)
        yield from self._probe(probes, answers, sender)

    def _send(self, round_: int, entries: list[Entry]) -> Steps[None]:
        fault = faults.in_handshake()
        if fault:
            raise OSError(fault, f"{os.strerror(fault)} (fault point in the handshake)")
        try:
            yield from self.wire.sending(round_, entries)
        except PeerDied:
            # The peer may have told why before it hung up, behind what it said before.
            for _ in range(_ROUNDS):
                with (yield from self.wire.receiving()) as record:
                    if record.round == core.REFUSED:
                        raise _refused(record) from None
            raise

    def _receive(self, round_: int, sender: Credentials | None = None) -> Steps[Record]:
        """The record of this round, sent by `sender`; None: by any process."""
        record = yield from self.wire.receiving()
        try:
            if record.round == core.REFUSED:
                raise _refused(record)
            if record.round != round_:
                raise ProtocolError(f"the peer is in round {record.round}, this end in {round_}")
            if sender not in (None, record.sender):
                raise ProtocolError("another process than the one that said hello goes on talking")
        except BaseException:
            record.close()
            raise
        return record


_ROUNDS = 7  # records of a whole handshake, one for each round
_NO_CORE = ("it was registered without its part in the core", "pass `core` to register()")
_NOT_BETWEEN_USERS = "not tried between users, where another mechanism works"
_UNKNOWN = ("the peer's adma does not have this mechanism", "use the same version on both ends")


def _common(context: Context) -> list[type[Probe]]:
    """The mechanisms that both ends know."""
    return [kind for kind in MECHANISMS if context.peer.mechanisms >> kind.id & 1]


def _tried_last(kind: type[Probe], context: Context, forced: int) -> Refusal | None:
    """Why it is not tried with the others, between two users; None: it is."""
    if not kind.last_between_users or context.peer.same_user or forced == kind.id:
        return None
    cure = f"ask for it: mechanism={kind.name!r}"
    return Refusal(kind.name, errno.EOPNOTSUPP, _NOT_BETWEEN_USERS, cure)


def _lacks_mechanism(probes: Sequence[Probe]) -> bool:
    """Is there a direction in which none of these works? Both ends find the same."""
    return all(probe.out is not None for probe in probes) or all(
        probe.in_ is not None for probe in probes
    )


def _answers(probes: Sequence[Probe], offer: Record) -> list[Entry]:
    """What came of trying what the peer offers."""
    return [_guarded(p, partial(p.answer, _said(offer, p)), False) for p in probes]


def _said(record: Record, probe: Probe) -> Entry:
    """The peer's entry for a probe. Where there is none, an entry with an error."""
    entry = record.entry(probe.id)
    if entry is None:
        return Entry(probe.id, errno.EPROTO, b"the peer said nothing about this mechanism")
    return entry


def _guarded(probe: Probe, step: Callable[[], Entry], outward: bool) -> Entry:
    """Run a step. An OSError refuses the direction that the step is about, at both ends.

    But not that there is no descriptor left at this moment: the mechanism would be lost for the
    life of the channel. The handshake fails, and both ends are told why.
    """
    try:
        return step()
    except OSError as error:
        if is_shortage(error):
            raise failure("handshake", error.errno or errno.EIO) from None
        refusal = _refusal(probe, error)
        if outward:
            probe.out = refusal
        else:
            probe.in_ = refusal
        return refusal.entry(probe.id)


def _refusal(probe: Probe, error: OSError) -> Refusal:
    """Why a step failed: in its own words, or else in those for its errno."""
    number = error.errno or errno.EIO
    cause, _, cure = _text(error).partition("; cure: ")
    if cause == os.strerror(number):
        cause, cure = explain(probe.name, number)
    return probe.refuse(number, cause, cure)


def _directions(
    probes: Sequence[Probe], left_out: Mapping[str, Refusal | None]
) -> tuple[dict[str, Refusal | None], dict[str, Refusal | None]]:
    out: dict[str, Refusal | None] = {}
    in_: dict[str, Refusal | None] = {}
    for kind in MECHANISMS:
        unknown = Refusal(kind.name, errno.EOPNOTSUPP, *_UNKNOWN)
        out[kind.name] = in_[kind.name] = left_out.get(kind.name) or unknown
    for probe in probes:
        lacking = None if has_mechanism(probe.id) else probe.refuse(errno.ENOSYS, *_NO_CORE)
        out[probe.name], in_[probe.name] = probe.out or lacking, probe.in_ or lacking
    return out, in_


def _needed(probe: Probe, probes: Sequence[Probe], forced: int) -> bool:
    """Will the channel use this mechanism: is it forced, or the only one in a direction?"""
    others = [other for other in probes if other is not probe]
    return forced == probe.id or _lacks_mechanism(others)


# Refusals on the wire


def _tell(wire: Wire, error: Exception, wait: bool) -> None:
    """Tell the peer why the handshake ends, where that is possible.

    `wait`: for room in the socket. It has room, but for a peer that reads nothing.
    """
    if isinstance(error, PeerDied):
        return
    number = getattr(error, "errno", None)
    if not number:
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO
    wire.deadline = time.monotonic() + _LAST_WORD
    with contextlib.suppress(Exception):
        entries = [Entry(_SUBJECT, number, _text(error).encode(errors="replace")[:600])]
        if wait:
            wire.send(core.REFUSED, entries)
        else:
            next(wire.sending(core.REFUSED, entries), None)


def _refused(record: Record) -> Exception:
    entry = record.entry(_SUBJECT)
    if entry is None or entry.error <= 0:
        return ProtocolError("the peer refused the handshake without a reason")
    text = "the peer refused the handshake: " + entry.text().replace("\0", " ")
    if entry.error == errno.EPROTONOSUPPORT:
        return VersionMismatch(text)
    if entry.error == errno.EPROTO:
        return ProtocolError(text)
    return OSError(entry.error, text)


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
