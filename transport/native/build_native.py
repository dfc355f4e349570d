# SPDX-License-Identifier: BSD-3-Clause
"""Builds ``adma._core._native``, the C core as a cffi module in API mode.

The headers are the only description of the C interface: what Python sees is
cut from them here, at build time, so the two cannot drift apart, and the
compiler checks every struct and signature once more. ``setup.py`` names
:data:`ffibuilder`; whatever else the file holds serves to make it.

``ADMA_BUILD`` chooses the flavour:

========  =====================================================================
release   what users get (the default)
faults    with the fault points of ``fault.h`` and live assertions, for the tests
sanitize  the same under AddressSanitizer and UBSan
========  =====================================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import cffi

NATIVE = Path(__file__).resolve().parent
MODULE = "adma._core._native"
INCLUDE = NATIVE / "include"
HEADERS = (
    "adma.h",
    "adma_worker.h",
    "adma_poll.h",
    "adma_handshake.h",
    "adma_copy.h",
    "adma_hold.h",
    "adma_notify.h",
    "adma_trace.h",
    "adma_fault.h",
)
# Python needs these numbers, too. They are defined in headers of lower layers, whose types
# are nobody else's business; the compiler fills in the values.
CONSTANTS = {
    "adma.h": ("ADMA_ANY_SOURCE",),
    # Python has these only if it was built on a system as new as they are.
    "sys/socket.h": ("MSG_CMSG_CLOEXEC", "SCM_CREDENTIALS", "SO_PASSCRED", "SO_PEERCRED"),
    "shm/layout.h": (
        "ADMA_INLINE",
        "ADMA_EAGER",
        "ADMA_SLOT",
        "ADMA_BUFFERED",
        "ADMA_BYTES",
        "ADMA_OBJECT",
        "ADMA_PART",
        "ADMA_TAGGED",
    ),
    "copy/schedule.h": (
        "ADMA_ADAPTIVE",
        "ADMA_ROUND_ROBIN",
        "ADMA_COPY_WORKERS_MAX",
        "ADMA_CLASSES",
    ),
}
UAPI = NATIVE.parent.parent / "kernel" / "include" / "uapi"  # of the kernel helper

COMMON_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"]
FAULT_FLAGS = ["-DADMA_FAULTS", "-UNDEBUG"]  # Python's own flags carry -DNDEBUG
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COMPILE_FLAGS = {
    "release": ["-O2"],
    "faults": ["-O2", "-g", *FAULT_FLAGS],
    "sanitize": ["-O1", "-g", "-fno-omit-frame-pointer", *FAULT_FLAGS, *SANITIZERS],
}
LINK_FLAGS = {"release": [], "faults": [], "sanitize": SANITIZERS}

# The generated file is not ours to mend; our own sources keep their warnings.
GENERATED_PREAMBLE = """
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wcast-function-type"
"""

# cffi leaves the inside of system types to the compiler, but may ask for their size.
SYSTEM_TYPES = "typedef struct { ...; } sigset_t;\n"

_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|//[^\n]*', re.DOTALL)
_STATIC_ASSERT = re.compile(r'\b(?:_S|s)tatic_assert\s*\((?:[^";]|"(?:\\.|[^"\\])*")*\)\s*;')
_DIRECTIVE = re.compile(r"\s*#\s*(\w*)\s*(.*)")
_CONDITIONS = ("if", "ifdef", "ifndef")


def strip_comments(text: str) -> str:
    """Comments become one blank, as the C standard says; strings are left alone."""
    return _COMMENT_OR_STRING.sub(lambda m: m[0] if m[0].startswith('"') else " ", text)


def strip_directives(text: str, name: str) -> str:
    """Drop preprocessor lines, and all that depends on a condition.

    The include guard, ``#ifndef`` of the very first directive, is the one
    condition whose content stays. What exists in some builds only is no part
    of the Python interface. Raises ValueError when the conditions do not nest.
    """
    kept: list[str] = []
    guard: list[bool] = []  # of the open conditions: is it the include guard?
    first = True
    for line in text.replace("\\\n", " ").splitlines():
        directive = _DIRECTIVE.match(line)
        if directive is None:
            if all(guard):
                kept.append(line)
            continue
        word = directive[1]
        if word in _CONDITIONS:
            guard.append(first and word == "ifndef")
        elif word == "endif":
            if not guard:
                raise ValueError(f"{name}: #endif without a condition")
            guard.pop()
        first = False
    if guard:
        raise ValueError(f"{name}: a condition is not closed by #endif")
    return "\n".join(kept)


def declarations(text: str, name: str) -> str:
    """The declarations of a C header, in the subset of C that ``cffi.FFI.cdef`` reads."""
    text = strip_directives(strip_comments(text), name)
    text = _STATIC_ASSERT.sub("", text)
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def constants() -> str:
    """Declarations of :data:`CONSTANTS`, as cffi reads them."""
    names = [name for names in CONSTANTS.values() for name in names]
    return "".join(f"#define {name} ...\n" for name in names)


def flavour() -> str:
    """The value of ADMA_BUILD; SystemExit when it is none that is known."""
    name = os.environ.get("ADMA_BUILD") or "release"
    if name not in COMPILE_FLAGS:
        raise SystemExit(f"ADMA_BUILD={name}: choose one of {', '.join(COMPILE_FLAGS)}")
    return name


def relative(paths: list[Path]) -> list[str]:
    """Paths as setuptools wants them: below the directory of ``setup.py``, sorted."""
    return sorted(os.path.relpath(path, NATIVE.parent.parent) for path in paths)


def make_builder() -> cffi.FFI:
    """The builder that ``setup.py`` hands to cffi. OSError when a header is missing."""
    builder = cffi.FFI()
    builder.cdef(SYSTEM_TYPES)
    for header in HEADERS:
        builder.cdef(declarations((INCLUDE / header).read_text(encoding="utf-8"), header))
    builder.cdef(constants())
    name = flavour()
    builder.set_source(
        MODULE,
        GENERATED_PREAMBLE + "".join(f'#include "{header}"\n' for header in (*HEADERS, *CONSTANTS)),
        sources=relative(list(NATIVE.rglob("*.c"))),
        depends=relative(
            [*NATIVE.rglob("*.[ch]"), UAPI / "linux" / "adma.h", Path(__file__).resolve()]
        ),
        include_dirs=relative([NATIVE, INCLUDE, UAPI]),
        extra_compile_args=COMMON_FLAGS + COMPILE_FLAGS[name],
        extra_link_args=["-pthread", *LINK_FLAGS[name]],
    )
    return builder


ffibuilder = make_builder()
