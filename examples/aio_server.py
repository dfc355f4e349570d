# SPDX-License-Identifier: BSD-3-Clause
"""A server for many clients in one event loop: it answers each message, in upper case.

Each client has a task of its own. One that reads slowly, or sends nothing, holds up nobody but
itself. While nothing happens, the loop sleeps.

    python examples/aio_server.py NAME
    python examples/aio_clients.py NAME
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import adma
from adma import aio


async def serve(channel: aio.Channel) -> None:
    async with channel:
        try:
            while True:
                await channel.write((await channel.read_bytes()).upper())
        except adma.ChannelEnded:
            pass  # this client has left


async def main(name: str) -> None:
    async with aio.listen(name) as server, asyncio.TaskGroup() as tasks:
        print(f"listening as {server.name!r}", flush=True)
        async for channel in server:
            tasks.create_task(serve(channel))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
