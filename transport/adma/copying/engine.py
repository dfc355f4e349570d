# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine: which one serves, with how many queues, and what it has done.

========== ==============================================================
thread     queues that are threads of this process, asleep while idle
caller     none: who waits copies. What one core gets
dmaengine  the DMA channels of the kernel helper, where /dev/adma is; what they
           cannot copy is left to queues as those of `thread`
========== ==============================================================

`auto` is `thread` with a queue for each core that this process may use but
one, at most 4; `caller` with one core; never `dmaengine`. ADMA_ENGINE, ADMA_QUEUES and
ADMA_SCHEDULE in the environment say otherwise, and `configure` overrides them.
"""

from __future__ import annotations

import atexit
import operator
import os
import sys
import threading
import warnings
from collections.abc import Collection
from typing import Any, Literal, SupportsIndex

from .._core._native import ffi, lib

__all__ = ["ENGINES", "SCHEDULES", "configure", "describe", "prepare", "queues_running", "stats"]

ENGINES = {"auto": lib.ADMA_ENGINE_AUTO, "caller": lib.ADMA_ENGINE_CALLER}
ENGINES |= {"thread": lib.ADMA_ENGINE_THREAD, "dmaengine": lib.ADMA_ENGINE_DMA}
SCHEDULES = {"adaptive": 0, "round-robin": 1}  # enum adma_policy
_WAYS = [ffi.string(lib.adma_kernel_name(way)).decode() for way in range(lib.adma_kernels())]
KERNELS = {"auto": 0} | {name: way + 1 for way, name in enumerate(_WAYS)}
_CLASSES = ("small", "middling", "large")  # schedule.h
QUEUES_MAX = 16
AT_ONCE_MAX = 1 << 20
_SLICE_NS = 5_000_000  # of waiting, before signals are looked at

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
    """Choose what copies from now on; what is not named stays as it is.

    `engine`: see this module. `queues`: 1 to 16, or 0 for as many as suit the
    cores. `schedule`: "adaptive" (small copies do not wait behind large ones, a
    large one spreads over idle queues) or "round-robin" (the paper's: copy i
    goes to queue i modulo their number). `callers_help`: does who waits
    copy, too? (Without, its caches stay clean.) `kernel`: how a core copies,
    "auto" (what is measured to be fastest, on the copies themselves), "libc" and,
    on x86-64, "movsb", "stream", "prefetch". `at_once`: `icopy` makes copies of up
    to so many bytes itself, 0 to 1 MiB; 64 KiB unless set, less than it takes to hand over.

    Waits for what is outstanding. ValueError, TypeError for a bad argument;
    OSError with errno, cause and cure for an engine that cannot be had here.
    """
    with _preparing:
        first = not _prepared
        config = _current_raw()
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
            config.at_once = _small(at_once)
        if first:
            _apply(config)
        _is_prepared()
    if not first:  # without the lock: it may have to wait for copies
        _apply(config)


def stats() -> dict[str, int]:
    """What the engine has done in this process: copies, bytes, parts, sleeps, nanoseconds.

    `*_ns` are sums over copies that were handed over: in the post, from
    there to the first part, copying, and from the last part until a caller
    saw it (the paper's figure 7).
    """
    found = ffi.new("struct adma_engine_stats *")
    lib.adma_engine_get_stats(found)
    return {name: int(getattr(found, name)) for name, _ in ffi.typeof(found).item.fields}


def describe() -> dict[str, Any]:
    """The engine in use, and why each other cannot be had here. Raises nothing.

    `engines`: None for one that can be had, else cause and cure in words; `refusals`: the same
    apart, with the errno. `error`: what is wrong with the environment's choice.
    """
    error = None
    try:
        prepare()
    except (OSError, ValueError) as wrong:
        error = wrong.strerror if isinstance(wrong, OSError) else str(wrong)
    state = _look()
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
        "refused": os.strerror(state.refused) if state.refused else None,
        "engines": {name: _words(found) if found else None for name, found in refusals.items()},
        "refusals": {name: found for name, found in refusals.items() if found},
    }


def _measured(number: int) -> dict[str, Any]:
    """What copying 128 KiB took in each way, in copies of one class of size, and the choice."""
    found = ffi.new("struct adma_engine_kernels *")
    lib.adma_engine_kernels(number, found)
    medians = {
        name: int(found.median_ns[way]) for way, name in enumerate(_WAYS) if found.taken[way]
    }
    return {"best": _WAYS[found.best], "median_ns": medians}


def prepare() -> None:
    """Take in the environment, once, and see to the end. ValueError names a wrong variable."""
    with _preparing:
        if not _prepared:
            config = _current_raw()
            _read_environment(config, skip=())
            _apply(config)
        _is_prepared()


def prepare_to_help() -> None:
    """For channels, with whose large messages queues help: these do without what cannot be had.

    A RuntimeWarning tells of a wrong variable.
    """
    if ready:
        return
    try:
        prepare()
    except (OSError, ValueError) as wrong:
        text = f"{wrong}; until then no queue of the copy engine helps with large messages"
        warnings.warn(text, RuntimeWarning, stacklevel=4)


def _read_environment(config: Any, skip: Collection[str]) -> None:
    if "ADMA_ENGINE" not in skip and (name := os.environ.get("ADMA_ENGINE")):
        config.engine = _choice(name, ENGINES, "ADMA_ENGINE")
    if "ADMA_QUEUES" not in skip and (text := os.environ.get("ADMA_QUEUES")):
        config.queues = _count(text, "ADMA_QUEUES")
    if "ADMA_SCHEDULE" not in skip and (name := os.environ.get("ADMA_SCHEDULE")):
        config.policy = _choice(name, SCHEDULES, "ADMA_SCHEDULE")


def _named(engine: object, queues: object, schedule: object) -> list[str]:
    """The variables whose settings a call names: they are not even looked at."""
    asked = {"ADMA_ENGINE": engine, "ADMA_QUEUES": queues, "ADMA_SCHEDULE": schedule}
    return [name for name, value in asked.items() if value is not None]


def _is_prepared() -> None:
    """Set up; its end is seen to, by the interpreter's or that of a multiprocessing child."""
    global _prepared, ready
    _prepared = True
    lib.adma_engine_may_assist()
    if ready:
        return
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        util.Finalize(None, _end, exitpriority=-100)  # these leave without the interpreter's end
    elif not _registered:
        _registered.append(True)
        atexit.register(_end)
    ready = True


def _forked() -> None:
    """In the child: it may end in another way than its parent, and another thread had the lock."""
    global ready, _preparing
    ready = False
    _preparing = threading.RLock()


def queues_running() -> int:
    """Queues that copy by themselves; 0: only who waits copies."""
    return int(_look().running)


def warn_if_refused() -> None:
    """Say once that the engine could not be started, and that copying goes on without it."""
    state = _look()
    if state.refused and not _warned:
        _warned.append(state.refused)
        name = _name(ENGINES, state.chosen)
        why = _words(_explained(name, state.refused))
        warnings.warn(
            f"the copy engine {name!r} cannot be started ({why}): "
            "copies are made by who waits for them",
            RuntimeWarning,
            stacklevel=4,
        )


#: Is nothing left to prepare? Each post looks.
ready = False
_prepared = False
_registered: list[bool] = []
# A signal handler may copy while its own thread is here.
_preparing = threading.RLock()
os.register_at_fork(after_in_child=_forked)
_warned: list[int] = []


def _look() -> Any:
    """A `struct adma_engine_state *`, as of now."""
    state = ffi.new("struct adma_engine_state *")
    lib.adma_engine_look(state)
    return state


def _current_raw() -> Any:
    state = _look()  # held: its config is a part of it, and keeps nothing alive
    return ffi.new("struct adma_engine_config *", state.config)[0]


def _current() -> Any:
    prepare()
    return _current_raw()


def _apply(config: Any) -> None:
    name = _name(ENGINES, config.engine)
    if found := _refusal(name):
        text = f"the copy engine {name!r} cannot be had here: {_words(found)}"
        raise OSError(found["errno"], text)
    while rc := lib.adma_engine_configure(ffi.addressof(config)):
        if rc == -22:
            raise ValueError("the copy engine's configuration is impossible")
        while not lib.adma_engine_drain(_SLICE_NS):
            pass


def _refusal(name: str) -> dict[str, Any] | None:
    """Why an engine cannot be had here: errno, cause, cure."""
    number = lib.adma_engine_probe(ENGINES[name])
    return _explained(name, number) if number else None


def _explained(name: str, number: int) -> dict[str, Any]:
    cause, cure = os.strerror(number), ""
    if name == "dmaengine":
        from ..mechanisms.helper import circumstances, explain_copies

        cause, cure = explain_copies(number, circumstances())
    return {"errno": int(number), "cause": cause, "cure": cure}


def _words(found: dict[str, Any]) -> str:
    return f"{found['cause']}; cure: {found['cure']}" if found["cure"] else str(found["cause"])


def _choice(name: object, known: dict[str, int], what: str) -> int:
    if not isinstance(name, str):
        raise TypeError(f"{what} is a name, one of {', '.join(known)}, not {type(name).__name__}")
    if name not in known:
        raise ValueError(f"{what} is {name!r}: choose one of {', '.join(known)}")
    return known[name]


def _count(value: SupportsIndex | str, what: str) -> int:
    try:
        number = int(value) if isinstance(value, str) else operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{what} is a whole number of queues, not {kind}") from None
    except ValueError:
        raise ValueError(f"{what} is {value!r}: a whole number of queues is needed") from None
    if not 0 <= number <= QUEUES_MAX:
        raise ValueError(
            f"{what} is {number}: from 1 to {QUEUES_MAX} queues, or 0 for as many as suit the cores"
        )
    return number


def _small(value: SupportsIndex) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"configure(at_once) is a whole number of bytes, not {kind}") from None
    if not 0 <= number <= AT_ONCE_MAX:
        raise ValueError(
            f"configure(at_once) is {number}: from 0 (hand over whatever there is) to {AT_ONCE_MAX}"
        )
    return number


def _name(known: dict[str, int], number: int) -> str:
    return next(name for name, value in known.items() if value == number)


def _end() -> None:
    """At exit: what was posted is copied before its buffers go, and the queues end."""
    from .copies import abandon, finish

    try:
        finish()
        # Daemon threads may post still: no queue must be at their buffers when these go.
        while lib.adma_engine_end():
            lib.adma_engine_drain(_SLICE_NS)
    except BaseException:  # Ctrl-C: the interpreter ends while queues copy
        abandon()
        raise
