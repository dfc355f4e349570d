# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine: which one makes copies, with how many threads, and what it has done.

========== ==============================================================================
thread     copy worker threads of this process, which sleep while there is nothing to do
caller     no threads: a thread that waits for a copy makes it
dmaengine  the DMA channels of the kernel helper, where there is /dev/adma; copy worker
           threads make what these cannot copy
========== ==============================================================================

`auto` is `thread`, with one copy worker thread less than this process has cores, and at most
4. With one core it is `caller`. It is never `dmaengine`. The variables ADMA_ENGINE, ADMA_QUEUES
and ADMA_SCHEDULE say otherwise, and `configure` overrides them. (Copy worker threads are called
queues in these names.)

The engine learns in how large parts copies of each size are made best, and how many of its threads
should make them at the same time: never more than are configured. ADMA_LEARN=0 switches that off.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from .. import config as environment
from .. import tuned
from .._core import engine as core
from .._core import learning
from .._core.constants import QUEUES_MAX
from ..arguments import whole_between
from ..kernel_helper import circumstances, explain_copies
from . import outstanding

if TYPE_CHECKING:
    from .._core.types import EngineConfig

__all__ = ["ENGINES", "SCHEDULES", "configure", "describe", "prepare", "queues_running", "stats"]

ENGINES = {"auto": core.AUTO, "caller": core.CALLER, "thread": core.THREAD, "dmaengine": core.DMA}
SCHEDULES = {"adaptive": core.ADAPTIVE, "round-robin": core.ROUND_ROBIN}
# 0 stands for the fastest that was measured.
KERNELS = {"auto": 0} | {name: way + 1 for way, name in enumerate(core.KERNEL_NAMES)}
_CLASSES = ("small", "middling", "large")  # of size, as copy/schedule.h has them
AT_ONCE_MAX = 1 << 20  # bytes

EngineName = Literal["auto", "caller", "thread", "dmaengine"]
ScheduleName = Literal["adaptive", "round-robin"]


def configure(
    *,
    engine: EngineName | None = None,
    queues: SupportsIndex | None = None,
    schedule: ScheduleName | None = None,
    callers_help: bool | None = None,
    kernel: str | None = None,
    at_once: SupportsIndex | None = None,
) -> None:
    """Choose what makes copies from now on. What is not named stays as it is.

    `engine`: "thread", "caller", "dmaengine" or "auto".
    `queues`: copy worker threads, 1 to 16; 0 for as many as suit the cores. Fewer of them make a
    copy if that was learnt to be quicker.
    `schedule`: with "adaptive", small copies do not wait behind large ones, and idle threads
    share a large one. With "round-robin", copy i goes to thread i modulo their number, as in
    the paper.
    `callers_help`: does a thread that waits for a copy help to make it? If not, the copy
    leaves the thread's caches as they are.
    `kernel`: how a core copies. "auto" measures, on the copies themselves, which way is
    fastest. The ways are "libc" and, on x86-64, "movsb", "stream" and "prefetch".
    `at_once`: bytes, 0 to 1 MiB; `icopy` makes copies of up to so many bytes itself. It is
    64 KiB unless set; to hand over a copy of that size takes longer than to make it.

    Waits for copies that are outstanding. ValueError, TypeError: a bad argument. OSError with
    errno, cause and cure: the engine cannot be used here.
    """
    with _preparing:
        first = not _prepared
        config = core.configuration()
        if first:
            _read_environment(config, skip=_named(engine, queues, schedule))
        if engine is not None:
            config.engine = _choice(engine, ENGINES, "configure(engine)")
        if queues is not None:
            config.queues = _count(queues, "configure(queues)")
        if schedule is not None:
            config.policy = _choice(schedule, SCHEDULES, "configure(schedule)")
        if callers_help is not None:
            config.callers_help = bool(callers_help)
        if kernel is not None:
            config.kernel = _choice(kernel, KERNELS, "configure(kernel)")
        if at_once is not None:
            config.at_once = whole_between(
                at_once,
                0,
                AT_ONCE_MAX,
                "configure(at_once) is a whole number of bytes",
                "configure(at_once) is {}: from 0 (hand over whatever there is) to "
                f"{AT_ONCE_MAX}",
            )
        if first:
            _begin(config)
        _is_prepared()
    if not first:  # without the lock: it may have to wait for copies
        _apply(config)


