# SPDX-License-Identifier: BSD-3-Clause
"""`adma.aio.stream`, by trio's own conformance kit, too; and other loops: trio and uvloop."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma import aio
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern
from support.endpoints import InChild, own_channels
from support.loops import Loop, begun, run

Pair = tuple[aio.Stream, aio.Stream]


@pytest.fixture
def streams() -> Iterator[Callable[[], Pair]]:
    """Makes both ends of a stream, in this process."""
    channels: list[adma.Channel] = []

    def make() -> Pair:
        pair = own_channels()
        channels.extend(pair)
        return aio.stream(pair[0]), aio.stream(aio.Channel(pair[1]))

    yield make
    for channel in channels:
        channel.close(timeout=0)


def test_ends_like_those_of_asyncio(streams: Callable[[], Pair]) -> None:
    async def main(loop: Loop) -> None:
        one, other = streams()
        one.writer.write(b"first line\nsecond")
        one.writer.writelines([b" line\n", b"12345678"])
        await one.writer.drain()
        assert await other.reader.readline() == b"first line\n"
        assert await other.reader.readuntil(b"line\n") == b"second line\n"
        assert await other.reader.readexactly(3) == b"123"
        assert await other.reader.read(2) == b"45"
        one.writer.write(pattern(LARGE))
        one.writer.write_eof()
        reading = await begun(other.reader.readexactly(3 + LARGE))
        await one.writer.drain()
        assert await reading == b"678" + pattern(LARGE)
        assert await other.reader.read() == b""
        assert other.reader.at_eof()
        assert one.writer.can_write_eof()
        with pytest.raises(adma.ChannelClosed):
            one.writer.write(b"more")
        other.writer.write(b"a\nb")  # the other direction goes on
        other.writer.close()
        assert other.writer.is_closing()
        assert [line async for line in one.reader] == [b"a\n", b"b"]
        with pytest.raises(asyncio.IncompleteReadError) as error:
            await one.reader.readexactly(1)
        assert error.value.partial == b""
        await other.writer.wait_closed()
        async with one:
            pass
        await one.wait_closed()

    run(main)


def test_the_other_end_is_gone(streams: Callable[[], Pair]) -> None:
    async def main(loop: Loop) -> None:
        one, other = streams()
        sending = await begun(one.send_all(pattern(LARGE)))
        with pytest.raises(RuntimeError, match="another task"):
            await one.send_all(b"more")
        await other.aclose()
        with pytest.raises(adma.ChannelClosed):
            await sending
        with pytest.raises(adma.ChannelClosed):
            await other.receive_some()
        with pytest.raises(ValueError, match="max_bytes"):
            await one.receive_some(0)
        with pytest.raises(asyncio.LimitOverrunError):
            three, four = streams()
            three.writer.write(bytes(1 << 17))
            await four.reader.readline()

    run(main)


def test_trio_s_conformance_kit(streams: Callable[[], Pair]) -> None:
    trio = pytest.importorskip("trio", reason="trio is not installed")
    from trio import testing

    async def clogged() -> Pair:
        one, other = streams()
        one.post(pattern(LARGE))
        other.post(pattern(LARGE))
        return one, other

    async def make() -> Pair:
        return streams()

    async def main() -> None:
        with trio.fail_after(HANG):
            await testing.check_half_closeable_stream(make, clogged)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the kit closes streams with data in them
        trio.run(main)


@pytest.mark.parametrize("when", ["before its task runs", "while that waits", "in the call"])
def test_trio_lets_go_of_a_descriptor_that_is_closed(when: str) -> None:
    trio = pytest.importorskip("trio", reason="trio is not installed")
    from adma.aio.trio_run import TrioRun

    calls = []

    async def main() -> None:
        run = TrioRun.running()
        fd = os.eventfd(1 if when == "in the call" else 0)

        def let_go() -> None:
            calls.append(fd)
            run.unwatch(fd)
            os.close(fd)

        run.watch(fd, let_go)
        if when != "before its task runs":
            await trio.testing.wait_all_tasks_blocked()
        if when != "in the call":
            let_go()
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert len(calls) == 1


def test_channels_and_requests_in_trio() -> None:
    trio = pytest.importorskip("trio", reason="trio is not installed")
    name = f"aio-trio-{os.getpid()}"

    async def serve(channel: aio.Channel) -> None:
        async with channel:
            with pytest.raises(adma.ChannelClosed):
                while True:
                    await channel.write(await channel.read_bytes())

    async def accept(server: aio.Listener, nursery: Any) -> None:
        async for channel in server:
            nursery.start_soon(serve, channel)

    async def call(number: int) -> None:
        async with aio.connect(name, timeout=HANG) as channel:
            for nbytes in (number, 10_000, LARGE // 4):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(channel.write, pattern(nbytes, number))
                    assert await channel.read_bytes() == pattern(nbytes, number)
            with trio.move_on_after(0.01) as scope:
                await channel.read_bytes()
            assert scope.cancelled_caught
            request = channel.channel.iread(buffer := bytearray(5))
            await channel.write(b"hello")
            assert await request == 5
            assert buffer == b"hello"
            assert await adma.icopy(bytearray(LARGE), pattern(LARGE)) == LARGE

    async def main() -> None:
        with trio.fail_after(HANG):
            async with aio.listen(name) as server, trio.open_nursery() as serving:
                serving.start_soon(accept, server, serving)
                async with trio.open_nursery() as calling:
                    for number in range(5):
                        calling.start_soon(call, number)
                await server.close()

    trio.run(main)


def test_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def echo(channel: aio.Channel) -> None:
        for _ in range(200):
            await channel.write(await channel.read_bytes())

    async def main() -> None:
        one, other = map(aio.Channel, own_channels())
        async with asyncio.timeout(HANG), one, other:
            echoing = asyncio.create_task(echo(other))
            for number in range(200):
                nbytes = LARGE // 8 if number % 50 == 0 else number
                writing = asyncio.create_task(one.write(pattern(nbytes, number)))
                assert await one.read_bytes() == pattern(nbytes, number)
                await writing
            await echoing
            reading = asyncio.create_task(one.read_bytes())
            await asyncio.sleep(0.01)
            reading.cancel()
            await other.write(b"hello")
            assert await one.read_bytes() == b"hello"

    InChild(lambda: uvloop.run(main())).result()  # a pipe of uvloop's stays for good
