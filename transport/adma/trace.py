# SPDX-License-Identifier: BSD-3-Clause
"""A timeline of what this process did, for Perfetto or chrome://tracing: ADMA_TRACE=FILE.json.

It shows posts, matches and chunks, and which thread copied each. `%p` in FILE stands for the
process's id. The last ADMA_TRACE_EVENTS events (262144 unless set) are kept in memory, and
written when the interpreter ends. See docs/tracing.md.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from . import config
from ._core import trace as core
from ._core.trace import Event
from .mechanisms import NAMES

__all__ = ["events", "start", "write"]

_EVENTS = 1 << 18
_EVENTS_MAX = 1 << 24

_pattern = ""  # as ADMA_TRACE names it, %p and all
_path = ""  # of this process; "": nothing is written
_size = 0


def start() -> None:
    """Begin, as the environment says. OSError: the file cannot be written. ValueError: a number."""
    global _pattern, _size
    _pattern = os.path.abspath(config.value(config.TRACE))
    _size = _events_of(config.value(config.TRACE_EVENTS) or str(_EVENTS))
    _begin(check=True)
    atexit.register(write)
    os.register_at_fork(after_in_child=_forked)


def write() -> None:
    """Stop, and write the file. Says on stderr when it cannot be written any more."""
    global _path
    path, _path = _path, ""
    if not path:
        return
    core.stop()
    try:
        with _open(path) as file:
            _dump(file)
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or "no memory"
        print(f"adma: the trace {path!r} was not written: {why}", file=sys.stderr)


def events() -> tuple[list[dict[str, Any]], int]:
    """What happened since the start, in the Trace Event Format, and how many events were lost."""
    taken, dropped = core.take(_size)
    found = sorted(_timeline(taken), key=lambda event: float(event["ts"]))
    return [*_names(core.threads()), *found], dropped


def _begin(*, check: bool) -> None:
    global _path
    path = _pattern.replace("%p", str(os.getpid()))
    try:
        if check:
            _open(path).close()
    except OSError as error:
        text = f"ADMA_TRACE: {path!r} cannot be written: {error.strerror}"
        raise OSError(error.errno, text) from None
    if rc := core.start(_size):
        raise OSError(-rc, f"ADMA_TRACE: no room for {_size} events: {os.strerror(-rc)}")
    _path = path


def _open(path: str) -> TextIO:
    """An empty file to write to: a new one, or one that is this user's already. OSError.

    In a directory such as /tmp somebody else may have put a file, a link or a FIFO there, so that
    this user overwrites what it does not mean to, hands over its timeline, or waits for ever.
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, how, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link; cure: the file's own name") from None
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file; cure: the name of one")
        if status.st_uid != os.geteuid():
            raise _not_ours(f"it belongs to uid {status.st_uid}")
        if status.st_nlink > 1:
            raise _not_ours("it has further names (hard links)")
        os.ftruncate(fd, 0)
        return open(fd, "w", encoding="utf-8")
    except BaseException:
        os.close(fd)
        raise


