# SPDX-License-Identifier: BSD-3-Clause
"""Requests in an event loop of asyncio.

`await request` needs no import of this package: `adma.Request` imports it when a task has to be
suspended.

Layers whose requests are no `adma.Request` write their `__await__` with `suspended`, and give each
request what `request.Awaited` names:

    def __await__(self):
        while not self.is_done():  # its own look, which may raise its error
            yield from suspended(self)
        return self.result()
"""

from .tasks import suspended

__all__ = ["suspended"]
