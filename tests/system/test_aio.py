# SPDX-License-Identifier: BSD-3-Clause
"""`adma.aio`: channels whose calls are awaited, and what tasks that are cancelled leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import adma
from adma import aio
from adma._core.loop_set import LoopSet
from adma.testing import Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import EAGER, HANG, LARGE, SHORT
from adma.testing.observe import state, until_stopped
from adma.testing.payload import pattern
from support.calls import faults
from support.endpoints import InThread, own_channels
from support.loops import Loop, begun, run
from support.mechanisms import NAMES

NAME = f"aio-{os.getpid()}"
SLEEPY = 200  # turns of a loop that sleeps after a short while; one that does not makes thousands


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel, in this process."""
    one, other = own_channels()
    yield one, other
    one.close(timeout=0)
    other.close(timeout=0)


async def meet() -> tuple[aio.Channel, aio.Channel]:
    """Both ends of a channel, of one loop."""
    async with aio.listen(NAME) as server:
        connecting = asyncio.create_task(_connect())
        return await server.accept(), await connecting


async def _connect() -> aio.Channel:
    return await aio.connect(NAME, timeout=HANG)


# Messages


def test_messages_of_all_kinds() -> None:
    async def main(loop: Loop) -> None:
        one, other = await meet()
        async with one, other:
            for nbytes in (0, 10, EAGER, EAGER + 1, LARGE):
                buffer = bytearray(nbytes)
                reading = await begun(one.read(buffer))
                writing = asyncio.create_task(other.write(pattern(nbytes)))
                assert await reading == nbytes
                assert buffer == pattern(nbytes)
                await writing
                probing = await begun(one.probe())
                writing = asyncio.create_task(other.write(pattern(nbytes)))
                assert await probing == adma.Message("bytes", nbytes)
                assert await one.read_bytes() == pattern(nbytes)
                receiving = await begun(one.recv())
                sending = asyncio.create_task(other.send({"data": pattern(nbytes)}))
                assert await receiving == {"data": pattern(nbytes)}
                await asyncio.gather(writing, sending)

    run(main)


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_process_echoes(peer: Peer, mechanism: str) -> None:
    channel = aio.Channel(peer.connect(mechanism))

    async def main(loop: Loop) -> None:
        for nbytes in (10, LARGE):
            reading = await begun(channel.read(buffer := bytearray(nbytes)))
            writing = peer.begin(messages.write, nbytes)
            assert await reading == nbytes
            assert buffer == pattern(nbytes)
            writing.result()
            sending = await begun(channel.write(pattern(nbytes)))
            peer.call(messages.read_expected, nbytes)
            await sending

    run(main)