def stats() -> dict[str, int]:
    """What the engine has done in this process, by name.

    `copies`, `bytes`, `cancelled`, `failed`: copies by their end; `at_once`: those that the call
    of `copy` or `icopy` made itself; `held_back`: those that waited for earlier ones.
    `parts_queues`, `parts_callers`: parts that copy worker threads and waiting threads made.
    `copies_device`, `bytes_device`, `refused_device`: what DMA channels copied, or refused.
    `outstanding`, `in_line`: copies that are not done, and those of them that wait for room.
    `wakes`, `sleeps`: of the copy worker threads.
    `*_ns` are sums over copies that were handed over: the time in the post, from there to the
    first part, to the end of the last part, and until a caller saw it. (Paper, figure 7.)
    """
    return core.stats()


def describe() -> dict[str, Any]:
    """The engine in use, what it has learnt, and why others cannot be used here. Raises nothing.

    `engines`: for each None, or cause and cure in words. `refusals`: the same as errno, cause
    and cure. `error`: what is wrong with the choice that the environment makes. `learnt`: ways of
    spreading copies of `nbytes` and more, by who made them, only the queues or also a caller that
    `waits`: how many `queues` at the same time, in parts of `part_bytes`; whether it is `chosen`,
    but for tries; the number of `samples` in this process; and what `nbytes` take, in `seconds`.
    """
    error = None
    try:
        prepare()
    except (OSError, ValueError) as wrong:
        error = wrong.strerror if isinstance(wrong, OSError) else str(wrong)
    state = core.look()
    refusals = {name: _refusal(name) for name in ENGINES}
    return {
        "error": error,
        "engine": _name(ENGINES, state.chosen),
        "asked": _name(ENGINES, state.config.engine),
        "queues": int(state.queues),
        "running": int(state.running),
        "schedule": _name(SCHEDULES, state.config.policy),
        "callers_help": bool(state.config.callers_help),
        "kernel": _name(KERNELS, state.config.kernel),
        "kernels": {name: _measured(number) for number, name in enumerate(_CLASSES)},
        "at_once": int(state.config.at_once),
        "learns": bool(state.config.learns),
        "learnt": [_learnt(each) for each in learning.tell_spreads()],
        "refused": os.strerror(state.refused) if state.refused else None,
        "engines": {name: _words(found) if found else None for name, found in refusals.items()},
        "refusals": {name: found for name, found in refusals.items() if found},
    }


def _measured(number: int) -> dict[str, Any]:
    """What it took to copy 128 KiB in each way, in copies of one class of size; and the best."""
    best, found = core.kernel_times(number)
    medians = {core.KERNEL_NAMES[way]: median for way, median in found.items()}
    return {"best": core.KERNEL_NAMES[best], "median_ns": medians}


def _learnt(spread: learning.Spread) -> dict[str, Any]:
    nbytes = learning.size_of(spread.size_class)
    return {
        "nbytes": nbytes,
        "waits": spread.waits,
        "queues": spread.queues,
        "part_bytes": spread.part_bytes,
        "chosen": spread.chosen,
        "samples": spread.samples,
        "seconds": spread.ns_per_mib * nbytes / (1 << 20) / 1e9,
    }


def prepare() -> None:
    """Read the environment, once, and arrange for the end. ValueError names a wrong variable."""
    with _preparing:
        if not _prepared:
            config = core.configuration()
            _read_environment(config, skip=())
            _begin(config)
        _is_prepared()


def prepare_to_help() -> None:
    """Let copy worker threads help with the large messages of channels.

    Channels do without them where the engine cannot be used. A RuntimeWarning tells of a
    wrong variable.
    """
    if ready:
        return
    try:
        prepare()
    except (OSError, ValueError) as wrong:
        text = f"{wrong}; until it is mended no copy worker thread helps with large messages"
        warnings.warn(text, RuntimeWarning, stacklevel=4)


def _begin(config: EngineConfig) -> None:
    """Configure the engine for the first time, and let it begin with what `adma tune` stored."""
    _apply(config)
    if config.learns:
        tuned.take_up_spreads()


def _read_environment(config: EngineConfig, skip: Collection[str]) -> None:
    """Take in the variables that are set, but for those in `skip`."""

    def told(variable: str) -> str:
        return "" if variable in skip else environment.value(variable)

    config.learns = environment.learns()
    if name := told(environment.ENGINE):
        config.engine = _choice(name, ENGINES, environment.ENGINE)
    if text := told(environment.QUEUES):
        config.queues = _count(text, environment.QUEUES)
    if name := told(environment.SCHEDULE):
        config.policy = _choice(name, SCHEDULES, environment.SCHEDULE)


