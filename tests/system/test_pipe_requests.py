# SPDX-License-Identifier: BSD-3-Clause
"""Requests on ends of pipes that have not met: they wait for nobody, and keep their order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import adma
from adma.testing.limits import HANG, LARGE
from adma.testing.payload import pattern
from adma.testing.peer import search_path

Ends = tuple[adma.PipeEnd, adma.PipeEnd]


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = adma.pipe()
    yield one, other
    one.close(timeout=0)
    other.close(timeout=0)


def finish(*requests: adma.Request) -> list[Any]:
    """Their results. Steps of both ends are made by one thread, so it may wait for none of them."""
    deadline = time.monotonic() + HANG
    while not adma.test_all(requests):
        assert time.monotonic() < deadline
    return [request.wait() for request in requests]


def test_what_is_posted_for_nobody_is_pending(ends: Ends) -> None:
    one, other = ends
    buffer = bytearray(3)
    first, second, third = one.iread(buffer), one.iread(bytearray(9)), one.irecv()
    for request in (first, second, third):
        assert not request.check()
        with pytest.raises(TimeoutError):
            request.wait(timeout=0.001)
        with pytest.raises(ValueError, match="once it is done"):
            request.times()
        assert "queued" in repr(request)
    with pytest.raises(ValueError, match="timeout"):
        first.wait(timeout=-1)
    assert second.cancel()
    with pytest.raises(adma.Cancelled):
        second.wait()
    assert second.cancel()
    assert one.iprobe() is None
    other.write(b"abc")
    other.send({"an": "object"})
    other.write(b"the rest")
    assert third.wait(HANG) == {"an": "object"}
    assert first.wait(HANG) == 3
    assert buffer == b"abc"
    assert not first.cancel()
    assert set(first.times().values()) == {0}
    assert one.read_bytes(timeout=HANG) == b"the rest"  # and not what was taken back


def test_writes_that_do_not_fit_go_in_order(ends: Ends) -> None:
    one, other = ends
    large = one.iwrite(pattern(LARGE, 1))
    gone = one.iwrite(b"taken back")
    rest = [one.isend({"list": [1]}), one.iwrite([b"two", b" parts"]), one.isend(bytes(LARGE))]
    assert not any(request.check() for request in (large, gone, *rest))
    assert gone.cancel()
    with pytest.raises(TimeoutError):  # it comes after what was posted before
        one.write(b"small", timeout=0)
    got: list[Any] = []

    def read() -> None:
        got.extend([other.read_bytes(timeout=HANG), other.recv(timeout=HANG)])
        got.extend([other.read_bytes(timeout=HANG), other.recv(timeout=HANG)])
        got.append(other.read_bytes(timeout=HANG))

    thread = threading.Thread(target=read)
    thread.start()
    one.write(b"small", timeout=HANG)
    adma.wait_all([large, *rest], timeout=HANG)
    thread.join(HANG)
    assert got == [pattern(LARGE, 1), {"list": [1]}, b"two parts", bytes(LARGE), b"small"]


def test_a_full_line_is_filled_again(ends: Ends) -> None:
    """Small messages wait for room, and go over the line as it comes, in the other end's calls."""
    one, other = ends
    writes = [one.iwrite(pattern(5000, number)) for number in range(100)]
    assert not writes[-1].check()
    reads = [other.read_bytes(timeout=HANG) for _ in range(20)]
    assert not writes[-1].check()
    while len(reads) < 100:
        adma.test_any(writes)
        reads.append(other.read_bytes(timeout=HANG))
    assert reads == [pattern(5000, number) for number in range(100)]
    finish(*writes)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_posts_and_calls(ends: Ends, seed: int) -> None:
    """One thread, both ends: each read, posted or not, gets the message that it has to get."""
    chance = random.Random(seed)
    posted: list[list[Any]] = [[], []]  # reads of each end, and what they have to get
    written: list[list[Any]] = [[], []]  # by the other end
    requests: list[adma.Request] = []
    for number in range(80):
        at = chance.randrange(2)
        size = chance.choice((0, 10, 2000, 60_000, 300_000))
        if chance.random() < 0.5:
            content = number if chance.random() < 0.5 else pattern(size, number)
            end = ends[1 - at]
            requests.append(end.isend(content) if content is number else end.iwrite(content))
            written[at].append(content)
        elif len(posted[at]) < len(written[at]):
            content = written[at][len(posted[at])]
            if isinstance(content, int):
                posted[at].append((ends[at].irecv(), None))
            else:
                space = bytearray(400_000)
                posted[at].append((ends[at].iread(space), space))
        elif chance.random() < 0.3:
            adma.test_all(requests)
    for at in range(2):
        for content in written[at][len(posted[at]) :]:
            space = None if isinstance(content, int) else bytearray(400_000)
            read = ends[at].irecv() if space is None else ends[at].iread(space)
            posted[at].append((read, space))
    finish(*requests, *(read for each in posted for read, _ in each))
    for reads, contents in zip(posted, written, strict=True):
        for (read, space), content in zip(reads, contents, strict=True):
            found = read.wait(HANG)
            assert (found if space is None else space[:found]) == content


