# SPDX-License-Identifier: BSD-3-Clause
"""How a mechanism is probed while two processes shake hands.

Both ends run the same steps in lock step. What one end's step returns is what
the other end's next step is given:

    offer()          what I bring along
    answer(offer)    I tried what the peer brought; this came of it
    verdict(answer)  I looked at what the peer's trial left here
    conclude(verdict)

After `conclude`, `out` and `in_` say for both directions whether the mechanism
works (None) or why not (a Refusal), and the two ends agree. `take` and `found` are what the
probe leaves to the core's side of the mechanism.

A new mechanism is one file with a Probe, and one line in `mechanisms/__init__.py` or a call
of `register`. All that is special to it is in that file.
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..connect.record import Entry
from ..errors import MechanismUnavailable

if TYPE_CHECKING:
    from .._core.types import Nonce
    from ..connect.identity import Peer

__all__ = ["Context", "Probe", "Refusal", "refusal_in"]

_TEXT_MAX = 300  # bytes of a cause or a cure on the wire
_NO_WORD = "the peer says so and gives no reason"


@dataclass(frozen=True)
class Refusal:
    """Why a mechanism does not work in one direction, and what would change that.

    `errno`: of the step that failed. `cure` is empty where none is known.
    """

    mechanism: str
    errno: int
    cause: str
    cure: str = ""

    def __str__(self) -> str:
        error = os.strerror(self.errno)
        text = self.cause if error in self.cause else f"{self.cause} ({error})"
        return f"{text}; cure: {self.cure}" if self.cure else text

    def error(self) -> MechanismUnavailable:
        """The exception for a caller that asked for this mechanism and no other."""
        text = f"mechanism {self.mechanism!r} is not available: {self}"
        return MechanismUnavailable(
            self.errno, text, mechanism=self.mechanism, cause=self.cause, cure=self.cure
        )

    def entry(self, subject: int) -> Entry:
        """The refusal as it is sent to the peer, so that both ends tell the same."""
        parts = (text.encode(errors="replace")[:_TEXT_MAX] for text in (self.cause, self.cure))
        return Entry(subject, self.errno, b"\0".join(parts))


def refusal_in(entry: Entry, mechanism: str) -> Refusal:
    """The refusal in an entry of the peer's. Its texts are short and printable."""
    cause, _, cure = entry.text().partition("\0")
    return Refusal(mechanism, entry.error, cause or _NO_WORD, cure)


@dataclass(frozen=True)
class Context:
    """What a probe knows: this end, the peer, and how long the handshake may take."""

    peer: Peer
    own: Nonce  # of this end
    nonce: bytes  # the bytes of it
    client: bool  # this end called the other one
    deadline: float  # time.monotonic()
    private: bool = True  # this end serves one user only
    called: bool = False  # the other end called this one, which connects nowhere
    patience: float = math.inf  # seconds for which one step may wait

    def remaining(self, at_most: float) -> float:
        """Seconds that a step may wait: `at_most`, or less where the deadline is nearer.

        It is little where others wait for this end too, and the peer is another user's.
        """
        return max(0.0, min(at_most, self.patience, self.deadline - time.monotonic()))


class Probe(ABC):
    """One mechanism between two processes, tried for real in both directions.

    A step that raises OSError refuses one direction: `answer` refuses what comes in, `offer`
    and `verdict` what goes out. Steps may wait, as long as the context allows. `close` is
    called last, in any case, and lets go of all that was not taken.
    """

    name: ClassVar[str]
    id: ClassVar[int]  # the same in all processes: enum adma_mechanism_id, or a number above those
    keeps_descriptor: ClassVar[bool] = False  # it works only with the one that `take` returned
    #: Between users it is tried only where it is forced, or where nothing else works.
    last_between_users: ClassVar[bool] = False

    out: Refusal | None = None
    in_: Refusal | None = None
    found: int = 0  # what the core's side has to know of it, in bits of the mechanism's own
    address: int = 0  # of the nonce in the peer's memory, if this end may look there

    def __init__(self, context: Context) -> None:
        self.context = context

    # Before there is a peer, and for as long as there is one

    @classmethod
    def left_out(cls, forced: int) -> Refusal | None:
        """Why it is not even tried where `forced` is asked for (0: auto); None: try it."""
        return None

    @classmethod
    def sweep(cls) -> None:
        """Remove what dead processes of this user left. Called before two processes meet."""

    @classmethod
    def make_segment(cls, same_user: bool) -> int:
        """Make the memory that the core wants for what this end writes; a descriptor of it.

        `same_user`: the peer is of this process's user. OSError with cause and cure when it
        cannot be made; the mechanism carries no writes of this end then.
        """
        raise NotImplementedError

    # The steps

    @abstractmethod
    def offer(self) -> Entry:
        """What the peer needs in order to try."""

    @abstractmethod
    def answer(self, offer: Entry) -> Entry:
        """Try what the peer offered. Where `offer.error` is set, it offered nothing."""

    @abstractmethod
    def verdict(self, answer: Entry) -> Entry:
        """Look at this end for what the peer's trial should have left."""

    @abstractmethod
    def conclude(self, verdict: Entry) -> None:
        """Set `out` and `in_`. It must not fail, since the peer hears nothing after this."""

    # What is left of it

    def take(self) -> int:
        """A descriptor that the channel needs for this mechanism, or -1; the caller owns it.

        Called only where the channel is going to use the mechanism.
        """
        return -1

    def close(self) -> None:
        """Let go of everything that was not taken. Closing twice is no error."""

    def refuse(self, errno: int, cause: str, cure: str = "") -> Refusal:
        """A Refusal of this mechanism."""
        return Refusal(self.name, errno, cause, cure)