def _named(engine: object, queues: object, schedule: object) -> list[str]:
    """The variables that a call overrides. They are not even looked at."""
    asked = {
        environment.ENGINE: engine,
        environment.QUEUES: queues,
        environment.SCHEDULE: schedule,
    }
    return [name for name, value in asked.items() if value is not None]


def _is_prepared() -> None:
    """Arrange for the end, at that of the interpreter or of a child of multiprocessing."""
    global _prepared, ready
    _prepared = True
    core.may_assist()
    if ready:
        return
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        # Such a child ends without the interpreter's functions at exit.
        util.Finalize(None, _end, exitpriority=-100)
    elif not _registered:
        _registered.append(True)
        atexit.register(_end)
    ready = True


def _forked() -> None:
    """In the child: begin anew. It may end in another way, and no thread will free the lock."""
    global ready, _preparing
    ready = False
    _preparing = threading.RLock()


def queues_running() -> int:
    """How many copy worker threads run; 0: only threads that wait for copies make them."""
    return core.look().running


def warn_if_refused() -> None:
    """Say once that the engine could not be started, and that copies are made without it."""
    state = core.look()
    if state.refused and not _warned:
        _warned.append(state.refused)
        name = _name(ENGINES, state.chosen)
        why = _words(_explained(name, state.refused))
        warnings.warn(
            f"the copy engine {name!r} cannot be started ({why}): "
            "a thread that waits for a copy makes it",
            RuntimeWarning,
            stacklevel=3,
        )


#: Is everything prepared? Each post looks.
ready = False
_prepared = False
_registered: list[bool] = []
# A signal handler may copy while its own thread is here.
_preparing = threading.RLock()
os.register_at_fork(after_in_child=_forked)
_warned: list[int] = []


def _current() -> EngineConfig:
    prepare()
    return core.configuration()


def _apply(config: EngineConfig) -> None:
    name = _name(ENGINES, config.engine)
    if found := _refusal(name):
        text = f"the copy engine {name!r} cannot be had here: {_words(found)}"
        raise OSError(found["errno"], text)
    while rc := core.configure(config):
        if rc == -errno.EINVAL:
            raise ValueError("the copy engine's configuration is impossible")
        while not core.drain(outstanding.SLICE_NS):
            pass


def _refusal(name: str) -> dict[str, Any] | None:
    """Why an engine cannot be had here: errno, cause, cure."""
    number = core.probe(ENGINES[name])
    return _explained(name, number) if number else None


def _explained(name: str, number: int) -> dict[str, Any]:
    cause, cure = os.strerror(number), ""
    if name == "dmaengine":
        cause, cure = explain_copies(number, circumstances())
    return {"errno": number, "cause": cause, "cure": cure}


def _words(found: dict[str, Any]) -> str:
    return f"{found['cause']}; cure: {found['cure']}" if found["cure"] else str(found["cause"])


def _choice(name: object, known: dict[str, int], what: str) -> int:
    if not isinstance(name, str):
        raise TypeError(f"{what} is a name, one of {', '.join(known)}, not {type(name).__name__}")
    if name not in known:
        raise ValueError(f"{what} is {name!r}: choose one of {', '.join(known)}")
    return known[name]


def _count(value: SupportsIndex | str, what: str) -> int:
    """A number of queues, also as text: that is what a variable holds."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            text = f"{what} is {value!r}: a whole number of queues is needed"
            raise ValueError(text) from None
    return whole_between(
        value,
        0,
        QUEUES_MAX,
        f"{what} is a whole number of queues",
        f"{what} is {{}}: from 1 to {QUEUES_MAX} queues, or 0 for as many as suit the cores",
    )


def _name(known: dict[str, int], number: int) -> str:
    return next(name for name, value in known.items() if value == number)


def _end() -> None:
    """At exit: finish what was posted, before its buffers are freed, and end the threads."""
    outstanding.finish()
    # Daemon threads may still post. No worker thread may use buffers that are freed.
    while core.end():
        core.drain(outstanding.SLICE_NS)
    # After Ctrl-C here the interpreter ends while threads copy. What they copy keeps itself.