def test_errors_leave_the_message(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = aio.Channel(ends[0]), ends[1]

    async def main(loop: Loop) -> None:
        other.write(b"hello", timeout=HANG)
        with pytest.raises(adma.MessageTooLong) as error:
            await one.read(bytearray(4))
        assert error.value.needed == 5
        with pytest.raises(adma.MessageTooLong):
            await one.read_bytes(4)
        with pytest.raises(adma.WrongKind):
            await one.recv()
        with pytest.raises(TypeError, match="read"):
            await one.read("text")  # type: ignore[arg-type]
        assert await one.read_bytes(5) == b"hello"

    run(main)


def test_tasks_read_in_the_order_in_which_they_called(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, other = aio.Channel(ends[0]), ends[1]

    async def main(loop: Loop) -> None:
        reading = [await begun(one.read_bytes()) for _ in range(5)]
        reading.pop(1).cancel()
        for number in range(5):
            other.write(bytes([number]), timeout=HANG)
        reading.append(await begun(one.read_bytes()))
        assert await asyncio.gather(*reading) == [bytes([number]) for number in range(5)]

    run(main)


def test_more_writes_than_may_be_outstanding(ends: tuple[adma.Channel, adma.Channel]) -> None:
    ends[0].max_outstanding = 3
    one, other = aio.Channel(ends[0]), aio.Channel(ends[1])

    async def main(loop: Loop) -> None:
        writing = [asyncio.create_task(one.write(pattern(LARGE // 4, n))) for n in range(8)]
        found = [await other.read_bytes() for _ in range(8)]
        await asyncio.gather(*writing)
        assert sorted(found) == sorted(pattern(LARGE // 4, n) for n in range(8))

    run(main)


def test_a_flood_lets_others_run(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = aio.Channel(ends[0]), aio.Channel(ends[1])

    async def main(loop: Loop) -> None:
        over = asyncio.Event()

        async def flood() -> None:
            while not over.is_set():
                await one.write(b"")
                await other.read(bytearray())

        flooding = asyncio.create_task(flood())
        for _ in range(5):
            await asyncio.sleep(0)
        over.set()
        await flooding

    run(main)


def test_a_message_that_nobody_awaits_wakes_nobody(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, other = aio.Channel(ends[0]), aio.Channel(ends[1])

    async def main(loop: Loop) -> None:
        (await begun(one.read_bytes())).cancel()
        await one.write(b"for later")
        reading = await begun(one.read_bytes())
        (await begun(other.probe())).cancel()
        before = loop.turns
        await asyncio.wait([reading], timeout=2 * SHORT)
        assert loop.turns - before < SLEEPY
        assert await other.read_bytes() == b"for later"
        await other.write(b"now")
        assert await reading == b"now"

    run(main)


def test_a_channel_joins_while_the_loop_rests() -> None:
    async def main(loop: Loop) -> None:
        first = await meet()
        waiting = await begun(first[0].read_bytes())
        while not loop._adma_loop.completions._rests:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        one, other = map(aio.Channel, own_channels())
        for _ in range(3):
            reading = await begun(one.read_bytes())
            other.channel.write(b"hello", timeout=HANG)
            assert await reading == b"hello"
        await first[1].write(b"first")
        assert await waiting == b"first"
        for channel in (*first, one, other):
            await channel.close(timeout=0)

    run(main)


def test_a_loop_that_woke_for_one_channel_looks_at_all() -> None:
    pairs = [own_channels() for _ in range(4)]

    async def write_when_awake() -> list[int]:
        """How many system calls it costs to tell a loop that is awake of messages."""
        await aio.Channel(pairs[0][0]).read_bytes()
        writers = [pair[1] for pair in pairs[1:]]
        before = [writer.stats()["wakes_sent"] for writer in writers]
        for writer in writers:
            writer.write(b"!", timeout=HANG)
        after = [writer.stats()["wakes_sent"] for writer in writers]
        return [later - earlier for earlier, later in zip(before, after, strict=True)]

    async def main(loop: Loop) -> None:
        reads = [await begun(aio.Channel(pair[0]).read_bytes()) for pair in pairs[1:]]
        writing = await begun(write_when_awake())
        while not loop._adma_loop.completions._rests:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        pairs[0][1].write(b"!", timeout=HANG)
        assert await writing == [0, 0, 0]
        for reading in reads:
            assert await reading == b"!"

    try:
        run(main)
    finally:
        for channel in (end for pair in pairs for end in pair):
            channel.close(timeout=0)


def test_a_read_looks_for_a_moment_where_that_has_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []
    spin = LoopSet.spin

    def noted(*arguments: Any) -> bool:
        looks.append(spin(*arguments))
        return looks[-1]

    monkeypatch.setattr(LoopSet, "spin", noted)
    ours, theirs = own_channels()

    def echo() -> None:
        with contextlib.suppress(adma.ChannelEnded):
            while True:
                theirs.write(theirs.read_bytes(timeout=HANG), timeout=HANG)

    async def main(loop: Loop) -> None:
        channel = aio.Channel(ours)
        while not any(looks):
            await channel.write(b"ping")
            assert await channel.read_bytes() == b"ping"
        other = own_channels()
        waiting = await begun(aio.Channel(other[0]).read_bytes())
        before = len(looks)
        for _ in range(100):  # somebody else waits as well: nobody is held up
            await channel.write(b"ping")
            assert await channel.read_bytes() == b"ping"
        assert len(looks) == before
        waiting.cancel()
        for end in other:
            end.close(timeout=0)

    thread = InThread(echo)
    try:
        run(main)
    finally:
        ours.close(timeout=0)
        thread.result()
        theirs.close(timeout=0)


# Cancelled tasks


READS: dict[str, Callable[[aio.Channel], Awaitable[Any]]] = {
    "read": lambda channel: channel.read(bytearray(LARGE)),
    "read_bytes": lambda channel: channel.read_bytes(),
    "recv": lambda channel: channel.recv(),
    "probe": lambda channel: channel.probe(),
}


async def cancelled(task: asyncio.Task[Any]) -> BaseException:
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as error:
        await task
    return error.value


@pytest.mark.parametrize("call", READS)
def test_a_read_is_cancelled_before_its_message_comes(
    ends: tuple[adma.Channel, adma.Channel], call: str
) -> None:
    one, other = aio.Channel(ends[0]), ends[1]

    async def main(loop: Loop) -> None:
        await cancelled(await begun(READS[call](one)))
        other.write(b"hello", timeout=HANG)
        assert await one.read_bytes() == b"hello"

    run(main)


@pytest.mark.parametrize("call", READS)
def test_a_read_is_cancelled_once_its_message_is_there(
    ends: tuple[adma.Channel, adma.Channel], call: str
) -> None:
    """The task was woken, and does not run any more."""
    one, other = aio.Channel(ends[0]), ends[1]

    async def main(loop: Loop) -> None:
        reading = await begun(READS[call](one))
        behind = await begun(one.read_bytes())
        other.write(b"hello", timeout=HANG)
        await asyncio.sleep(0)  # the loop looks
        await cancelled(reading)
        assert await behind == b"hello"

    run(main)


@pytest.mark.faults
def test_a_read_is_cancelled_while_its_message_is_copied(peer: Peer) -> None:
    """It is kept for the next call that reads, which may have another buffer."""
    channel = aio.Channel(peer.connect("shared"))
    peer.call(faults.arm, faults.CHUNK, "stop")
    first = bytearray(LARGE)

    async def main(loop: Loop) -> None:
        writing = peer.begin(messages.write, LARGE)
        reading = await begun(channel.read(first))
        while state(peer.pid) != "T":
            await asyncio.sleep(0)
        until_stopped(peer.pid)
        assert not reading.done()
        await cancelled(reading)
        again = await begun(channel.read(bytearray(LARGE)))  # also of a kept one
        await cancelled(again)
        peer.resume()
        assert await channel.probe() == adma.Message("bytes", LARGE)
        first[:] = bytes(LARGE)  # it is the program's again
        with pytest.raises(adma.WrongKind):
            await channel.recv()
        with pytest.raises(adma.MessageTooLong) as error:
            await channel.read(bytearray(10))
        assert error.value.needed == LARGE
        with pytest.raises(BufferError):
            await channel.read(memoryview(bytearray(2 * LARGE))[::2])
        one, other = bytearray(10), bytearray(LARGE)
        assert await channel.read([one, other]) == LARGE
        assert (one + other)[:LARGE] == pattern(LARGE)
        writing.result()
        writing = peer.begin(messages.write, 3)
        assert await channel.read_bytes() == pattern(3)
        writing.result()

    run(main)


@pytest.mark.faults
def test_an_object_is_kept_as_well(peer: Peer) -> None:
    channel = aio.Channel(peer.connect("shared"))
    peer.call(faults.arm, faults.CHUNK, "stop")

    async def main(loop: Loop) -> None:
        sending = peer.begin(objects.send_buffers, [LARGE])
        receiving = await begun(channel.recv())
        while state(peer.pid) != "T":
            await asyncio.sleep(0)
        await cancelled(receiving)
        peer.resume()
        assert await channel.recv() == ["buffers", pattern(LARGE)]
        sending.result()

    run(main)


def test_a_write_is_cancelled_before_it_is_matched(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, other = aio.Channel(ends[0]), aio.Channel(ends[1])

    async def main(loop: Loop) -> None:
        for writing in (one.write(pattern(LARGE)), one.send(pattern(LARGE))):
            error = await cancelled(await begun(writing))
            assert not hasattr(error, "request")
        await one.write(b"next")
        assert await other.read_bytes() == b"next"

    run(main)


@pytest.mark.faults
def test_a_write_is_cancelled_while_it_is_copied(peer: Peer) -> None:
    """It is delivered. When it is done, and nobody awaits it, the loop goes on sleeping."""
    channel = aio.Channel(peer.connect("shared"))
    peer.call(faults.arm, faults.CHUNK, "stop")

    async def main(loop: Loop) -> None:
        writing = await begun(channel.write(pattern(LARGE)))
        reading = peer.begin(messages.read_expected, LARGE)
        while state(peer.pid) != "T":
            await asyncio.sleep(0)
        error: Any = await cancelled(writing)
        waiting = await begun(channel.read_bytes())
        peer.resume()
        reading.result()
        before = loop.turns
        await asyncio.wait([waiting], timeout=2 * SHORT)
        assert loop.turns - before < SLEEPY
        assert await error.request == LARGE
        await cancelled(waiting)

    run(main)


# Ends


@pytest.mark.parametrize("call", READS)
def test_the_peer_dies(peer: Peer, call: str) -> None:
    channel = aio.Channel(peer.connect())

    async def main(loop: Loop) -> None:
        reading = [await begun(READS[call](channel)) for _ in range(2)]
        peer.kill()
        for each in reading:
            with pytest.raises(adma.PeerDied):
                await each

    run(main)


def test_a_close_tells_whoever_waits() -> None:
    async def main(loop: Loop) -> None:
        one, other = await meet()
        waiting = [await begun(call(end)) for call in READS.values() for end in (one, other)]
        await one.close()
        await one.close()
        for each in waiting:
            with pytest.raises(adma.ChannelClosed):
                await each
        with pytest.raises(adma.ChannelClosed):
            await one.read_bytes()
        with pytest.raises(adma.ChannelClosed):
            async with one:
                pass
        await other.close()
        assert one.closed
        assert other.closed

    run(main)


def test_a_close_delivers() -> None:
    async def main(loop: Loop) -> None:
        one, other = await meet()
        await one.write(b"last")
        closing = await begun(one.close())
        assert await other.read_bytes() == b"last"
        with pytest.raises(adma.ChannelClosed):
            await other.read_bytes()
        await other.close()
        await closing

    run(main)


# Meeting


def test_a_listener_yields_until_it_is_closed() -> None:
    async def main(loop: Loop) -> None:
        served = []

        async def serve(server: aio.Listener) -> None:
            async for channel in server:
                served.append(channel)

        async with aio.listen(NAME) as server:
            serving = await begun(serve(server))
            clients = await asyncio.gather(*(_connect() for _ in range(3)))
            while len(served) < len(clients):
                await asyncio.sleep(SHORT / 10)
            await server.close()
            await serving
        for number, channel in enumerate(served):
            await channel.write(bytes([number]))
        found = await asyncio.gather(*(client.read_bytes() for client in clients))
        assert sorted(found) == [bytes([number]) for number in range(3)]
        for channel in (*served, *clients):
            await channel.close(timeout=0)
        with pytest.raises(adma.ChannelClosed):
            await server.accept()

    run(main)


def test_an_accept_that_is_cancelled_loses_no_client() -> None:
    async def main(loop: Loop) -> None:
        async with aio.listen(NAME) as server:
            await cancelled(await begun(server.accept()))
            async with aio.connect(NAME, timeout=HANG) as client, await server.accept() as channel:
                await client.write(b"hello")
                assert await channel.read_bytes() == b"hello"
                await client.close(timeout=0)
            await cancelled(await begun(server.accept()))

    run(main)


def test_a_connect_that_is_cancelled_ends_by_its_timeout() -> None:
    async def main(loop: Loop) -> None:
        connecting = await begun(aio.connect(NAME, timeout=2 * SHORT))
        await cancelled(connecting)
        with pytest.raises(FileNotFoundError):
            await aio.connect(NAME, timeout=2 * SHORT)
        with pytest.raises(TypeError, match="seconds"):
            aio.connect(NAME, timeout=None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"adma\.Channel"):
            aio.Channel(NAME)  # type: ignore[arg-type]

    run(main)


# Without threads


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on threads is reached, as far as `adma.aio` is concerned."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("adma-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


def test_a_close_that_gets_no_thread(peer: Peer, no_threads: None) -> None:
    """What was posted is delivered, and the peer is told."""
    channel = peer.connect()
    reading = peer.begin(messages.read, LARGE)

    async def main(loop: Loop) -> None:
        end = aio.Channel(channel)
        end.channel.iwrite(pattern(LARGE, 1))
        await end.close(HANG)
        assert end.closed

    run(main)
    assert reading.result() == pattern(LARGE, 1)
    with pytest.raises(adma.ChannelClosed):
        peer.call(messages.read, 1)


def test_a_listener_that_gets_no_thread(no_threads: None, caplog: pytest.LogCaptureFixture) -> None:
    """It serves all the same, and says so once. A call that would block the loop is refused."""

    async def main(loop: Loop) -> None:
        async with aio.listen(NAME) as server:
            with pytest.raises(OSError, match=r"no thread .*cure: "):
                await aio.connect(NAME, timeout=HANG)
            for _ in range(2):
                accepting = await begun(server.accept())
                calling = InThread(lambda: adma.connect(NAME, timeout=HANG))
                channel = await accepting
                await channel.close(timeout=0)
                calling.result().close(timeout=0)
            accepting = await begun(server.accept())
            await server.close()
            with pytest.raises(adma.ChannelClosed):
                await accepting

    run(main)
    assert caplog.text.count("accepts slowly") == 1


def test_a_close_with_an_impossible_timeout(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """It has done nothing."""

    async def main(loop: Loop) -> None:
        one = aio.Channel(ends[0])
        for timeout, error in (("soon", TypeError), (-1, ValueError)):
            with pytest.raises(error, match="close"):
                await one.close(timeout)  # type: ignore[arg-type]
        await one.write(b"!")
        assert ends[1].read_bytes(timeout=HANG) == b"!"

    run(main)


# Loops


def test_a_loop_is_closed_while_a_task_reads(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = aio.Channel(ends[0]), ends[1]
    before = len(os.listdir("/proc/self/fd"))
    loop = Loop()
    loop.set_exception_handler(lambda loop, context: None)  # a task that is pending is destroyed
    task = loop.create_task(one.read_bytes())
    loop.run_until_complete(asyncio.sleep(0))
    assert not task.done()
    loop.close()
    del task, loop
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    other.write(b"hello", timeout=HANG)
    assert run(lambda loop: one.read_bytes()) == b"hello"


def test_loops_in_threads(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """Each end is in a loop of its own, and one of them is not in the main thread."""
    rounds = 300

    async def echo(loop: Loop) -> None:
        channel = aio.Channel(ends[1])
        for _ in range(rounds):
            await channel.write(await channel.read_bytes())

    async def ask(loop: Loop) -> None:
        channel = aio.Channel(ends[0])
        for number in range(rounds):
            nbytes = LARGE // 8 if number % 50 == 0 else number
            writing = asyncio.create_task(channel.write(pattern(nbytes, number)))
            assert await channel.read_bytes() == pattern(nbytes, number)
            await writing

    echoing = InThread(lambda: run(echo))
    run(ask)
    echoing.result()


def test_somebody_closes_a_descriptor_of_the_loop(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """The next look finds that out, once a second has passed, and opens another one."""
    one, other = aio.Channel(ends[0]), ends[1]

    async def main(loop: Loop) -> None:
        reading = await begun(one.read_bytes())
        while not (sources := loop._adma_loop.completions)._rests:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        os.close(sources._sources.channels.fd)
        await asyncio.sleep(1.1)
        writing = await begun(one.write(pattern(LARGE)))  # has the loop look
        other.write(b"hello", timeout=HANG)
        assert await reading == b"hello"
        assert InThread(lambda: other.read(bytearray(LARGE), timeout=HANG)).result() == LARGE
        await writing

    run(main)
