# SPDX-License-Identifier: BSD-3-Clause
"""`await request`: in tasks of asyncio, whose loop sleeps until something is done."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

import adma
from adma.aio import suspended
from adma.messages.channel_request import ManyRequest
from adma.messages.worker import ANY_SOURCE, Worker
from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import EAGER, HANG, KIB, LARGE, SHORT
from adma.testing.observe import state, until_stopped
from adma.testing.payload import pattern
from support import confine, engine
from support.calls import faults, many
from support.endpoints import InChild, InThread, own_channels
from support.loops import Loop, begun, run
from support.mechanisms import NAMES
from support.workers import connect

FEW = 100  # turns of a loop that looks for a moment and then sleeps; others make thousands


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    """Both ends of a channel, in this process."""
    one, other = own_channels()
    yield one, other
    one.close(timeout=0)
    other.close(timeout=0)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# A result


@pytest.mark.parametrize("nbytes", [0, 10, EAGER, LARGE])
@pytest.mark.parametrize("mechanism", NAMES)
def test_a_message_that_comes_later(peer: Peer, mechanism: str, nbytes: int) -> None:
    channel, buffer = peer.connect(mechanism), bytearray(nbytes)

    async def main(loop: Loop) -> None:
        reading = await begun(channel.iread(buffer))
        assert not reading.done()
        writing = peer.begin(messages.write, nbytes)
        assert await reading == nbytes
        assert buffer == pattern(nbytes)
        writing.result()

    run(main)


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_message_that_is_read_later(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)

    async def main(loop: Loop) -> None:
        writing = await begun(channel.iwrite(pattern(LARGE)))
        assert not writing.done()
        reading = peer.begin(messages.read_expected, LARGE)
        assert await writing == LARGE
        reading.result()

    run(main)


def test_what_is_done_needs_no_loop(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    other.write(b"early", timeout=HANG)
    with pytest.raises(StopIteration) as result:
        next(one.iread(bytearray(5)).__await__())
    assert result.value.value == 5
    with pytest.raises(StopIteration) as result:
        next(adma.icopy(bytearray(3), b"abc").__await__())
    assert result.value.value == 3


def test_what_is_pending_needs_one(ends: tuple[adma.Channel, adma.Channel]) -> None:
    request = ends[0].iread(bytearray(5))
    with pytest.raises(RuntimeError, match="event loop"):
        next(request.__await__())
    assert request.cancel()


def test_a_result_is_had_again(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        reading = await begun(request)
        other.write(b"hello", timeout=HANG)
        assert await reading == await request == request.wait() == 5

    run(main)


def test_no_turn_is_wasted(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """While the task goes on from one await to the next, a message costs its loop two turns."""
    one, other = ends
    rounds = 200

    async def echo() -> None:
        buffer = bytearray(8)
        for _ in range(rounds):
            await other.iread(buffer)
            await other.iwrite(buffer)

    async def main(loop: Loop) -> None:
        echoing, buffer, before = asyncio.create_task(echo()), bytearray(8), loop.turns
        for number in range(rounds):
            await one.iwrite(number.to_bytes(8, "little"))
            await one.iread(buffer)
            assert int.from_bytes(buffer, "little") == number
        await echoing
        assert loop.turns - before < 5 * rounds

    run(main)


@pytest.mark.faults
def test_a_copy() -> None:
    target = bytearray(LARGE)

    async def main(loop: Loop) -> None:
        with engine.held():
            copying = await begun(adma.icopy(target, pattern(LARGE)))
            before = loop.turns
            await asyncio.wait([copying], timeout=SHORT)
            assert not copying.done()
            assert loop.turns - before < FEW
        assert await copying == LARGE
        assert target == pattern(LARGE)

    run(main)


def test_copies_and_messages_of_many(peer: Peer) -> None:
    channel, count = peer.connect(), 500
    buffers = [bytearray(100) for _ in range(count)]
    target = bytearray(LARGE)

    async def main(loop: Loop) -> None:
        reading = await begun(asyncio.gather(*map(channel.iread, buffers)))
        writing = peer.begin(many.write_stream, count, 100)
        copying = await begun(adma.icopy(target, pattern(LARGE)))
        assert await reading == [100] * count
        assert await copying == LARGE
        writing.result()

    run(main)
    assert buffers == [many.numbered(number, 100) for number in range(count)]
    assert target == pattern(LARGE)


# An error


def test_the_requests_own_error(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        reading = await begun(one.iread(bytearray(3)))
        other.write(b"hello", timeout=HANG)
        with pytest.raises(adma.MessageTooLong) as error:
            await reading
        assert error.value.needed == 5
        assert await one.iread(bytearray(5)) == 5

    run(main)


def test_the_peer_dies(peer: Peer) -> None:
    channel = peer.connect()

    async def main(loop: Loop) -> None:
        reading = await begun(channel.iread(bytearray(3)))
        peer.kill()
        with pytest.raises(adma.PeerDied):
            await reading

    run(main)


def test_the_peer_closes(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        reading = await begun(one.iread(bytearray(3)))
        other.close(timeout=HANG)
        with pytest.raises(adma.ChannelClosed):
            await reading

    run(main)


@pytest.mark.parametrize("where", ["task", "thread"])
def test_this_process_closes(ends: tuple[adma.Channel, adma.Channel], where: str) -> None:
    """The descriptor that the loop was told to watch goes with the channel."""
    one, _ = ends

    async def main(loop: Loop) -> None:
        reading = await begun(one.iread(bytearray(3)))
        if where == "task":
            one.close(timeout=HANG)
        else:
            closing = InThread(lambda: one.close(timeout=HANG))
        with pytest.raises(adma.ChannelClosed):
            await reading
        if where == "thread":
            closing.result()

    run(main)


@pytest.mark.parametrize("where", ["task", "thread"])
def test_somebody_cancels_the_request(ends: tuple[adma.Channel, adma.Channel], where: str) -> None:
    """No descriptor of the channel tells of that, so the notification does, each time once."""
    one, other = ends

    async def main(loop: Loop) -> None:
        kept = await begun(one.iwrite(pattern(LARGE)))  # something is awaited all the time
        for _ in range(3):
            request = one.iread(bytearray(3))
            reading = await begun(request)
            assert request.cancel() if where == "task" else InThread(request.cancel).result()
            with pytest.raises(adma.Cancelled):
                await reading
        before = loop.turns
        await asyncio.wait([kept], timeout=SHORT)
        assert loop.turns - before < FEW
        taking = InThread(lambda: other.read(bytearray(LARGE), timeout=HANG))
        assert await kept == taking.result() == LARGE

    run(main)


def test_somebody_else_sees_it_first(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """A request that another thread has waited for wakes the task as well."""
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        reading = await begun(request)
        other.write(b"hello", timeout=HANG)
        assert InThread(lambda: request.wait(HANG)).result() == 5  # the loop stands still
        assert await reading == 5

    run(main)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_no_descriptor_is_left(ends: tuple[adma.Channel, adma.Channel], left: int) -> None:
    """It takes four. The await fails and says why, and the request stays pending."""
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        confine.leave_descriptors(left)
        try:
            with pytest.raises(OSError, match="ulimit"):
                await request
        finally:
            confine.free_descriptors()
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not request.check()
        reading = await begun(request)
        other.write(b"hello", timeout=HANG)
        assert await reading == 5

    run(main)


# A cancelled task


def test_a_cancelled_task_cancels_its_request(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        reading = await begun(request)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        with pytest.raises(adma.Cancelled):
            request.check()
        other.write(b"hello", timeout=HANG)  # for the next read
        assert await one.iread(bytearray(5)) == 5

    run(main)


@pytest.mark.faults
def test_a_message_that_is_cancelled_too_late(peer: Peer) -> None:
    """It was matched: so it comes, and whoever awaits the request again gets it."""
    channel, buffer = peer.connect("shared"), bytearray(LARGE)
    peer.call(faults.arm, faults.CHUNK, "stop")

    async def main(loop: Loop) -> None:
        request = channel.iread(buffer)
        reading = await begun(request)
        writing = peer.begin(messages.write, LARGE)
        while state(peer.pid) != "T":
            await asyncio.sleep(0)
        until_stopped(peer.pid)
        assert channel.iprobe() is None  # from here on it is matched in any case
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not request.check()
        peer.resume()
        assert await request == LARGE
        assert buffer == pattern(LARGE)
        writing.result()

    run(main)


@pytest.mark.faults
def test_a_copy_that_is_cancelled() -> None:
    async def main(loop: Loop) -> None:
        with engine.held() as (first, target):
            second = adma.icopy(bytearray(LARGE), pattern(LARGE))
            copying = [await begun(first), await begun(second)]
            for task in copying:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            with pytest.raises(adma.Cancelled):
                second.check()
        assert await first == len(target)  # it had begun
        assert target == pattern(len(target), 1)

    run(main)


def test_a_task_is_cancelled_after_its_request_is_done(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """The task was woken, and is cancelled before it runs: the message is kept."""
    one, other = ends
    buffer = bytearray(5)

    async def main(loop: Loop) -> None:
        request = one.iread(buffer)
        reading = await begun(request)
        other.write(b"hello", timeout=HANG)
        while not request._done:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await request == request.wait() == 5

    run(main)
    assert buffer == b"hello"


def test_several_tasks_await_one_request(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        tasks = [await begun(request) for _ in range(3)]
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert not request.check()
        other.write(b"hello", timeout=HANG)
        assert await asyncio.gather(*tasks[1:]) == [5, 5]

    run(main)


def test_all_tasks_that_await_a_request_are_cancelled(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, _ = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        tasks = [await begun(request) for _ in range(3)]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        with pytest.raises(adma.Cancelled):
            request.check()

    run(main)


def test_a_timeout_of_asyncio(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        request = one.iread(bytearray(5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(request, SHORT)
        with pytest.raises(adma.Cancelled):
            request.check()
        other.write(b"hello", timeout=HANG)
        assert await one.iread(bytearray(5)) == 5

    run(main)


def test_a_request_of_several_messages(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """Such as an object with its parts: it is done when all of them are."""
    one, other = ends

    async def main(loop: Loop) -> None:
        parts: list[Any] = [one.iread(bytearray(5)) for _ in range(2)]
        reading = await begun(ManyRequest(one._endpoint, "recv", parts))
        other.write(b"first", timeout=HANG)
        await asyncio.wait([reading], timeout=SHORT)
        assert not reading.done()
        other.write(b"later", timeout=HANG)
        assert await reading == 10

    run(main)


# The loop sleeps


def test_a_request_of_somebody_else_does_not_keep_it_awake(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """It is done, and nobody looks at it: so the channel's descriptor is readable."""
    one, other = ends

    async def main(loop: Loop) -> None:
        strange, own = one.iread(bytearray(5)), one.iread(bytearray(5))
        reading = await begun(own)
        other.write(b"first", timeout=HANG)
        before = loop.turns
        await asyncio.wait([reading], timeout=SHORT)
        assert loop.turns - before < FEW
        other.write(b"later", timeout=HANG)
        assert await reading == 5
        assert strange.check()

    run(main)