def test_they_are_waited_for_with_others(ends: Ends) -> None:
    one, other = ends
    met, there = adma.pipe()
    with met, there:
        while "PipedChannel" not in (type(met).__name__, type(there).__name__):
            met.send(1)
            there.recv(timeout=HANG)
            there.send(2)
            met.recv(timeout=HANG)
        early, later = one.iread(bytearray(5)), met.iread(bytearray(5))
        copied = adma.icopy(bytearray(5), b"bytes")
        requests = [early, later, copied]
        assert adma.wait_some(requests, timeout=HANG) == [2]
        assert adma.test_any([early, later]) is None
        for wait in (adma.wait_any, adma.wait_some, adma.wait_all):
            with pytest.raises(TimeoutError):
                wait([early, later], timeout=0.02)
        assert adma.wait([early, later], 0.02) == []
        assert adma.wait([early, met], 0.02) == []
        there.write(b"later")
        assert adma.wait_any([early, later], timeout=HANG) == 1
        threading.Timer(0.02, other.write, [b"early"]).start()
        assert adma.wait_any([early], timeout=HANG) == 0
        assert adma.wait_all(requests, timeout=HANG) == [5, 5, 5]
        again = one.iread(bytearray(5))
        threading.Timer(0.02, other.write, [b"again"]).start()
        assert adma.wait([again, met], HANG) == [again]


def test_a_thread_that_waits_is_woken_by_another_ones_call(ends: Ends) -> None:
    """The message of its request is taken by whoever looks first."""
    one, other = ends
    reads = [one.iread(bytearray(4)) for _ in range(8)]
    threads = [threading.Thread(target=read.wait, args=(HANG,)) for read in reads]
    for thread in threads:
        thread.start()
    for number in range(len(reads)):
        other.write(number.to_bytes(4, "little"))
        one.iprobe()
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()


def test_tasks_await_them(ends: Ends) -> None:
    one, other = ends

    async def talk() -> None:
        read = one.iread(bytearray(5))
        task = asyncio.create_task(wait_for(read))
        cancelled = asyncio.create_task(wait_for(one.irecv()))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        other.write(b"bytes")
        assert await task == 5
        large, got = one.isend(bytes(LARGE)), other.irecv()
        assert await asyncio.gather(wait_for(large), wait_for(got))
        assert got.wait() == bytes(LARGE)

    async def wait_for(request: adma.Request) -> Any:
        return await request

    asyncio.run(asyncio.wait_for(talk(), HANG))


def test_persistent_requests_are_made_early(ends: Ends) -> None:
    one, other = ends
    out, into, things = bytearray(b"0000"), bytearray(4), [0]
    write, read = one.write_init(out), other.read_init(into)
    send = one.send_init(things)
    for request in (write, read, send):
        assert "not started" in repr(request)
        with pytest.raises(ValueError, match="call start"):
            request.check()
    for number in range(30):
        out[:] = f"{number:04}".encode()
        things[0] = number
        read.start()
        with pytest.raises(RuntimeError, match="pending"):
            read.start()
        write.start()
        assert finish(write, read) == [4, 4]
        assert into == out
        send.start()
        got = other.irecv()
        finish(send, got)
        assert got.wait() == [number]
        other.send("and back")  # so that both ends meet
        assert one.recv(timeout=HANG) == "and back"
    assert type(one).__name__ == type(other).__name__ == "PipedChannel"
    with pytest.raises(BufferError, match="read-only"):
        adma.pipe()[0].read_init(b"abc")  # type: ignore[arg-type]


def test_a_read_that_does_not_fit_leaves_the_message(ends: Ends) -> None:
    one, other = ends
    short, wrong, right = one.iread(bytearray(2)), one.irecv(), one.iread(bytearray(3))
    other.write(b"abc")
    with pytest.raises(adma.MessageTooLong) as caught:
        short.wait(HANG)
    assert caught.value.needed == 3
    with pytest.raises(adma.WrongKind):
        wrong.wait(HANG)
    assert right.wait(HANG) == 3


