#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the table of causes and cures into docs/troubleshooting.md, from `adma.errors`.

    scripts/causes.py [--check]

With --check nothing is written, and the exit status is 1 if the page is not as it would be.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from adma import errors

PAGE = Path(__file__).resolve().parents[1] / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- causes -->\n", "<!-- /causes -->\n"


def table() -> str:
    """A line for each errno that all steps share, then those of one step alone."""
    lines = ["| step | errno | cause | cure |", "|---|---|---|---|"]
    for (tried, number), (cause, cure) in errors.table().items():
        told = errors.TRIED[tried][0] if tried else "..."
        lines.append(f"| {told} | {errno.errorcode[number]} | {cause} | {cure} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if sys.argv[1:] == ["--check"]:
        if text != wanted:
            print(f"{PAGE.name} is not what {Path(__file__).name} makes of adma.errors")
        return int(text != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
