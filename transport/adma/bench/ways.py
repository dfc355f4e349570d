# SPDX-License-Identifier: BSD-3-Clause
"""Ways to copy within a process: plain ``memcpy``, NumPy's, and the engines with their queues."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import adma
from adma import engine as engines
from adma._native import lib
from adma.bench.build import describe
from adma.bench.schema import Contestant
from adma.buffers import pair

if TYPE_CHECKING:
    from adma.engine import EngineName, ScheduleName

NAMES = ("auto", "thread", "caller", "dmaengine")
Copy = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Way:
    """An engine as it is configured for its turns."""

    key: str
    title: str
    engine: EngineName
    queues: int
    helps: bool = False
    schedule: ScheduleName = "adaptive"
    at_once: int = 64 << 10  # copies of up to so many bytes are not handed over

    def enter(self) -> None:
        """Configure it. Raises OSError where the engine cannot be had."""
        adma.configure(
            engine=self.engine,
            queues=self.queues,
            schedule=self.schedule,
            callers_help=self.helps,
            at_once=self.at_once,
        )

    def contestant(self, suffix: str = "", title: str = "") -> Contestant:
        """A contestant of this way; `suffix` and `title` tell it from others of the same way."""
        about = describe()
        made = Contestant(self.key + suffix, self.title + title, library="adma")
        made.version = f"{about['version']} ({about['build']})"
        made.path = f"engine {self.engine}"
        made.wait = "who waits copies, too" if self.helps else "who waits only waits"
        return made


def ways(engine: str, queues: int) -> list[Way]:
    """Those that an option names: the engine with one queue, with `queues`, and with callers."""
    if engine == "auto":
        return ways("thread", queues) + ways("dmaengine", queues)
    if engine == "caller":
        return [Way("caller", "no queue", "caller", 0, helps=True)]
    if engine == "dmaengine":
        found = [Way("dmaengine:1", "1 channel", "dmaengine", 1)]
        more = Way(f"dmaengine:{queues}", f"{queues} channels", "dmaengine", queues)
        return [*found, more] if queues > 1 else found
    found = [Way("thread:1", "1 queue", "thread", 1)]
    if queues > 1:
        found.append(Way(f"thread:{queues}", f"{queues} queues", "thread", queues))
    return [*found, Way("thread:1+caller", "1 queue+caller", "thread", 1, helps=True)]


def usable(found: Sequence[Way], demanded: bool) -> tuple[list[Way], list[Contestant]]:
    """Those that can be had here, and the others as contestants that say why not.

    Raises OSError for the first that cannot be had, if it was demanded by name.
    """
    here: list[Way] = []
    absent: dict[str, Contestant] = {}
    for way in found:
        try:
            way.enter()
        except OSError as error:
            if demanded:
                raise
            why = str(error.strerror)
            absent[way.engine] = Contestant(way.engine, way.engine, measured=False, why=why)
        else:
            here.append(way)
    return here, list(absent.values())


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """The engine's configuration is afterwards what it was."""
    before = engines._current()
    try:
        yield
    finally:
        engines._apply(before)


def memcpy(dst: Any, src: Any) -> int:
    """One ``memmove`` with the call layer of `adma.copy`: both buffers held, one call into C."""
    holds = pair(dst, src, "copy")
    assert holds is not None
    to, from_ = holds
    nbytes = len(to)
    lib.adma_copy_now(to, from_, nbytes)
    return nbytes


def icopy_wait(dst: Any, src: Any) -> int:
    """The paper's latency: post it, then wait for it."""
    return adma.icopy(dst, src).wait()


def numpy_copyto() -> Copy:
    """NumPy's own copy."""
    import numpy as np

    return np.copyto


def plain(key: str = "memcpy", title: str = "memcpy", library: str = "libc") -> Contestant:
    """The contestant that has no engine."""
    made = Contestant(key, title, library=library, peer=True)
    made.path = "the CPU, in the call"
    return made
