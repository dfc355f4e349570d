# SPDX-License-Identifier: BSD-3-Clause
"""Messages there and back between two event loops: `adma.aio` against asyncio's own streams.

A server answers each message of 1 KB. Its clients are tasks of one other process, each with a
connection of its own: an `adma.aio.Channel`, or an asyncio stream over a Unix socket. Rounds
measure both, one after the other, with new processes, and ratios are taken within a round. More
than 1 means that `adma` is quicker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import adma
from adma import aio

NBYTES = 1024
WARM_UP = 20  # messages of each client that are not counted

Exchange = Callable[[], Awaitable[None]]


async def serve_streams(path: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await reader.readexactly(NBYTES))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_unix_server(answer, path) as server:
        print("up", flush=True)
        await server.serve_forever()


async def serve_channels(path: str) -> None:
    async def answer(channel: aio.Channel) -> None:
        buffer = bytearray(NBYTES)
        async with channel:
            try:
                while True:
                    await channel.read(buffer)
                    await channel.write(buffer)
            except adma.ChannelEnded:
                pass

    async with aio.listen(path) as server, asyncio.TaskGroup() as tasks:
        print("up", flush=True)
        async for channel in server:
            tasks.create_task(answer(channel))


async def call_streams(path: str) -> Exchange:
    reader, writer = await asyncio.open_unix_connection(path)
    message = bytes(NBYTES)

    async def exchange() -> None:
        writer.write(message)
        await writer.drain()
        await reader.readexactly(NBYTES)

    return exchange


async def call_channels(path: str) -> Exchange:
    channel = await aio.connect(path)
    message, buffer = bytes(NBYTES), bytearray(NBYTES)

    async def exchange() -> None:
        await channel.write(message)
        await channel.read(buffer)

    return exchange


SERVERS = {"streams": serve_streams, "adma": serve_channels}
CLIENTS = {"streams": call_streams, "adma": call_channels}


async def ask(kind: str, path: str, clients: int, messages: int) -> float:
    """Messages there and back per second."""
    exchanges = [await CLIENTS[kind](path) for _ in range(clients)]

    async def repeat(exchange: Exchange, count: int) -> None:
        for _ in range(count):
            await exchange()

    await asyncio.gather(*(repeat(each, WARM_UP) for each in exchanges))
    begin = time.perf_counter()
    await asyncio.gather(*(repeat(each, messages) for each in exchanges))
    return clients * messages / (time.perf_counter() - begin)


def measure(kind: str, clients: int, messages: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "s")
        arguments = [sys.executable, __file__, "--serve", kind, path]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                program = [*arguments[:2], "--ask", kind, path, str(clients), str(messages)]
                found = subprocess.run(program, stdout=subprocess.PIPE, text=True, check=True)
                return float(found.stdout)
            finally:
                server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 50], help="(1 50)")
    parser.add_argument("--messages", type=int, default=20_000, help="in all, a round (20000)")
    parser.add_argument("--rounds", type=int, default=7, help="(7)")
    parser.add_argument("--json", action="store_true", help="print all that was measured")
    chosen = parser.parse_args()
    results = {}
    for clients in chosen.clients:
        messages = max(1, chosen.messages // clients)
        rounds = [
            {kind: measure(kind, clients, messages) for kind in SERVERS}
            for _ in range(chosen.rounds)
        ]
        results[clients] = rounds
        ratio = statistics.median(each["adma"] / each["streams"] for each in rounds)
        rates = {kind: statistics.median(each[kind] for each in rounds) for kind in SERVERS}
        if not chosen.json:
            print(
                f"{clients} clients: adma {rates['adma']:.0f} per second, streams "
                f"{rates['streams']:.0f}, median of the ratios {ratio:.2f} "
                f"(load {os.getloadavg()[0]:.1f})",
                flush=True,
            )
    if chosen.json:
        print(json.dumps(results))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(SERVERS[sys.argv[2]](sys.argv[3]))
    elif sys.argv[1:2] == ["--ask"]:
        rate = asyncio.run(ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
        print(rate, flush=True)
        os._exit(0)  # the connections end with the process
    else:
        main()