def _not_ours(why: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{why}; cure: remove it, or a directory of one's own")


def _forked() -> None:
    """In the child: begin anew, if its file has another name than its parent's.

    The file is made when it is written, since most children become another program.
    """
    global _path
    _path = ""
    if "%p" not in _pattern:
        return
    try:
        _begin(check=False)
    except OSError as error:
        print(f"adma: {error.strerror}", file=sys.stderr)
        return
    # Children of multiprocessing leave without the interpreter's own end.
    if multiprocessing := sys.modules.get("multiprocessing.util"):
        multiprocessing.register_after_fork(_Ending, _Ending.announce)


class _Ending:
    """Lets a child of multiprocessing write its file when it ends."""

    @staticmethod
    def announce(_: object) -> None:
        from multiprocessing import util

        util.Finalize(None, write, exitpriority=-100)


def _events_of(text: str) -> int:
    """A power of two, at least as many as were asked for."""
    if not text.isdecimal() or not 1 <= int(text) <= _EVENTS_MAX:
        raise ValueError(f"ADMA_TRACE_EVENTS is {text!r}: a number from 1 to {_EVENTS_MAX}")
    return 1 << (int(text) - 1).bit_length()


# ---- from the core's events to those of the format ----


def _names(threads: dict[int, str]) -> Iterator[dict[str, Any]]:
    pid = os.getpid()
    title = f"{os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else 'python'} {pid}"
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": pid, "args": {"name": title}}
    for tid, name in threads.items():
        named = f"{name} (main)" if tid == pid else name
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": named}}


def _timeline(taken: list[Event]) -> Iterator[dict[str, Any]]:
    """Events in time's order. A request whose end or beginning is not known is a moment."""
    open_: dict[int, dict[str, Any]] = {}  # requests that were posted
    for event in sorted(taken):
        kind = event.kind
        if kind == core.POST:
            if before := open_.pop(event.id, None):
                yield _as_moment(before)
            open_[event.id] = _posted(event)
        elif kind == core.COMPLETE:
            begun = open_.pop(event.id, None)
            yield from _ended(event, begun)
        else:
            yield from _KINDS[kind](event)
    for begun in open_.values():
        yield _as_moment(begun)


def _base(event: Event, name: str, **args: Any) -> dict[str, Any]:
    return {
        "name": name,
        "pid": os.getpid(),
        "tid": event.tid,
        "ts": event.at / 1000,
        "args": args,
    }


def _moment(event: Event, name: str, **args: Any) -> dict[str, Any]:
    return {**_base(event, name, **args), "ph": "i", "s": "t", "cat": "adma"}


def _span(event: Event, name: str, **args: Any) -> dict[str, Any]:
    return {**_base(event, name, **args), "ph": "X", "dur": event.lasted / 1000, "cat": "adma"}


def _both(event: Event, cat: str, name: str, **args: Any) -> Iterator[dict[str, Any]]:
    """What lasts longer than a call, and belongs to no thread: it has a track of its own."""
    begun = {**_base(event, name, **args), "ph": "b", "cat": cat, "id": hex(event.id)}
    yield begun
    yield {**begun, "ph": "e", "ts": (event.at + event.lasted) / 1000, "args": {}}


def _posted(event: Event) -> dict[str, Any]:
    verb = "read" if event.b else "write"
    begun = _base(event, verb, bytes=event.a)
    return {**begun, "ph": "b", "cat": "message", "id": hex(event.id)}


def _as_moment(begun: dict[str, Any]) -> dict[str, Any]:
    moment = {name: value for name, value in begun.items() if name != "id"}
    return {**moment, "name": f"post of a {begun['name']}", "ph": "i", "s": "t", "cat": "adma"}


def _ended(event: Event, begun: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    args = {"bytes": event.a, "error": event.b}
    if begun is None:
        yield _moment(event, "end of a message", **args)
        return
    yield begun
    yield {**begun, "ph": "e", "tid": event.tid, "ts": event.at / 1000, "args": args}


def _match(event: Event) -> dict[str, Any]:
    name = NAMES.get(event.b, "eager")
    return _moment(event, f"match: {name}", bytes=event.a, mechanism=name, **_pair(event.c))


def _pair(word: int) -> dict[str, str]:
    """The name of a transfer, the same at both ends: the writer's slot and its generation."""
    direction = "out" if word >> 31 & 1 else "in"
    return {"match": f"{word & 0x7FFFFFFF}/{word >> 32}", "direction": direction}


_KINDS: dict[int, Any] = {
    core.COPY_POST: lambda e: [_span(e, "post", bytes=e.a, copy=hex(e.id))],
    core.COPY_HERE: lambda e: [_span(e, "copy in the post", bytes=e.a)],
    core.COPY_PART: lambda e: [
        _span(e, "part", part=e.a, parts=e.b, copy=hex(e.id)),
    ],
    core.COPY_GIVE: lambda e: [
        _span(e, "hand to the device", bytes=e.a, errno=e.b, copy=hex(e.id))
    ],
    core.COPY_DEVICE: lambda e: _both(e, "device", "DMA", bytes=e.a, errno=e.b),
    core.COPY_END: lambda e: _both(e, "copy", "copy", bytes=e.a, errno=e.b),
    core.MATCH: lambda e: [_match(e)],
    core.CHUNK: lambda e: [
        _span(e, "chunk", bytes=e.a, chunk=e.b, **_pair(e.c)),
    ],
    core.PEER: lambda e: [_moment(e, "copied by the peer", chunks=e.a, of=e.b, **_pair(e.c))],
    core.WRITE_NOW: lambda e: [_moment(e, "write at once", bytes=e.a)],
    core.READ_NOW: lambda e: [_moment(e, "read at once", bytes=e.a)],
}


def _dump(file: Any) -> None:
    """An event a line."""
    found, dropped = events()
    about: dict[str, Any] = {"pid": os.getpid(), "clock": "CLOCK_MONOTONIC"}
    about |= {"events": len(found), "dropped": dropped}
    head = json.dumps({"displayTimeUnit": "ns", "otherData": about})
    file.write(head.removesuffix("}") + ', "traceEvents": [')
    for i, event in enumerate(found):
        file.write(("," if i else "") + "\n" + json.dumps(event))
    file.write("\n]}\n")
