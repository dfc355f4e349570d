# SPDX-License-Identifier: BSD-3-Clause
"""What a benchmark ran on: processor, memory, kernel, Python, and the limits that matter."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

from adma import config
from adma.bench.dma import describe_channels

EMULATED = config.EMULATED
# Boards that exist in an emulator only, by what their device trees call themselves.
_EMULATED_BOARDS = {"xlnx-versal-virt": "QEMU xlnx-versal-virt"}
_UNLIMITED = "unlimited"


def describe_machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory in bytes, kernel, and DMA channels.

    `emulated` says what emulates this machine; None means that it is real, or looks so.
    """
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cores_online": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "load": [round(value, 2) for value in os.getloadavg()],
        "emulated": _emulator(),
        "dma_channels": describe_channels(),
    }


def describe_software() -> dict[str, Any]:
    """Python and adma: versions, and whether fault points are compiled in."""
    from adma.bench import build

    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable_bits": 64 if sys.maxsize > 2**32 else 32,
        "adma": build.describe(),
    }


def describe_limits() -> dict[str, int | str]:
    """Limits that decide how many channels there can be, and which mechanisms work."""
    return {
        "open files": _rlimit(resource.RLIMIT_NOFILE),
        "processes": _rlimit(resource.RLIMIT_NPROC),
        "processes in this container": _first_word("/sys/fs/cgroup/pids.max"),
        "locked memory, bytes": _rlimit(resource.RLIMIT_MEMLOCK),
        "free in /dev/shm, bytes": _shm_free(),
        "yama ptrace_scope": _first_word("/proc/sys/kernel/yama/ptrace_scope"),
    }


def one_line() -> str:
    """Processor, cores and kernel in a line, for headings."""
    return headline(describe_machine())


def headline(machine: dict[str, Any]) -> str:
    """The heading for a machine as :func:`describe_machine` or a report gives it."""
    cores = machine["cores"]
    what = f"{machine['cpu']}, {cores} core{'s' if cores != 1 else ''}, {machine['kernel']}"
    return label(machine) + what


def allow_descriptors() -> None:
    """Raise the limit of descriptors as far as we may, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def label(machine: dict[str, Any]) -> str:
    """The mark of figures that were taken in an emulated machine; empty for a real one."""
    emulator = machine.get("emulated")
    return f"EMULATED ({emulator}): " if emulator else ""


def _emulator() -> str | None:
    told = config.value(EMULATED)
    if told:
        return told
    try:
        tree = Path("/sys/firmware/devicetree/base/compatible").read_bytes()
    except OSError:
        return None
    boards = tree.decode("ascii", errors="replace").split("\0")
    return next((_EMULATED_BOARDS[each] for each in boards if each in _EMULATED_BOARDS), None)


def _cpu_model() -> str:
    """The model's name; where the kernel gives none (many ARM systems), the architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Hardware", "cpu model") and value.strip():
            return " ".join(value.split())
    return platform.machine()


def _rlimit(which: int) -> int | str:
    soft, _ = resource.getrlimit(which)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def _first_word(path: str) -> int | str:
    """A kernel setting as a number; "not set" where the kernel has no such file."""
    try:
        word = Path(path).read_text(encoding="ascii").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return "not set"
    if word == "max":
        return _UNLIMITED
    return int(word) if word.lstrip("-").isdecimal() else word


def _shm_free() -> int | str:
    try:
        status = os.statvfs("/dev/shm")
    except OSError as error:
        return error.strerror or "not mounted"
    return status.f_bavail * status.f_frsize
