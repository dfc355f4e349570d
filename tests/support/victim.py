# SPDX-License-Identifier: BSD-3-Clause
"""What an attack costs its victim: time, memory, descriptors, CPU time, and its other channels.

    with watched(peer) as victim:
        bad = peer.connect()
        ...                                            # spoil it
        with pytest.raises(adma.ProtocolError):
            victim.call(messages.read, 100, 0.2, waits=0.2)
        victim.idle()                                  # and nothing keeps its process busy
        peer.call(hostile.close_spoilt)

The victim is a process of its own. One of its channels is honest: a thread of the victim returns
what comes over it, so `swap` may be called while the victim is in a call. At the end of the block
the victim must hold nothing of the attack any more, so the block closes what it has spoilt.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adma.testing import Peer
from adma.testing.cut_off import cut_off
from adma.testing.limits import HANG, MIB, SLOWNESS
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from support.calls import victim as calls
from support.memory import KEPT_FREED, OVERHEAD

_SIZES: Final = (0, 8, 5000, 300_000)  # inline, eager and rendezvous messages
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Bounds:
    """What an attack may cost. Times are multiplied where everything is slow."""

    late: float = 2.0  # seconds that a call takes beyond what it waits; or an honest message
    memory: int = 64 * MIB  # more than before the attack, at any time
    kept: int = 16 * MIB  # more than before, when the attack is over
    descriptors: int = 16  # more than before, at any time
    cpu: float = 0.2  # the share of a core that is used while there is nothing to do


@dataclass(frozen=True)
class Usage:
    """What a process uses now."""

    memory: int  # bytes, files excepted
    resident: int
    peak: int  # the most that was resident since forget_peak()
    descriptors: int
    cpu: float  # seconds


def usage(pid: int) -> Usage:
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {name: int(kib) * 1024 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", status)}
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        memory=numbers["RssAnon"] + numbers["RssShmem"],
        resident=numbers["VmRSS"],
        peak=numbers["VmHWM"],
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        cpu=(int(times[11]) + int(times[12])) / _TICK,
    )


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class Victim:
    """See `watched`."""

    def __init__(self, peer: Peer, bounds: Bounds) -> None:
        self.peer = peer
        self.bounds = bounds
        self._late = bounds.late * SLOWNESS
        self._honest = peer.connect()
        peer.call(calls.serve)
        self.swap()  # what it needs once is there before the attack
        forget_peak(peer.pid)
        self.before = usage(peer.pid)

    def call(self, function: Callable[..., Any], *arguments: Any, waits: float = 0.0) -> Any:
        """Have the victim call something that waits for so many seconds at most, and time it."""
        begun = time.monotonic()
        try:
            return self.peer.call(function, *arguments)
        finally:
            took = time.monotonic() - begun
            assert took < waits + self._late, (
                f"{function.__name__} took {took:.1f} s, and waits for {waits:g} s"
            )

    def swap(self) -> float:
        """Honest messages get there and back; the longest took so many seconds."""
        longest = 0.0
        for seed, nbytes in enumerate(_SIZES):
            begun = time.monotonic()
            self._honest.write(pattern(nbytes, seed), timeout=HANG)
            buffer = bytearray(nbytes)
            got = self._honest.read(buffer, timeout=HANG)
            wrong = difference(memoryview(buffer)[:got], pattern(nbytes, seed))
            assert not wrong, f"the honest message of {nbytes} bytes: {wrong}"
            longest = max(longest, time.monotonic() - begun)
        assert longest < self._late, f"an honest message took {longest:.1f} s"
        return longest

    def idle(self, seconds: float = 0.3) -> float:
        """The share of a core that the victim uses while nobody asks anything of it."""
        before, begun = usage(self.peer.pid).cpu, time.monotonic()
        time.sleep(seconds)
        share = (usage(self.peer.pid).cpu - before) / (time.monotonic() - begun)
        assert share < self.bounds.cpu, f"{share:.0%} of a core is used for nothing"
        return share

    def look(self) -> Usage:
        """Nothing exceeds what an attack may cost that is under way."""
        assert self.peer.process.poll() is None, "the victim has died"
        now = usage(self.peer.pid)
        more = now.descriptors - self.before.descriptors
        assert more <= self.bounds.descriptors, f"{more} descriptors more than before"
        peak = now.peak - self.before.resident
        assert peak <= self._memory(self.bounds.memory), f"{peak / MIB:.0f} MiB more at the peak"
        return now

    def over(self) -> None:
        """The victim holds nothing of the attack any more, and its honest channel works."""
        self.look()
        self.swap()
        pid, before = self.peer.pid, self.before
        until(
            "no descriptor is held more than before the attack",
            lambda: usage(pid).descriptors <= before.descriptors,
        )
        kept = usage(pid).memory - before.memory
        assert kept <= self._memory(self.bounds.kept), f"{kept / MIB:.0f} MiB are kept"

    def close(self) -> None:
        """The thread over there ends with the honest channel."""
        self.peer.release(self._honest)
        cut_off(self._honest)

    @staticmethod
    def _memory(bound: int) -> int:
        return bound * OVERHEAD + KEPT_FREED


@contextlib.contextmanager
def watched(peer: Peer, bounds: Bounds = Bounds()) -> Iterator[Victim]:
    """Watch `peer` during an attack; AssertionError when that costs it more than `bounds`."""
    victim = Victim(peer, bounds)
    try:
        yield victim
        victim.over()
    finally:
        victim.close()
