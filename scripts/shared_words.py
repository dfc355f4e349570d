# SPDX-License-Identifier: BSD-3-Clause
"""shared_words.py [ROOT]: the C core reads what a peer can write by functions only.

Memory that two processes share is described in shm/layout.h and shm/summary.h. A plain member
there could be read twice, with two values. So each one has a type of shm/shared.h, which only the
functions beside it can read; or is atomic, and is named only to take its address; or is payload or
padding. Prints what breaks this rule; exit status 1 if anything does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LAYOUTS = ("shm/layout.h", "shm/summary.h")
STRUCTS = (
    "adma_cell",
    "adma_slot",
    "adma_news_word",
    "adma_slot_block",
    "adma_segment",
    "adma_summary",
)
READERS = ("shm/shared.h", "shm/layout.h")  # who may name what peers can write
GUARDED = "peer_writable"
# Bytes that only pass through, and padding.
PLAIN = {
    "bounce",
    "buffers",
    "nothing",
    "nothing_more",
    "more",
    "maker",
    "reader",
    "quiet",
    "reserved",
    "spare",
}
# How the code calls what is shared.
HOLDERS = "slot|segment|local|remote|cell|summary"

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_MEMBER = re.compile(r"(?P<type>(?:_Atomic )?(?:struct )?\w+) (?P<names>[\w\[\], ]+);")


def code(path: Path) -> str:
    """The text without comments, line by line as it was."""
    return _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), path.read_text())


def members(text: str) -> list[tuple[str, str]]:
    """Type and name of each member of a shared structure."""
    found = []
    for struct in STRUCTS:
        body = re.search(rf"struct {struct} {{(.*?)\n}};", text, re.DOTALL)
        for match in _MEMBER.finditer(" ".join(body[1].split()) if body else ""):
            for name in match["names"].split(","):
                found.append((match["type"], name.split("[")[0].strip()))
    return found


def violations(root: Path) -> list[str]:
    native = root / "transport" / "native"
    shared = [pair for layout in LAYOUTS for pair in members(code(native / layout))]
    found = [
        f"{name}: a plain {kind} of shared memory; cure: a type of shm/shared.h"
        for kind, name in shared
        if not kind.startswith(("_Atomic", "struct")) and name not in PLAIN
    ]
    atomic = "|".join(sorted({name for kind, name in shared if kind.startswith("_Atomic")}))
    named = re.compile(rf"(&?)\b(?:\w+(?:->|\.))*(?:{HOLDERS})->({atomic})\b") if atomic else None
    for path in sorted(native.rglob("*.[ch]")):
        where = path.relative_to(native).as_posix()
        for number, line in enumerate(code(path).splitlines(), 1):
            place = f"transport/native/{where}:{number}"
            if GUARDED in line and where not in READERS:
                found.append(
                    f"{place}: {GUARDED} is named outside of {READERS[0]}; cure: its functions"
                )
            for match in named.finditer(line) if named else ():
                if not match[1]:
                    found.append(f"{place}: {match[0]} is read without atomic_load_explicit()")
    return found


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    found = violations(root)
    for line in found:
        print(line)
    print(f"shared words: {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
