# SPDX-License-Identifier: BSD-3-Clause
"""What this process holds, and what of it was not there before."""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from .observe import children

_SHM = Path("/dev/shm")
# A mapping of the library's: an endpoint's segment, or a bulk segment.
_MAPPED = re.compile(r"^\S+ \S+ \S+ \S+ \S+\s+(/memfd:.*|/dev/shm/.*)$", re.MULTILINE)
_SEGMENT = re.compile(r"adma-\d+-(\d+)-")  # adma-UID-PID-, and what nobody can guess
_SETTLE = 3.0


@dataclass(frozen=True)
class Snapshot:
    """Everything of this process that a test could leave behind, each with its description."""

    fds: dict[int, str] = field(default_factory=dict)
    threads: dict[int, str] = field(default_factory=dict)
    children: dict[int, str] = field(default_factory=dict)
    mappings: dict[str, str] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """What to look at beyond this process, and what of this process belongs to no test."""

    pids: frozenset[int] = frozenset()  # whose segments are ours
    places: tuple[Path, ...] = ()  # directories to look for files in
    other_children: frozenset[int] = frozenset()
    other_fds: frozenset[int] = frozenset()
    other_threads: frozenset[str] = frozenset()  # names of threads that are not Python's


def snapshot(scope: Scope) -> Snapshot:
    """What is there now."""
    fds = {fd: text for fd, text in _fds().items() if fd not in scope.other_fds}
    running = children(os.getpid())
    return Snapshot(
        fds=fds,
        threads=_threads(scope.other_threads),
        children={pid: text for pid, text in running.items() if pid not in scope.other_children},
        mappings=_mappings(),
        segments=_segments(scope.pids),
        files=_files(scope.places),
    )


def left_behind(before: Snapshot, scope: Scope) -> list[str]:
    """What is there now and was not there `before`, one line each.

    A thread that was joined may take a moment to vanish from /proc, and so may what a
    killed process held: looked at again for a while before it counts.
    """
    deadline = time.monotonic() + _SETTLE
    while True:
        lines = _compare(before, snapshot(scope))
        if not lines or time.monotonic() > deadline:
            return lines
        gc.collect()
        time.sleep(0.01)


def _compare(before: Snapshot, now: Snapshot) -> list[str]:
    lines = []
    for noun in ("fds", "threads", "children", "mappings", "segments", "files"):
        old, new = getattr(before, noun), getattr(now, noun)
        lines += [
            f"{noun}: {key} {text}"
            for key, text in new.items()
            if key not in old or (noun == "fds" and old[key] != text)
        ]
    return lines


def _fds() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _threads(others: frozenset[str]) -> dict[int, str]:
    names = {thread.native_id: thread for thread in threading.enumerate()}
    frames = sys._current_frames()
    found = {}
    for entry in os.listdir("/proc/self/task"):
        thread = names.get(int(entry))
        if thread is None:
            name = _name(entry)
            if name not in others:
                found[int(entry)] = f"(not a Python thread: {name})"
            continue
        frame = frames.get(thread.ident or 0)
        where = traceback.format_stack(frame, limit=3) if frame else []
        found[int(entry)] = f"{thread.name}\n" + "".join(where)
    return found


def _name(tid: str) -> str:
    try:
        return Path(f"/proc/self/task/{tid}/comm").read_text().strip()
    except OSError:
        return "gone"


def _mappings() -> dict[str, str]:
    text = Path("/proc/self/maps").read_text()
    return {match[0].split()[0]: match[1] for match in _MAPPED.finditer(text)}


def _segments(pids: frozenset[int]) -> dict[str, str]:
    """Segments in /dev/shm whose name carries `adma` and the pid of a process of ours."""
    found = {}
    for name in os.listdir(_SHM) if _SHM.is_dir() else ():
        match = _SEGMENT.match(name)
        if match and int(match[1]) in pids | {os.getpid()}:
            found[name] = str(_SHM / name)
    return found


def _files(places: tuple[Path, ...]) -> dict[str, str]:
    return {
        str(path): "socket" if path.is_socket() else "file"
        for place in places
        for path in place.rglob("*")
        if not path.is_dir()
    }
