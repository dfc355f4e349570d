# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel helper tells benchmarks about itself: counters, DMA channels, limits.

The structures are those of ``kernel/include/uapi/linux/adma.h``. ctypes reads them, so that a count
does not depend on the core that is counted. Nothing here moves a message.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adma.closing import Closing

DEVICE = "/dev/adma"
MAGIC = 0xAD
COUNTERS_OF_MODULE = 1
MAX_CHANNELS = Path("/sys/module/adma/parameters/max_channels")
TIMES = ("post", "pin", "start", "copy", "complete")
STATES = {0: "works", 1: "retired", 2: "lost", 3: "faulty"}
REASONS = {1: "silent", 2: "align"}


class Info(ctypes.Structure):
    """``struct adma_info``: ABI, features, limits."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("abi", ctypes.c_uint32),
        ("features", ctypes.c_uint32),
        ("channels", ctypes.c_uint32),
        ("retired", ctypes.c_uint32),
        ("entries", ctypes.c_uint32),
        ("iov_max", ctypes.c_uint32),
        ("length_max", ctypes.c_uint64),
        ("window", ctypes.c_uint64),
        ("pin_limit", ctypes.c_uint64),
        ("dma_min", ctypes.c_uint64),
        ("requests_max", ctypes.c_uint32),
        ("connections_max", ctypes.c_uint32),
    )


class Channel(ctypes.Structure):
    """``struct adma_channel``: one DMA channel and what it has done."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("align", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("bytes", ctypes.c_uint64),
        ("pieces", ctypes.c_uint64),
        ("errors", ctypes.c_uint64),
        ("timeouts", ctypes.c_uint64),
        ("name", ctypes.c_char * 32),
        ("driver", ctypes.c_char * 32),
    )


class Refused(ctypes.Structure):
    """``struct adma_refused``: a device whose DMA channels are not used."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("index", ctypes.c_uint32),
        ("reason", ctypes.c_uint32),
        ("name", ctypes.c_char * 32),
        ("driver", ctypes.c_char * 32),
    )


class Counters(ctypes.Structure):
    """``struct adma_counters``."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("posts", ctypes.c_uint64),
        ("matches", ctypes.c_uint64),
        ("done", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("bytes_dma", ctypes.c_uint64),
        ("bytes_cpu", ctypes.c_uint64),
        ("bytes_edge", ctypes.c_uint64),
        ("bytes_rescued", ctypes.c_uint64),
        ("pieces", ctypes.c_uint64),
        ("pin_hits", ctypes.c_uint64),
        ("pin_misses", ctypes.c_uint64),
        ("pages_pinned", ctypes.c_uint64),
        ("pages_unpinned", ctypes.c_uint64),
        ("pages_stuck", ctypes.c_uint64),
        ("invalidations", ctypes.c_uint64),
        ("timeouts", ctypes.c_uint64),
        ("times", ctypes.c_uint64 * len(TIMES)),
    )


def _iowr(number: int, kind: type[ctypes.Structure]) -> int:
    """The request number of a command that reads and writes its structure."""
    return (3 << 30) | (ctypes.sizeof(kind) << 16) | (MAGIC << 8) | number


INFO = _iowr(0x00, Info)
CHANNEL = _iowr(0x01, Channel)
COUNTERS = _iowr(0x02, Counters)
REFUSED = _iowr(0x04, Refused)

# All commands by their number.
COMMANDS = {
    0x00: "info",
    0x01: "channel",
    0x02: "counters",
    0x03: "pair",
    0x04: "refused",
    0x10: "post",
    0x11: "copy",
    0x12: "peek",
    0x13: "check",
    0x14: "wait",
    0x15: "cancel",
}


def command_of(request: int) -> str | None:
    """The name of one of the helper's commands, by its ioctl(2) number; None: it is another's."""
    return COMMANDS.get(request & 0xFF) if request >> 8 & 0xFF == MAGIC else None


class Helper(Closing):
    """The device, held open: the module keeps its DMA channels and their counts for as long.

    Raises FileNotFoundError without the module, PermissionError without the right to open it.
    """

    def __init__(self, path: str = DEVICE) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def info(self) -> dict[str, int]:
        """ABI version, features, limits. Raises OSError."""
        return _plain(self._ask(INFO, Info()))

    def counters(self) -> dict[str, int]:
        """The module's counters since it was loaded; ``time_NAME`` is in nanoseconds. OSError."""
        found = self._ask(COUNTERS, Counters(flags=COUNTERS_OF_MODULE))
        times = {f"time_{name}": int(ns) for name, ns in zip(TIMES, found.times, strict=True)}
        return {**_plain(found), **times}

    def channels(self) -> list[dict[str, Any]]:
        """The DMA channels that the module holds, in its order. Raises OSError."""
        found = [
            self._ask(CHANNEL, Channel(index=index)) for index in range(self.info()["channels"])
        ]
        return [
            {
                **_plain(each),
                "state": STATES.get(each.state, str(each.state)),
                "name": each.name.decode(errors="replace"),
                "driver": each.driver.decode(errors="replace"),
            }
            for each in found
        ]

    def refused(self) -> list[dict[str, str]]:
        """The devices whose DMA channels the module does not use, and why. Raises OSError."""
        found: list[dict[str, str]] = []
        try:
            while True:
                each = self._ask(REFUSED, Refused(index=len(found)))
                found.append(
                    {
                        "name": each.name.decode(errors="replace"),
                        "driver": each.driver.decode(errors="replace"),
                        "reason": REASONS.get(each.reason, str(each.reason)),
                    }
                )
        except OSError as error:
            # ENOENT: there are no more. ENOTTY: an older module, which refuses none.
            if error.errno not in (errno.ENOENT, errno.ENOTTY):
                raise
        return found

    def close(self) -> None:
        """Close the device. Closing twice is no error."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _ask(self, request: int, asked: Any) -> Any:
        asked.size = ctypes.sizeof(asked)
        fcntl.ioctl(self._fd, request, asked)
        return asked


class ChannelsFixed(OSError):
    """The module uses another number of DMA channels, and this process may not change it."""


def channels() -> int:
    """How many DMA channels the module has while it is open; 0 where it cannot be asked."""
    try:
        with Helper() as helper:
            return helper.info()["channels"]
    except OSError:
        return 0


def use_channels(number: int) -> None:
    """Let copies use so many of the channels from now on. This is for the whole machine.

    Raises ChannelsFixed where there are fewer, or where only root may say so.
    """
    held = channels()
    if number > held:
        raise ChannelsFixed(errno.ENODEV, f"the module holds {held} DMA channels")
    with contextlib.suppress(OSError):
        if number == min(held, int(MAX_CHANNELS.read_text())):
            return
    try:
        MAX_CHANNELS.write_text(str(number))
    except OSError as error:
        raise ChannelsFixed(error.errno, f"only root may set {MAX_CHANNELS}") from error


@contextlib.contextmanager
def channels_kept() -> Iterator[None]:
    """Keep the module's channels, and let it use as many afterwards as before."""
    try:
        before, helper = MAX_CHANNELS.read_text(), Helper()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        helper.close()
        if MAX_CHANNELS.read_text() != before:
            MAX_CHANNELS.write_text(before)


def difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What was counted from one reading to the next."""
    return {name: after[name] - before[name] for name in after}


def _plain(found: ctypes.Structure) -> dict[str, int]:
    """The numbers of a structure by name, without its padding and sizes."""
    values = {field[0]: getattr(found, field[0]) for field in found._fields_}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int) and name not in ("size", "flags", "pad")
    }
