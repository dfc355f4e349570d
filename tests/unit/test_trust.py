# SPDX-License-Identifier: BSD-3-Clause
"""docs/trust.md: each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_test_that_is_named_exists() -> None:
    text = (ROOT / "docs" / "trust.md").read_text()
    names = re.findall(r"`((?:tests/\w+/)?test_\w+\.py)`", text)
    assert names
    for name in names:
        path = name if "/" in name else f"tests/hostile/{name}"
        assert (ROOT / path).is_file(), path
