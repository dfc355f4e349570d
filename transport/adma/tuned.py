# SPDX-License-Identifier: BSD-3-Clause
"""What `adma tune` has measured, in a file of the user's: stored, and taken up by each process.

The file names the machine that it was measured on. One from another machine, a damaged one, and
one that others may write is told of by a RuntimeWarning, and ignored: the process learns then
as if there were none.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import stat
import tempfile
import warnings
from dataclasses import dataclass, field
from typing import Any, Final

from . import config
from ._core import learning
from ._core.learning import Cost, Spread

__all__ = [
    "Tuned",
    "Unusable",
    "forgo",
    "load",
    "machine",
    "path",
    "provide",
    "store",
    "take_up",
    "take_up_spreads",
]

FORMAT: Final = "adma-tuned/2"
_BYTES_MAX: Final = 1 << 20
_COSTS_MAX: Final = 2048
_CURE: Final = "run `adma tune` here"

# What the file holds, or None: there is nothing to take up. Empty: nobody has looked.
_found: Final[list[Tuned | None]] = []
_taken_up: Final[set[str]] = set()  # what this process has begun with: "messages", "copies"


class Unusable(ValueError):
    """A file that is not taken up, and why."""


@dataclass(frozen=True)
class Tuned:
    """What was measured: when, on which machine, and what messages and copies took."""

    date: str
    machine: dict[str, str]
    costs: list[Cost]
    spreads: list[Spread] = field(default_factory=list)


def path() -> str:
    """Where the user's file is. RuntimeError where the user has no directory for such files."""
    directory = config.configuration_directory()
    if not directory:
        raise RuntimeError("there is no directory for it; cure: set HOME or XDG_CONFIG_HOME")
    return os.path.join(directory, "adma", "tuned.json")


def machine() -> dict[str, str]:
    """What identifies this machine: whatever changes what copies take changes it."""
    return {
        "id": _machine_id(),
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _machine_id() -> str:
    """A hash of the installed system's id, which itself is not to be told (machine-id(5))."""
    try:
        with open("/etc/machine-id", "rb") as file:
            return hashlib.sha256(b"adma" + file.read(100).strip()).hexdigest()[:16]
    except OSError:
        return ""


def _processor() -> str:
    """The name of the first processor. Little is read: the kernel has to make all of the text."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as file:
            text = file.read(4096).decode("ascii", errors="replace")
    except OSError:
        return ""
    named = (line.partition(":") for line in text.splitlines())
    found = {name.strip(): " ".join(value.split()) for name, _, value in reversed(list(named))}
    return found.get("model name") or found.get("CPU part") or ""


def provide() -> None:
    """Make the directory of the file. OSError: the file could not be written there."""
    directory = os.path.dirname(path())
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=".tuned-", dir=directory):
        pass


def store(costs: list[Cost], spreads: list[Spread], date: str) -> str:
    """Write the file anew, and return where it is. OSError: it cannot be written."""
    where = path()
    text = json.dumps(
        {
            "format": FORMAT,
            "date": date,
            "machine": machine(),
            "costs": costs,
            "spreads": spreads,
        },
        indent=1,
    )
    provide()
    fd, fresh = tempfile.mkstemp(prefix=".tuned-", dir=os.path.dirname(where))
    try:
        with open(fd, "w", encoding="ascii") as file:
            file.write(text + "\n")
        os.replace(fresh, where)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    return where


def load() -> Tuned | None:
    """What the file holds; None: there is none. Unusable, or OSError: it is not to be used."""
    try:
        # Not a FIFO, which would hold us up, nor what a link of somebody else's names.
        fd = os.open(path(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable("it is a symbolic link") from None
        raise
    try:
        found = _parse(_read(fd))
    finally:
        os.close(fd)
    here = machine()
    other = [name for name in here if found.machine.get(name) != here[name]]
    if other:
        raise Unusable(f"it was measured on another machine ({', '.join(other)}); cure: {_CURE}")
    return found


def _read(fd: int) -> bytes:
    """The content of the file, if nobody else can have written it."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise Unusable("it is no regular file")
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unusable("another user may write it; cure: chmod go-w, or remove it")
    with open(fd, "rb", closefd=False) as file:
        return file.read(_BYTES_MAX + 1)


def _parse(text: bytes) -> Tuned:
    """The text of a file. Unusable: it is damaged."""
    if len(text) > _BYTES_MAX:
        raise Unusable(f"it is longer than {_BYTES_MAX} bytes; cure: {_CURE}")
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise Unusable(f"it is of another format than {FORMAT}; cure: {_CURE}")
        told = found.get("spreads", [])  # an earlier version stored none
        if len(found["costs"]) > _COSTS_MAX or len(told) > _COSTS_MAX:
            raise ValueError("too many costs")
        names = {str(name): str(value) for name, value in found["machine"].items()}
        costs, spreads = [_cost(each) for each in found["costs"]], [_spread(each) for each in told]
        return Tuned(str(found["date"]), names, costs, spreads)
    except Unusable:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unusable(f"it is damaged ({type(error).__name__}: {error}); cure: {_CURE}") from None


def _cost(fields: Any) -> Cost:
    size_class, mechanism, choice, aliased, detour, window, chosen, ns_per_mib = fields
    _require_numbers(size_class, mechanism, choice, ns_per_mib)
    return Cost(
        size_class,
        mechanism,
        choice,
        bool(aliased),
        bool(detour),
        bool(window),
        bool(chosen),
        ns_per_mib,
    )


def _spread(fields: Any) -> Spread:
    size_class, waits, queues, size, chosen, samples, part_bytes, ns_per_mib = fields
    _require_numbers(size_class, queues, size, samples, part_bytes, ns_per_mib)
    return Spread(
        size_class, bool(waits), queues, size, bool(chosen), samples, part_bytes, ns_per_mib
    )


def _require_numbers(*numbers: Any) -> None:
    if not all(type(each) is int and 0 <= each < 1 << 31 for each in numbers):
        raise ValueError(f"{numbers} are no numbers of a way")


def forgo() -> None:
    """Do not take up anything in this process."""
    _found[:] = [None]


def take_up() -> None:
    """Begin with what the file says of messages, once in each process.

    A RuntimeWarning tells why not. A process that cannot look for the file goes on without a word:
    it may have given up the rights of the user whose HOME it has, or be in a sandbox, or be out of
    descriptors.
    """
    if (found := _once("messages")) is not None:
        learning.take_up(os.geteuid(), found.costs)


def take_up_spreads() -> None:
    """The same with what it says of copies. The copy engine has its configuration."""
    if (found := _once("copies")) is not None:
        learning.take_up_spreads(found.spreads)


def _once(what: str) -> Tuned | None:
    if what in _taken_up:
        return None
    _taken_up.add(what)
    if not _found:
        _found.append(None)  # so that nobody looks again, should the warning be an error
        _found[0] = _usable()
    return _found[0]


def _usable() -> Tuned | None:
    try:
        return load() if config.configuration_directory() else None
    except OSError:
        return None
    except Unusable as error:
        warnings.warn(f"{path()} is ignored: {error}", RuntimeWarning, stacklevel=4)
        return None
