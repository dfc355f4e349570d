# SPDX-License-Identifier: BSD-3-Clause
"""Channels and requests in event loops: asyncio, uvloop and trio.

async with adma.aio.listen("name") as server:
    async for channel in server: ...
channel = await adma.aio.connect("name")
await channel.write(buf); n = await channel.read(buf); await channel.send(obj)

`await request` needs no import of this package: `adma.Request` imports it when a task has to be
suspended.

Layers whose requests are no `adma.Request` write their `__await__` with `suspended`, and give each
request what `request.Awaited` names:

    def __await__(self):
        while not self.is_done():  # its own look, which may raise its error
            yield from suspended(self)
        return self.result()
"""

from .channel import Channel
from .meeting import Listener, connect, listen
from .stream import Stream, stream
from .tasks import suspended

__all__ = ["Channel", "Listener", "Stream", "connect", "listen", "stream", "suspended"]
