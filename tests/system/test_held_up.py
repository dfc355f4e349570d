# SPDX-License-Identifier: BSD-3-Clause
"""Pages that nobody provides: what is copied from them waits, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from subprocess import run

import pytest

import adma
from adma._core.constants import DONE
from adma.messages.channel_request import ChannelRequest
from adma.messages.worker import Worker
from adma.testing.limits import HANG, MIB, SHORT
from adma.testing.payload import pattern
from support import loops
from support.calls.computing import progress_stats
from support.endpoints import InChild, own_channels
from support.unserved import Unserved, available
from support.workers import connect

pytestmark = [
    pytest.mark.alone,  # threads that take over look at the clock
    pytest.mark.skipif(not available(), reason="userfaultfd is refused here"),
]

NBYTES = 2 * MIB
HELD_UP = 4  # so many threads may be, at once
MECHANISMS = ["auto", "mapped:cma", "shared", "loopback:tcp"]


class Scene:
    """Channels of this process to itself, some of whose messages have pages that do not come."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.requests: list[adma.Request] = []

    def channels(self, mechanism: str = "auto") -> tuple[adma.Channel, adma.Channel]:
        one, other = own_channels(mechanism)
        self._stack.callback(_cut_off, one, other)
        return one, other

    def held_up(self, mechanism: str = "auto", present: int = 0) -> tuple[adma.Channel, ...]:
        """A pair of channels of which a thread of the library is held up.

        `present`: so many bytes at the beginning of the message are there.
        """
        before = takeovers()
        one, other = self.channels(mechanism)
        unserved = self._stack.enter_context(Unserved(NBYTES, present))
        self.requests = [one.iwrite(unserved.area), other.iread(bytearray(NBYTES))]
        until(lambda: takeovers() > before)
        self.serve = unserved.serve
        return one, other


