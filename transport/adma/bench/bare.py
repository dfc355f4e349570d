# SPDX-License-Identifier: BSD-3-Clause
"""Loops in C without any library (``bare.c``): what the machine itself gives, beside what we do.

A C compiler makes them when a benchmark starts, in its private directory. Where there is none, they
are not measured.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adma.bench.pair import ContestantError

SOURCE = Path(__file__).with_name("bare.c")
COMPILERS = ("gcc", "cc", "clang")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-pthread")
CURE = "install gcc"
LIBRARY = "bare.so"
CHUNKS = (4 << 10, 16 << 10, 64 << 10, 256 << 10)
"""Which of these is quickest at a size is tried before it is measured."""


@dataclass(frozen=True)
class Loop:
    """A way to pass messages. It takes part at sizes of `least` to `most` bytes."""

    name: str
    title: str
    path: str
    how: int  # enum bare_how
    chunked: bool = False
    least: int = 1
    most: int = 1 << 40


LINE = Loop("line", "bare line", "one cache line there and one back", 0, most=8)
COPIER = Loop("copier", "bare copier", "process_vm_readv by the reader alone", 1)
CLAIM = Loop(
    "claim",
    "bare both",
    "process_vm_readv and writev, both ends claim chunks",
    2,
    chunked=True,
    least=2 * CHUNKS[0],
)
SHARED = Loop(
    "shared",
    "bare 2 copies",
    "two copies through shared memory, which overlap",
    3,
    chunked=True,
    least=CHUNKS[0],
)
LOOPS = (LINE, COPIER, CLAIM, SHARED)


class End(ctypes.Structure):
    """``struct bare_end``."""

    _fields_ = (
        ("shared", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
        ("into", ctypes.c_void_p),
        ("peer_out", ctypes.c_void_p),
        ("peer_into", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("chunk", ctypes.c_uint64),
        ("rank", ctypes.c_int32),
        ("pid", ctypes.c_int32),
        ("how", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("messages", ctypes.c_uint64 * 2),
        ("chunks", ctypes.c_uint64 * 2),
        ("pieces", ctypes.c_uint64 * 2),
    )


def compiled(directory: Path) -> Path:
    """The library, made in this directory unless it is there. Raises ContestantError."""
    made = directory / LIBRARY
    if made.exists():
        return made
    found = next((name for name in COMPILERS if shutil.which(name)), None)
    if found is None:
        raise ContestantError(f"there is no C compiler ({', '.join(COMPILERS)})", CURE)
    command: Sequence[str] = [found, *FLAGS, "-o", str(made), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(done.stderr.split())[:500]
        raise ContestantError(f"{found} does not compile {SOURCE.name}: {words}", CURE)
    return made


def load(path: Path | str) -> Any:
    """The library. Raises OSError."""
    library = ctypes.CDLL(os.fspath(path))
    library.bare_shared_size.restype = library.bare_end_size.restype = ctypes.c_uint64
    library.bare_pingpong.restype = ctypes.c_int64
    library.bare_pingpong.argtypes = (ctypes.POINTER(End), ctypes.c_uint64)
    library.bare_calls.restype = ctypes.c_int64
    library.bare_calls.argtypes = (
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint16, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64),
    )
    library.bare_threads.restype = ctypes.c_int64
    library.bare_threads.argtypes = (
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint),
    )
    return library


def checked(ns: int) -> float:
    """Seconds, of what a function of the library returned. Raises OSError for an errno."""
    if ns < 0:
        raise OSError(-ns, os.strerror(-ns))
    return ns / 1e9
