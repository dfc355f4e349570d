# SPDX-License-Identifier: BSD-3-Clause
"""Shows progress on a terminal, on stderr; silent otherwise, and where rich is missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Progress:
    """A bar per task. With `quiet`, off a terminal or without rich, nothing is shown."""

    def __init__(self, quiet: bool = False) -> None:
        self._console: Any = None
        if quiet or not sys.stderr.isatty():
            return
        try:
            from rich.console import Console
        except ImportError:
            return
        self._console = Console(stderr=True)

    def say(self, text: str) -> None:
        """Show a line, which the next one overwrites."""
        if self._console is not None:
            self._console.print(text, style="dim", end="\x1b[K\r", highlight=False)

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        """Yields a function that counts one step and shows what is being done."""
        if self._console is None:
            yield lambda text: None
            return
        from rich import progress as bars

        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=self._console, transient=True) as shown:
            task = shown.add_task(title, total=total)

            def step(text: str) -> None:
                shown.update(task, advance=1, description=f"{title} {text}")

            yield step