class Counted:
    pickled = 0

    def __reduce__(self) -> Any:
        Counted.pickled += 1
        return bytes, (LARGE,)


@pytest.mark.parametrize("call", ["send", "isend"])
def test_an_object_is_pickled_once(ends: Ends, call: str) -> None:
    one, other = ends
    for number in range(1, 20):
        Counted.pickled = 0
        if call == "send":
            thread = threading.Thread(target=other.recv, args=(HANG,))
            thread.start()
            one.send(Counted(), timeout=HANG)
            thread.join()
        else:
            finish(one.isend(Counted()), other.irecv())
        assert Counted.pickled == 1
        other.send(number)
        assert one.recv(timeout=HANG) == number


def test_an_announcement_tells_all_bytes(ends: Ends) -> None:
    one, other = ends
    pending = one.isend(bytearray(LARGE))
    message = other.iprobe()
    assert message is not None
    assert message.kind == "object"
    assert message.nbytes > LARGE
    assert pending.cancel()


def test_what_is_not_known_yet(ends: Ends) -> None:
    one, _ = ends
    for ask in (lambda: one.explain(8), lambda: one.max_outstanding):
        with pytest.raises(BlockingIOError, match=r"before both ends have met; cure: .* each way"):
            ask()


def test_there_is_a_limit(ends: Ends) -> None:
    one, _ = ends
    reads = [one.iread(bytearray(1)) for _ in range(1024)]
    with pytest.raises(BlockingIOError, match="1024 requests"):
        one.iread(bytearray(1))
    assert reads[5].cancel()
    one.iread(bytearray(1))
    one.iwrite(bytes(LARGE))  # and close(timeout=0) does not warn of it


# How they end


def forked(run: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        signal.alarm(int(HANG))
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


@pytest.mark.parametrize("way", ["close", "kill", "own close"])
def test_an_end_fails_them(ends: Ends, way: str) -> None:
    one, other = ends
    read, write, start = (
        one.iread(bytearray(1)),
        one.iwrite(bytes(LARGE)),
        one.read_init(bytearray(1)),
    )
    start.start()
    if way == "own close":
        with pytest.warns(ResourceWarning, match="1 messages that were posted are lost"):
            one.close(timeout=0.01)
    elif way == "close":
        other.close()
    else:

        def claim_and_die() -> None:
            other.iread(bytearray(1))
            os.kill(os.getpid(), signal.SIGKILL)

        os.waitpid(forked(claim_and_die), 0)
    error = adma.PeerDied if way == "kill" else adma.ChannelClosed
    for request in (read, write, start):
        with pytest.raises(error):
            request.wait(HANG)
    if way == "own close":
        with pytest.raises(adma.MessagesLost) as caught:
            other.read_bytes(timeout=HANG)
        assert (caught.value.posted, caught.value.withdrawn) == (1, 1)


@pytest.mark.parametrize("ends_by", ["end.close()", "sys.exit()"])
def test_the_end_of_a_process_delivers_them(ends_by: str) -> None:
    """Both ends have not met when it ends, and the other one reads in time."""
    program = f"""
import socket, sys, adma
with socket.socket(fileno=int(sys.argv[1])) as sock:
    end = adma.take_end(sock)
end.iwrite(bytes({LARGE}))
end.isend("behind it")
{ends_by}
"""
    one, other = adma.pipe()
    here, there = socket.socketpair()
    with one, here, there:
        adma.PipeEnd.pass_over(other, here)
        other.close()
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, str(there.fileno())],
            pass_fds=[there.fileno()],
            env=os.environ | {"PYTHONPATH": search_path()},
            stderr=subprocess.PIPE,
        )
        assert len(one.read_bytes(timeout=HANG)) == LARGE
        assert one.recv(timeout=HANG) == "behind it"
        assert child.communicate(timeout=HANG)[1] == b""
        assert child.returncode == 0


def test_a_forked_child_has_none_of_them(ends: Ends) -> None:
    one, other = ends
    read = one.iread(bytearray(3))

    def look() -> None:
        with pytest.raises(adma.ChannelClosed, match="forked child"):
            read.wait(HANG)

    assert os.waitpid(forked(look), 0)[1] == 0
    other.write(b"abc")
    assert read.wait(HANG) == 3
