# SPDX-License-Identifier: BSD-3-Clause
"""Ways to copy within a process: plain ``memcpy``, NumPy's, and the engines with their queues."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import adma
from adma._core.buffers import pair
from adma._core.copies import copy_now
from adma.bench import helper
from adma.bench.build import describe
from adma.bench.places import Place, Take
from adma.bench.schema import Contestant
from adma.bench.signals import ended_by_signals
from adma.copying import engine as engines

if TYPE_CHECKING:
    from adma.copying.engine import EngineName, ScheduleName

NAMES = ("auto", "thread", "caller", "dmaengine")
Copy = Callable[[Any, Any], Any]
NO_DMA = 4095  # bytes: the module leaves so few to the CPU, unless it is told otherwise
PINNED = ", memory whose pages are pinned already"


@dataclass(frozen=True)
class Way:
    """An engine and its configuration. For `dmaengine` the queues are DMA channels."""

    key: str
    title: str
    engine: EngineName
    queues: int
    helps: bool = False
    schedule: ScheduleName = "adaptive"
    at_once: int = 64 << 10  # copies of up to so many bytes are not handed over

    def enter(self) -> None:
        """Configure the engine. OSError: it, or so many channels, cannot be used here."""
        adma.configure(
            engine=self.engine,
            queues=0 if self.by_dma else self.queues,
            schedule=self.schedule,
            callers_help=self.helps,
            at_once=self.at_once,
        )
        if self.by_dma:
            helper.use_channels(self.queues)

    @property
    def by_dma(self) -> bool:
        """Do DMA channels copy?"""
        return self.engine == "dmaengine"

    @property
    def threads(self) -> int:
        """How many cores its queues use while they copy."""
        return 0 if self.by_dma else self.queues

    def found(self, take: Take) -> Take:
        """How it gets places. For DMA channels their pages are pinned before."""
        return pinned(take) if self.by_dma else take

    def missed(self) -> Contestant:
        """The contestant whose pages were never pinned. Its places come from `fresh`."""
        made = self.contestant(" miss", " miss")
        made.path = made.path.replace(PINNED, ", memory whose pages were never pinned before")
        return made

    def contestant(self, suffix: str = "", title: str = "") -> Contestant:
        """A contestant of this way; `suffix` and `title` tell it from others of the same way."""
        about = describe()
        made = Contestant(self.key + suffix, self.title + title, library="adma")
        made.version = f"{about['version']} ({about['build']})"
        made.path = f"engine {self.engine}{PINNED if self.by_dma else ''}"
        made.wait = (
            "a thread that waits copies, too" if self.helps else "a thread that waits only waits"
        )
        return made


def ways(engine: str, queues: int) -> list[Way]:
    """The ways that an option names: one queue, `queues` of them, and callers that help."""
    if engine == "auto":
        return ways("thread", queues) + ways("dmaengine", helper.channels() or queues)
    if engine == "caller":
        return [Way("caller", "no queue", "caller", 0, helps=True)]
    if engine == "dmaengine":
        return [
            Way(f"dmaengine:{number}", title(engine, number), "dmaengine", number, at_once=NO_DMA)
            for number in sorted({1, queues})
        ]
    found = [
        Way(f"thread:{number}", title(engine, number), "thread", number)
        for number in sorted({1, queues})
    ]
    return [*found, Way("thread:1+caller", "1 queue+caller", "thread", 1, helps=True)]


def title(engine: str, queues: int) -> str:
    """The title of the contestant with so many queues."""
    what = "channel" if engine == "dmaengine" else "queue"
    return f"{queues} {what}{'s' if queues > 1 else ''}"


def usable(found: Sequence[Way], demanded: bool) -> tuple[list[Way], list[Contestant]]:
    """The ways that work here; and contestants for the others, which say why not.

    Raises OSError for the first that does not work, if it was demanded by name.
    """
    here: list[Way] = []
    absent: dict[str, Contestant] = {}
    for way in found:
        try:
            way.enter()
        except helper.ChannelsFixed as error:
            why = str(error.strerror)
            absent[way.key] = Contestant(way.key, way.title, measured=False, why=why)
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
    """Restore the configuration of the engine and of the module afterwards."""
    before = engines._current()
    with ended_by_signals(), helper.channels_kept():
        try:
            yield
        finally:
            engines._apply(before)


def pinned(take: Take) -> Take:
    """The same places. The engine copies each of them once, so that its pages are pinned."""

    def taken(size: int, count: int) -> list[Place]:
        found = take(size, count)
        adma.wait_all([adma.icopy(*place) for place in {id(each): each for each in found}.values()])
        return found

    return taken


def memcpy(dst: Any, src: Any) -> int:
    """``memmove`` through cffi: both buffers are held, one call into C."""
    holds = pair(dst, src, "copy")
    assert holds is not None
    to, from_ = holds
    nbytes = len(to)
    copy_now(to, from_, nbytes)
    return nbytes


def icopy_wait(dst: Any, src: Any) -> int:
    """Post a copy and wait for it: the paper's latency."""
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