def _cut_off(one: adma.Channel, other: adma.Channel) -> None:
    for channel in (one, other):
        with suppress(TimeoutError):
            channel.close(timeout=0)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Serves all pages, and closes all channels, after the test."""
    with ExitStack() as stack:
        scene = Scene(stack)
        yield scene
    scene.requests = []  # a channel that was cut off in a visit is freed with its last request


def until(true: Callable[[], bool]) -> None:
    """Wait for it, without a call that makes progress."""
    end = time.monotonic() + HANG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def goes_on(one: adma.Channel, other: adma.Channel) -> None:
    """The progress thread carries a large message, while this thread makes no call."""
    sent, got = pattern(NBYTES), bytearray(NBYTES)
    requests = [other.iread(got), one.iwrite(sent)]
    until(lambda: all(is_done(request) for request in requests))
    assert got == sent


def takeovers() -> int:
    return progress_stats()["takeovers"]


def is_done(request: ChannelRequest) -> bool:
    return all(operation.req.state == DONE for operation in request._operations)


def in_time(call: Callable[[], object], seconds: float = HANG) -> object:
    begin = time.monotonic()
    try:
        return call()
    finally:
        assert time.monotonic() - begin < seconds


def give_up(channel: adma.Channel) -> None:
    """Close it; what is held up is lost, of which a warning tells."""
    with suppress(TimeoutError), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        in_time(lambda: channel.close(timeout=0.5))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_other_channels_go_on(scene: Scene, mechanism: str) -> None:
    scene.held_up(mechanism)
    goes_on(*scene.channels())
    goes_on(*scene.channels("mapped:cma"))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_check_is_not_held_up(scene: Scene, mechanism: str) -> None:
    """Neither by its own request, of which no chunk has been copied, nor by another one."""
    one, other = scene.channels(mechanism)
    with Unserved(NBYTES) as unserved:
        write, read = one.iwrite(unserved.area), other.iread(bytearray(NBYTES))
        for _ in range(100):
            assert not in_time(write.check)
            assert not in_time(read.check)
        unserved.serve()
        assert write.wait(HANG) == read.wait(HANG) == NBYTES


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_read_of_a_page_that_is_not_there(scene: Scene, mechanism: str) -> None:
    one, other = scene.channels(mechanism)
    before = takeovers()
    with Unserved(NBYTES) as unserved:
        read, write = other.iread(unserved.area), one.iwrite(pattern(NBYTES))
        until(lambda: takeovers() > before)
        goes_on(*scene.channels())
        assert not in_time(read.check)
        unserved.serve()
        assert write.wait(HANG) == read.wait(HANG) == NBYTES
        assert bytes(unserved.area) == pattern(NBYTES)


def test_the_other_messages_of_the_channel_go_on(scene: Scene) -> None:
    one, other = scene.held_up("mapped:cma")
    goes_on(other, one)
    goes_on(one, other)


def test_what_the_same_visit_would_have_copied_goes_on(scene: Scene) -> None:
    """It is posted before, and no call is made after."""
    one, other = scene.channels("mapped:cma")
    sent, got = pattern(NBYTES), bytearray(NBYTES)
    before = takeovers()
    with Unserved(NBYTES) as unserved:
        write, read = one.iwrite(unserved.area), other.iread(bytearray(NBYTES))
        others = [one.iwrite(sent), other.iread(got)]
        until(lambda: takeovers() > before)
        until(lambda: all(is_done(request) for request in others))
        assert got == sent
        unserved.serve()
        assert write.wait(HANG) == read.wait(HANG) == NBYTES


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_was_held_up_is_delivered(scene: Scene, mechanism: str) -> None:
    scene.held_up(mechanism)
    write, read = scene.requests
    scene.serve()
    assert write.wait(HANG) == read.wait(HANG) == NBYTES


def test_four_threads_are_replaced(scene: Scene) -> None:
    for _ in range(HELD_UP):
        scene.held_up("mapped:cma")
        goes_on(*scene.channels())


def test_beyond_four_a_thread_waits_until_one_is_served(scene: Scene) -> None:
    for _ in range(HELD_UP):
        scene.held_up("mapped:cma")
    serve_last = scene.serve
    one, other = scene.channels("mapped:cma")
    with Unserved(NBYTES) as unserved:
        write, read = one.iwrite(unserved.area), other.iread(bytearray(NBYTES))
        before = takeovers()
        # This thread copies where no other one can.
        first, second = scene.channels()
        writing = first.iwrite(pattern(NBYTES))
        assert second.read(bytearray(NBYTES), timeout=HANG) == NBYTES
        writing.wait(HANG)
        assert not in_time(read.check)
        serve_last()
        until(lambda: takeovers() > before)
        goes_on(first, second)
        unserved.serve()
        write.wait(HANG), read.wait(HANG)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_close_gives_up(scene: Scene, mechanism: str) -> None:
    """The buffers are quarantined, and what the thread uses is freed once it goes on."""
    one, other = scene.held_up(mechanism)
    for channel in (one, other):
        give_up(channel)
    for request in scene.requests:
        with pytest.raises((adma.ChannelClosed, adma.ChannelEnded)):
            request.wait(HANG)
    goes_on(*scene.channels())
    del one, other
    scene.serve()


def test_copy_worker_threads_that_assist_are_held_up(scene: Scene) -> None:
    """The chunks before the page are there: so copy worker threads have begun to assist."""
    adma.configure(engine="thread", queues=2)
    one, other = scene.held_up("mapped:cma", present=NBYTES // 2)
    goes_on(*scene.channels())
    in_time(lambda: adma.configure(engine="thread", queues=1))
    adma.copy(bytearray(NBYTES), bytearray(NBYTES))
    for channel in (one, other):
        give_up(channel)
    scene.serve()


def test_a_shared_worker_goes_on(scene: Scene) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(4)]
        left, right = connect(workers[0], workers[1], "mapped:cma")
        first, second = connect(workers[0], workers[2], "mapped:cma")
        unserved = stack.enter_context(Unserved(NBYTES))
        before = takeovers()
        stuck = [
            workers[0].send(left, 1, unserved.area),
            workers[1].receive(right, 1, bytearray(NBYTES)),
        ]
        until(lambda: takeovers() > before)
        sent, got = pattern(NBYTES), bytearray(NBYTES)
        others = [workers[0].send(first, 1, sent), workers[2].receive(second, 1, got)]
        until(lambda: all(request.operation.req.state == DONE for request in others))
        assert got == sent
        assert not in_time(workers[0].progress)
        unserved.serve()
        until(lambda: all(request.operation.req.state == DONE for request in stuck))


def test_a_forked_child_has_a_progress_thread_of_its_own(scene: Scene) -> None:
    """The visit in which its parent's thread was held up is none of its business."""
    scene.held_up("mapped:cma")
    child = InChild(lambda: goes_on(*own_channels()))
    child.result()


PROGRAM = """
import sys, adma
sys.path.insert(0, sys.argv[1])
from support import loops
from support.calls.computing import progress_stats
from support.endpoints import own_channels
from support.unserved import Unserved
one, other = own_channels(sys.argv[2])
unserved = Unserved(2 << 20)
requests = [one.iwrite(unserved.area), other.iread(bytearray(2 << 20))]
while not progress_stats()["takeovers"]:
    pass
print("held up", flush=True)
"""


@pytest.mark.parametrize("mechanism", ["mapped:cma", "shared"])
def test_a_program_ends(mechanism: str) -> None:
    support = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ended = run(
        [sys.executable, "-c", PROGRAM, support, mechanism],
        capture_output=True,
        text=True,
        timeout=2 * HANG,
        check=False,
    )
    assert ended.stdout == "held up\n", ended.stderr
    assert ended.returncode == 0, ended.stderr


def test_a_task_that_awaits_it_sleeps(scene: Scene) -> None:
    """A chunk that nobody can copy keeps the descriptor of the channel readable."""
    scene.held_up()

    async def main(loop: loops.Loop) -> None:
        awaiting = await loops.begun(asyncio.gather(*scene.requests))
        before = loop.turns
        await asyncio.wait([awaiting], timeout=SHORT)
        assert not awaiting.done()
        assert loop.turns - before < 20
        scene.serve()
        assert await awaiting == [NBYTES, NBYTES]

    loops.run(main)
