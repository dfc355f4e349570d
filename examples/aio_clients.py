# SPDX-License-Identifier: BSD-3-Clause
"""Clients of aio_server.py, in one event loop: 50 of them, and one that reads slowly.

python examples/aio_clients.py NAME [MESSAGES]
"""

from __future__ import annotations

import asyncio
import sys
import time

from adma import aio

CLIENTS = 50
LARGE = 4 << 20  # bytes: the server's write waits until the slow client reads


async def ask(name: str, number: int, messages: int) -> None:
    async with aio.connect(name) as channel:
        for each in range(messages):
            question = f"client {number} asks {each}".encode()
            await channel.write(question)
            assert await channel.read_bytes() == question.upper()


async def main(name: str, messages: int) -> None:
    async with aio.connect(name) as slow:
        await slow.write(b"a" * LARGE)  # its answer waits, and so does its task in the server
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(ask(name, number, messages))
        seconds = time.perf_counter() - begin
        assert await slow.read_bytes() == b"A" * LARGE
    rate = CLIENTS * messages / seconds
    print(f"{CLIENTS} clients, {messages} messages each: {rate:.0f} per second")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000))
