# SPDX-License-Identifier: BSD-3-Clause
"""What peers are asked to do beside `adma.testing.calls`: functions of an `Endpoint`, by topic."""

from __future__ import annotations

import importlib
import pkgutil


def load_all() -> None:
    """Import every topic now: who becomes another user may not be able to look here again."""
    for topic in pkgutil.iter_modules(__path__, __name__ + "."):
        importlib.import_module(topic.name)