def test_a_message_that_nobody_reads_does_not_keep_it_awake(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, other = ends

    async def main(loop: Loop) -> None:
        writing = await begun(one.iwrite(pattern(LARGE)))
        other.write(b"hello", timeout=HANG)
        before = loop.turns
        await asyncio.wait([writing], timeout=SHORT)
        assert loop.turns - before < FEW
        reading = InThread(lambda: other.read(bytearray(LARGE), timeout=HANG))
        assert await writing == LARGE
        assert reading.result() == LARGE

    run(main)


def test_nothing_is_left_when_nothing_is_awaited(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    one, other = ends
    one.fileno("completions")  # the channel keeps this one

    async def main(loop: Loop) -> None:
        before = descriptors()
        reading = await begun(one.iread(bytearray(5)))
        assert len(loop.watches()) == 1
        other.write(b"hello", timeout=HANG)
        await reading
        while loop.watches():
            await asyncio.sleep(0)
        assert descriptors() == before

    run(main)


def test_ten_thousand_awaits(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """They leave nothing behind, be they one by one or many at once."""
    one, other = ends
    buffers = [bytearray(8) for _ in range(100)]

    async def rounds(count: int, window: int) -> None:
        for _ in range(count):
            reading = await begun(asyncio.gather(*map(one.iread, buffers[:window])))
            for _ in range(window):
                other.write(b"hello", timeout=HANG)
            assert await reading == [5] * window

    async def main(loop: Loop) -> None:
        await rounds(10, 100)
        await rounds(100, 1)
        gc.collect()
        blocks, fds, turns = sys.getallocatedblocks(), descriptors(), loop.turns
        await rounds(95, 100)
        await rounds(500, 1)
        assert loop.turns - turns < 10_000
        gc.collect()
        assert descriptors() <= fds
        assert sys.getallocatedblocks() - blocks < 1000

    run(main)


# Loops


def test_two_loops_await_one_channel(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    count = 300
    shared = [one.iread(bytearray(4)) for _ in range(count)]

    def reader() -> list[int]:
        async def main(loop: Loop) -> list[int]:
            return [await request for request in shared]

        return run(main)

    loops = [InThread(reader) for _ in range(2)]
    for number in range(count):
        other.write(number.to_bytes(4, "little"), timeout=HANG)
    assert [loop.result() for loop in loops] == [[4] * count] * 2


def test_a_loop_is_closed_meanwhile(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """What was posted stays posted, and nothing of the loop stays."""
    one, other = ends
    one.fileno("completions")
    before, buffer = descriptors(), bytearray(5)
    request = one.iread(buffer)
    loop = Loop()
    loop.set_exception_handler(lambda loop, context: None)  # a task that is pending is destroyed

    async def wait() -> int:
        return await request

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    assert not task.done()
    loop.close()
    del task, loop
    gc.collect()
    assert descriptors() == before
    other.write(b"hello", timeout=HANG)
    assert request.wait(HANG) == 5
    assert buffer == b"hello"


def test_a_loop_runs_again(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    loop = Loop()
    for _ in range(3):

        async def wait() -> int:
            reading = await begun(one.iread(bytearray(5)))
            other.write(b"hello", timeout=HANG)
            return await reading

        assert loop.run_until_complete(wait()) == 5
    loop.close()


def test_a_fork_meanwhile(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """The child has no descriptor of the loop's, and the parent's task goes on."""
    one, other = ends

    request = one.iread(bytearray(5))

    def use(loop: Loop) -> list[int]:
        with pytest.raises(adma.ChannelClosed, match="fork"):
            next(request.__await__())
        return [fd for fd in loop.watches() if os.path.exists(f"/proc/self/fd/{fd}")]

    async def main(loop: Loop) -> None:
        reading = await begun(request)
        assert len(loop.watches()) == 1
        child = InChild(lambda: use(loop))
        other.write(b"hello", timeout=HANG)
        assert await reading == 5
        assert child.result() == []

    run(main)


def test_a_channel_is_used_by_threads_as_well(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """Threads make the progress, and the task is told all the same."""
    one, other = ends
    count = 200
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            one.iprobe()

    async def main(loop: Loop) -> None:
        for number in range(count):
            nbytes = LARGE // 4 if number % 10 == 0 else 100
            reading = await begun(one.iread(bytearray(nbytes)))
            writing = other.iwrite(pattern(nbytes))
            assert await reading == nbytes
            await writing

    looking = InThread(look)
    try:
        run(main)
    finally:
        stop.set()
        looking.result()


# Workers


@pytest.fixture
def workers() -> Iterator[tuple[Worker, Worker, int]]:
    """Two workers, and the number that the second one has for the first."""
    with ExitStack() as stack:
        one, other = stack.enter_context(Worker()), stack.enter_context(Worker())
        _, number = connect(one, other)
        yield one, other, number


@pytest.mark.parametrize("nbytes", [10, EAGER, LARGE])
def test_messages_with_tags(workers: tuple[Worker, Worker, int], nbytes: int) -> None:
    one, other, number = workers
    buffer = bytearray(nbytes)

    async def main(loop: Loop) -> None:
        receiving = await begun(one.receive(ANY_SOURCE, 7, buffer))
        other.send(number, 8, b"unexpected")  # it keeps the worker's descriptor readable
        before = loop.turns
        await asyncio.wait([receiving], timeout=SHORT)
        assert loop.turns - before < FEW
        sending = other.send(number, 7, pattern(nbytes))
        assert await receiving == nbytes
        assert await sending == nbytes
        assert buffer == pattern(nbytes)
        assert await one.receive(ANY_SOURCE, 8, bytearray(10)) == 10

    run(main)


def test_a_worker_with_many_peers() -> None:
    """With more than four, a round looks only at those that a hint names."""
    count = 7
    with ExitStack() as stack:
        hub, *peers = (stack.enter_context(Worker()) for _ in range(1 + count))
        numbers = [connect(hub, peer)[1] for peer in peers]

        async def main(loop: Loop) -> None:
            for _ in range(50):
                receives = [await begun(hub.receive(ANY_SOURCE, 1, bytearray(8))) for _ in peers]
                for peer, number in zip(peers, numbers, strict=True):
                    await peer.send(number, 1, b"12345678")
                assert await asyncio.gather(*receives) == [8] * count

        run(main)


def test_a_cancelled_receive(workers: tuple[Worker, Worker, int]) -> None:
    one, other, number = workers

    async def main(loop: Loop) -> None:
        request = one.receive(ANY_SOURCE, 7, bytearray(10))
        receiving = await begun(request)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        with pytest.raises(adma.Cancelled):
            await request
        other.send(number, 7, b"hello")
        assert await one.receive(ANY_SOURCE, 7, bytearray(10)) == 5

    run(main)


def test_a_worker_is_closed(workers: tuple[Worker, Worker, int]) -> None:
    one, _, _ = workers

    async def main(loop: Loop) -> None:
        receiving = await begun(one.receive(ANY_SOURCE, 7, bytearray(10)))
        one.close(HANG)
        with pytest.raises(adma.ChannelClosed):
            await receiving

    run(main)


# Requests of which no descriptor tells


class Polled:
    """A request that is done at its n-th look, and what makes progress on it."""

    timed = True

    def __init__(self, looks: int, error: Exception | None = None) -> None:
        self.left, self.looks, self.error = looks, 0, error
        self.was_cancelled = False

    @property
    def _done(self) -> bool:
        return not self.left

    def cancel(self) -> bool:
        self.was_cancelled = True
        return True

    def _watched(self) -> Polled:
        return self

    def _notify(self) -> bool:
        return False

    def event_fd(self) -> int:
        return -1

    def advance(self, requests: Iterable[Any]) -> bool:
        assert list(requests) == [self]
        self.looks += 1
        self.left -= self.left > 0
        if self.error is not None and not self.left:
            raise self.error
        return False

    def __await__(self) -> Any:
        while not self._done:
            yield from suspended(self)
        if self.error is not None:
            raise self.error
        return self.looks


def test_a_timer_looks() -> None:
    assert run(lambda loop: Polled(20)) == 20


def test_a_look_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda loop: Polled(3, ZeroDivisionError()))


def test_the_timer_is_patient() -> None:
    """It looks about once in a millisecond, and not any more once the task is cancelled."""

    async def main(loop: Loop) -> None:
        request = Polled(10**9)
        with suppress(TimeoutError):
            await asyncio.wait_for(request, SHORT)
        assert request.was_cancelled
        assert request.looks <= SHORT * 1000 + FEW
        before = request.looks
        await asyncio.sleep(2 * 1e-3)
        assert request.looks == before

    run(main)


CALLS: dict[str, Callable[[adma.Channel], adma.Request]] = {
    "iread": lambda channel: channel.iread(bytearray(KIB)),
    "iwrite": lambda channel: channel.iwrite(bytearray(LARGE)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_coroutine_that_is_closed(ends: tuple[adma.Channel, adma.Channel], call: str) -> None:
    """Nobody has cancelled it: the request stays posted."""
    one, _ = ends

    async def main(loop: Loop) -> None:
        request = CALLS[call](one)
        waiting = request.__await__()
        next(waiting)
        waiting.close()
        assert not request.check()
        assert request.cancel()

    run(main)
