# SPDX-License-Identifier: BSD-3-Clause
"""The compiled calls: one core in a process, nothing leaks, and odd uses do no harm."""

from __future__ import annotations

import _thread
import array
import contextlib
import errno
import gc
import operator
import os
import select
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy
import pytest

import adma
from adma._core import _messages, _native, copies, holds
from adma._core.constants import BYTES
from adma._core.holds import let_go_finished
from adma._core.operation import Operation
from adma.copying.copies import EngineRequest
from adma.messages.blocking import Blocking
from adma.messages.channel_request import MessageRequest
from adma.testing.limits import EAGER, HANG, KIB, LARGE
from adma.testing.observe import until, until_asleep
from support import engine
from support.calls import faults
from support.endpoints import InThread, own_channels

ROUNDS: Final = 10_000
HANDED_OVER: Final = 128 * KIB  # bytes of a copy that the engine's threads make
BLOCKS: Final = 100  # of memory that a count may differ by: caches of the interpreter fill up


@pytest.fixture
def ends() -> Iterator[tuple[adma.Channel, adma.Channel]]:
    one, other = own_channels()
    with one, other:
        yield one, other


# One core


def test_one_shared_object_has_the_core() -> None:
    """Both compiled modules are in it, so that they share the core's state."""
    assert _messages.__file__ == _native.__file__
    package = str(Path(adma.__file__).parent)
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    assert [path for path in mapped if path.startswith(package)] == [_native.__file__]


def test_a_subinterpreter_is_refused() -> None:
    """Its objects would be shared with the first interpreter, so the import says why not."""
    code = (
        "import adma\n"
        "try:\n"
        "    import _xxsubinterpreters as interpreters\n"
        "except ImportError:\n"
        "    import _interpreters as interpreters\n"
        "one = interpreters.create()\n"
        "try:\n"
        "    print(interpreters.run_string(one, 'import adma'))\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=True
    )
    assert "ImportError" in done.stdout
    assert "subinterpreter" in done.stdout  # Python 3.12 refuses it by itself


# Leaks


class Owner:
    """Of a channel, which knows its owner."""

    def __init__(self, channel: adma.Channel) -> None:
        self.channel = channel


@pytest.mark.parametrize("place", ["_endpoint", "_receiver"])
def test_a_cycle_through_a_channel_is_collected(place: str) -> None:
    """Whatever of it a program's object hangs on: the collector sees what the channel refers to."""
    one, other = own_channels()
    owner = Owner(one)
    held: Any = getattr(one, place)
    held.owner = owner
    gone = weakref.ref(owner)
    one.close(timeout=0)
    other.close(timeout=0)
    del one, owner, held
    gc.collect()
    assert gone() is None


def test_a_cycle_of_compiled_objects_only_is_collected() -> None:
    """The base of channels refers to its helpers from C alone."""
    one, other = own_channels()
    helper = Owner(one)
    calls = _messages.Calls(one._endpoint, helper, helper, False)
    helper.channel = calls  # type: ignore[assignment]
    gone = weakref.ref(helper)
    del calls, helper
    gc.collect()
    assert gone() is None
    one.close(timeout=0)
    other.close(timeout=0)


Call = Callable[[adma.Channel, adma.Channel], object]
CALLS: dict[str, Call] = {}


def refused(call: Callable[[], object], wrong: type[BaseException]) -> None:
    """As pytest.raises, which keeps memory of each exception in some versions of Python."""
    try:
        call()
    except wrong:
        return
    raise AssertionError(f"no {wrong.__name__} was raised")


def counted(call: Call) -> Call:
    CALLS[call.__name__.strip("_")] = call
    return call


@counted
def _write_and_read(one: adma.Channel, other: adma.Channel) -> None:
    one.write(b"12345678")
    other.read(bytearray(8))


@counted
def _with_a_timeout(one: adma.Channel, other: adma.Channel) -> None:
    one.write(buf=b"12345678", timeout=5)
    other.read(bytearray(8), timeout=5.0)


@counted
def _arrays(one: adma.Channel, other: adma.Channel) -> None:
    one.write(array.array("d", [1.0]))
    other.read(numpy.empty(1))
    one.write(memoryview(b"1234"))
    other.read(memoryview(bytearray(4)))


@counted
def _posts(one: adma.Channel, other: adma.Channel) -> None:
    read, write = other.iread(bytearray(8)), one.iwrite(b"12345678")
    assert write.check()
    assert read.wait(timeout=5) == 8
    assert read.wait() == 8


@counted
def _posts_that_are_dropped(one: adma.Channel, other: adma.Channel) -> None:
    other.iread(bytearray(8))
    one.iwrite(b"12345678")


@counted
def _windows(one: adma.Channel, other: adma.Channel) -> None:
    reads = [other.iread(bytearray(8)) for _ in range(4)]
    writes = [one.iwrite(b"12345678") for _ in range(4)]
    assert adma.wait_all(writes) == adma.wait_all(reads, timeout=5) == [8] * 4


@counted
def _some_of_a_window(one: adma.Channel, other: adma.Channel) -> None:
    reads = [other.iread(bytearray(8)) for _ in range(2)]
    refused(lambda: adma.wait_any(reads, timeout=0), TimeoutError)
    refused(lambda: adma.wait_all(reads, timeout=0), TimeoutError)
    refused(lambda: reads[0].wait(timeout=0), TimeoutError)
    one.write(b"12345678")
    assert (adma.wait_any(reads), adma.wait_some(reads, timeout=5)) == (0, [0])
    one.write(b"12345678")
    assert adma.wait_some((*reads, adma.icopy(bytearray(8), b"12345678"))) in ([0, 2], [0, 1, 2])
    reads[1].wait()


@counted
def _objects(one: adma.Channel, other: adma.Channel) -> None:
    one.send({"a": [1, 2.5, "three"]})
    other.recv(timeout=5)


@counted
def _cancels(one: adma.Channel, other: adma.Channel) -> None:
    request = other.iread(bytearray(8))
    assert request.cancel()
    refused(request.wait, adma.Cancelled)


@counted
def _errors(one: adma.Channel, other: adma.Channel) -> None:
    for call, wrong in (
        (lambda: one.write("text"), TypeError),  # type: ignore[arg-type]
        (lambda: one.write(), TypeError),  # type: ignore[call-arg]
        (lambda: one.write(b"", 0, 0), TypeError),  # type: ignore[call-arg]
        (lambda: one.write(b"", tiemout=0), TypeError),  # type: ignore[call-arg]
        (lambda: one.write(b"", timeout=-1), ValueError),
        (lambda: one.write(memoryview(b"1234")[::2]), BufferError),
        (lambda: other.read(b"1234"), BufferError),
        (lambda: one.iwrite(numpy.array([None])), TypeError),
        (lambda: other.iread(b"1234"), BufferError),
        (lambda: one.send(lambda: None), Exception),
        (lambda: other.recv(timeout=0), TimeoutError),
        (lambda: other.read(bytearray(8), timeout=0), TimeoutError),
    ):
        refused(call, wrong)


@counted
def _what_does_not_fit(one: adma.Channel, other: adma.Channel) -> None:
    one.write(b"12345678")
    refused(lambda: other.read(bytearray(7)), adma.MessageTooLong)
    refused(other.recv, adma.WrongKind)
    other.read(bytearray(8))


@counted
def _large_ones(one: adma.Channel, other: adma.Channel) -> None:
    read = other.iread(bytearray(EAGER + 1))
    one.write(bytes(EAGER + 1))
    read.wait()


@counted
def _copies(one: adma.Channel, other: adma.Channel) -> None:
    assert adma.copy(bytearray(8), b"12345678") == 8
    assert adma.copy(dst=numpy.empty(1), src=memoryview(b"12345678")) == 8
    request = adma.icopy(bytearray(8), b"12345678")
    assert request.check()
    assert request.wait(timeout=5) == request.wait() == 8
    assert not request.cancel()


@counted
def _copies_that_are_handed_over(one: adma.Channel, other: adma.Channel) -> None:
    request = adma.icopy(bytearray(HANDED_OVER), bytes(HANDED_OVER))
    assert request.wait() == HANDED_OVER
    assert request.times()["post"] > 0
    adma.icopy(bytearray(HANDED_OVER), bytes(HANDED_OVER))  # and one that is dropped


@counted
def _arrays_that_are_copied(one: adma.Channel, other: adma.Channel) -> None:
    target, source = numpy.zeros((4, 6)), numpy.ones((4, 12))
    assert adma.copy(target[:, ::2], source[:, ::4]) == 96
    assert adma.icopy(target, source[:, ::2]).wait() == 192


@counted
def _copies_among_messages(one: adma.Channel, other: adma.Channel) -> None:
    requests = [other.iread(bytearray(8)), adma.icopy(bytearray(8), b"12345678")]
    requests += [adma.icopy(bytearray(HANDED_OVER), bytes(HANDED_OVER)), one.iwrite(b"12345678")]
    assert adma.wait_all(requests) == [8, 8, HANDED_OVER, 8]


@counted
def _copies_that_are_refused(one: adma.Channel, other: adma.Channel) -> None:
    for dst, src, wrong in (
        (bytearray(3), b"four", ValueError),
        (b"four", b"four", BufferError),
        ("four", b"four", TypeError),
        (bytearray(4), "four", TypeError),
        (bytearray(16), numpy.zeros(2, object), TypeError),
        (numpy.zeros((2, 6))[:, ::2], numpy.zeros((3, 2)), ValueError),
    ):
        for call in (adma.copy, adma.icopy):
            refused(partial(call, dst, src), wrong)
    refused(lambda: adma.copy(bytearray(4)), TypeError)  # type: ignore[call-arg]


# What takes longer is called less often; what leaks once a call shows all the same.
SELDOM: Final = {
    "errors": 300,
    "some_of_a_window": 1000,
    "large_ones": 1000,
    "cancels": 3000,
    "what_does_not_fit": 2000,
    "copies_that_are_handed_over": 2000,
    "copies_that_are_refused": 300,
    "arrays_that_are_copied": 3000,
}


@pytest.mark.parametrize("name", CALLS)
def test_counts_are_flat(ends: tuple[adma.Channel, adma.Channel], name: str) -> None:
    """Neither objects nor memory of the interpreter's are left by any call."""
    call, rounds = CALLS[name], SELDOM.get(name, ROUNDS)
    for _ in range(300):  # fills what is kept for the next calls
        call(*ends)
    grown = [_growth(call, ends, rounds)]
    while grown[-1] >= BLOCKS and len(grown) < 4:  # it fills up, or it leaks
        grown.append(_growth(call, ends, rounds))
    assert grown[-1] < BLOCKS, grown


def _growth(call: Call, ends: tuple[adma.Channel, adma.Channel], rounds: int) -> int:
    """Blocks of memory of the interpreter's that so many calls leave."""
    before = blocks()
    for _ in range(rounds):
        call(*ends)
    return blocks() - before


def blocks() -> int:
    """Of memory that the interpreter has given out, once all copies are done."""
    engine.drain()
    let_go_finished()
    gc.collect()
    return sys.getallocatedblocks()


def test_references_to_buffers_are_flat(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    source, target = numpy.ones(8), numpy.zeros(8)
    before = sys.getrefcount(source), sys.getrefcount(target)
    for _ in range(1000):
        request = other.iread(target)
        one.iwrite(source).wait()
        request.wait()
        one.write(source)
        other.read(target)
        adma.copy(target, source)
        adma.icopy(target, source).wait()
        adma.icopy(target[::2], source[::2]).wait()
    assert (sys.getrefcount(source), sys.getrefcount(target)) == before


# Odd uses


def test_a_million_that_nobody_looks_at(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    target = bytearray(8)
    for _ in range(5000):
        for _ in range(100):
            other.iread(target)
        for _ in range(100):
            one.iwrite(b"12345678")
        other.iprobe()  # takes what is in the ring
    assert other.stats()["reads"] == one.stats()["writes"] == 500_000
    target.clear()


def test_pending_ones_that_are_dropped_in_odd_orders() -> None:
    one, other = own_channels()
    requests = [other.iread(bytearray(LARGE)) for _ in range(100)]
    del requests[::2]
    del other  # what is left of the requests has the endpoint

    def drop() -> None:
        requests.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="unclosed"):
        drop()
    one.close(timeout=0)


def test_a_request_outlives_its_channel() -> None:
    one, other = own_channels()
    buffer = bytearray(8)
    request = other.iread(buffer)
    other.close(timeout=0)
    one.close(timeout=0)
    del one, other
    gc.collect()
    with pytest.raises(adma.ChannelClosed):
        request.wait()
    assert "failed" in repr(request)
    buffer.clear()


def test_types_are_made_by_calls_only() -> None:
    with pytest.raises(TypeError, match="calls of a channel"):
        MessageRequest(None, read=True, kind=BYTES)
    with pytest.raises(TypeError, match=r"made by icopy\(\)"):
        EngineRequest()
    with pytest.raises(TypeError, match="base of another class"):
        type("Sub", (Operation,), {})(None, read=True, kind=BYTES)
    channel = adma.Channel.__new__(adma.Channel)
    for call in (channel.write, channel.read, channel.iwrite, channel.iread, channel.send):
        with pytest.raises(RuntimeError, match="not made by adma"):
            call(bytearray(1))
    with pytest.raises(RuntimeError, match="not made by adma"):
        channel.recv()


def test_a_buffer_that_grows_is_held(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    buffer = bytearray(8)
    request = other.iread(buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    one.write(b"12345678")
    request.wait()
    buffer.append(1)


def test_buffers_of_a_device_that_does_not_stop_are_held_for_ever() -> None:
    """After EIO a device may still write: whoever drops the request, the buffers stay."""
    target, source = bytearray(8), bytearray(8)
    request: Any = copies.new()
    request._hold(target, source)
    request._copy.error = errno.EIO
    request._let_go()
    del request
    gc.collect()
    for buffer in (target, source):
        with pytest.raises(BufferError):
            buffer.clear()


def test_a_copy_that_was_waited_for_with_others_was_seen() -> None:
    """Its last stage ends with that wait, wherever the copy was found to be done."""
    requests = [adma.icopy(bytearray(LARGE), bytes(LARGE)) for _ in range(2)]
    until("the first is done", lambda: requests[0]._done)
    assert adma.wait_all(requests, timeout=HANG) == [LARGE] * 2
    assert all(request._copy.times.seen for request in requests)  # type: ignore[attr-defined]


@pytest.mark.faults
def test_a_wait_for_all_that_fails_lets_go_of_all() -> None:
    """An error is raised once all are done, and none of them holds a buffer then."""
    buffers = [bytearray(LARGE) for _ in range(3)]
    with engine.held(callers_help=True) as (_, target):
        requests = [adma.icopy(buffer, bytes(LARGE)) for buffer in buffers]
        behind = adma.icopy(bytearray(64 * KIB), target)
        assert behind.cancel()
        with pytest.raises(adma.Cancelled):
            adma.wait_all([behind, *requests], timeout=HANG)
    for buffer in buffers:
        buffer.clear()


def test_threads_that_change_places_all_the_time() -> None:
    """Several threads use one channel, and the interpreter switches as often as it can."""
    one, other = own_channels()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def out() -> None:
        for _ in range(500):
            adma.wait_all([one.iwrite(b"12345678") for _ in range(4)])

    def into() -> None:
        buffers = [bytearray(8) for _ in range(4)]
        for _ in range(500):
            adma.wait_all([other.iread(buffer) for buffer in buffers])

    try:
        for thread in [InThread(out), InThread(into), InThread(out), InThread(into)]:
            thread.result()
    finally:
        sys.setswitchinterval(interval)
        one.close()
        other.close()


def test_a_pending_request_keeps_its_buffer(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """It is an operation, too. What only the library calls does no harm to what is under way."""
    one, other = ends
    target = bytearray(8)
    request: Any = other.iread(target)
    for call in (request.release, lambda: request.aim(bytearray(4))):
        with pytest.raises(RuntimeError, match="pending"):
            call()
    request.keep(one._endpoint)
    assert not request.let_go_if_done()
    with pytest.raises(BufferError):
        target.clear()
    one.write(b"12345678")
    assert request.wait() == 8
    target.clear()


def test_a_fork_beside_requests(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """The child has its copies of the buffers to itself, and says so when they are used."""
    one, other = ends
    buffer = bytearray(8)
    request = other.iread(buffer)
    pid = os.fork()
    if pid == 0:
        try:
            buffer.clear()
            try:
                request.wait(timeout=5)
            except adma.ChannelClosed:
                os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    one.write(b"12345678")
    assert request.wait(timeout=HANG) == 8


def test_a_signature_is_told() -> None:
    """As that of a function of Python's is, for help() and for tools."""
    import inspect

    def parameters(call: Any) -> list[str]:
        return list(inspect.signature(call).parameters)

    assert parameters(adma.copy) == parameters(adma.icopy) == ["dst", "src"]
    assert adma.copy.__doc__
    assert adma.icopy.__doc__
    assert parameters(adma.Channel.write) == ["self", "buf", "timeout"]
    limits = ["timeout", "max_bytes", "allow_pickle", "into"]
    assert parameters(adma.Channel.recv) == ["self", *limits]
    assert parameters(adma.Channel.read_bytes) == ["self", "max_bytes", "timeout"]
    assert parameters(adma.Channel.read_init) == ["self", "buf"]
    assert all(
        getattr(adma.Channel, name).__doc__
        for name in ("write", "read", "iwrite", "iread", "send", "recv")
    )


def test_the_main_thread_is_not_held_up_by_a_thread_that_spins(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """A read that waits has let go of the interpreter: this one goes on, and wakes it."""
    one, other = ends
    begun = threading.Event()

    def read() -> int:
        begun.set()
        return other.read(bytearray(8))

    reader = InThread(read)
    assert begun.wait(HANG)
    one.write(b"12345678")
    assert reader.result() == 8


# Exceptions


def interrupted(call: Callable[[], object]) -> BaseException:
    """The exception of a Ctrl-C that has come by the time of a call, and that no code saw before.

    Nothing but C runs between the two.
    """
    with pytest.raises(KeyboardInterrupt) as caught:
        list(map(operator.call, (_thread.interrupt_main, call)))
    return caught.value


def test_what_happened_has_a_request(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    target = bytearray(8)
    for call in (partial(one.write, b"1234"), partial(other.read, target), partial(one.send, 5)):
        error = interrupted(call)
        request: Any = getattr(error, "request", None)
        assert "done>" in repr(request)
        assert repr(request).startswith("<send ") is (call.func == one.send)
        assert request.check()
        assert request.wait() == request.wait(timeout=0) == adma.wait_all([request, request])[1]
        assert not request.cancel()
        assert set(request.times().values()) == {0}
        assert adma.wait([request], timeout=0) == [request]
    assert target[:4] == b"1234"
    target.clear()
    assert other.recv() == 5


def test_what_did_not_happen_has_none(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    large = bytearray(LARGE)
    for call in (
        partial(one.write, large),
        partial(one.iwrite, large),
        partial(other.read, large),
        partial(other.read, large, timeout=0.001),
        partial(other.iread, large),
        partial(other.recv),
        partial(one.send, bytes(large)),
    ):
        assert not hasattr(interrupted(call), "request")
        assert (one.iprobe(), other.iprobe()) == (None, None)
    large.clear()
    assert one.stats()["pending_writes"] == other.stats()["pending_reads"] == 0


def test_an_object_stays_when_a_call_is_interrupted(
    ends: tuple[adma.Channel, adma.Channel],
) -> None:
    """It is not taken before signals are looked at, and fileno() is readable for as long."""
    one, other = ends
    one.send("first")
    one.send("second")
    other.fileno()
    for timeout in (None, 0, 5):
        interrupted(partial(other.recv, timeout))
        assert other.iprobe() is not None
        assert select.select([other], [], [], HANG)[0]
    assert (other.recv(), other.recv(), other.iprobe()) == ("first", "second", None)


@pytest.mark.faults
def test_a_large_object_stays_when_its_read_cannot_be_posted(
    ends: tuple[adma.Channel, adma.Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read for it has begun, so the next recv() begins anew."""

    def refuse(*_: object) -> None:
        raise BlockingIOError

    one, other = ends
    sending = InThread(partial(one.send, bytes(20_000)))
    other.probe(timeout=HANG)
    with monkeypatch.context() as patch, pytest.raises(BlockingIOError):
        patch.setattr(type(other._endpoint), "post", refuse)
        faults.arm(None, faults.POST, "fail", errno.ENOMEM)
        other.recv(timeout=HANG)
    faults.disarm_all()
    assert other.recv(timeout=HANG) == bytes(20_000)
    sending.result()


WAITS: Final[dict[str, Callable[[adma.Request], object]]] = {
    "wait": lambda request: request.wait(),
    "wait_all": lambda request: adma.wait_all([request]),
    "wait_any": lambda request: adma.wait_any((request,)),
    "wait_some": lambda request: adma.wait_some([request], timeout=HANG),
    "another list": lambda request: adma.wait_all(iter([request])),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_an_interrupted_wait_leaves_the_rest_to_the_progress_thread(
    ends: tuple[adma.Channel, adma.Channel], wait: Callable[[adma.Request], object]
) -> None:
    """Whether it was about to sleep, or asleep. The core expects a caller to come back."""

    def strike() -> None:
        until_asleep(os.getpid())
        _thread.interrupt_main()

    one, other = ends
    target = bytearray(LARGE)
    request = other.iread(target)
    interrupted(partial(wait, request))
    one.write(bytes(LARGE), timeout=HANG)
    request.wait()
    request = other.iread(target)
    striking = InThread(strike)
    with pytest.raises(KeyboardInterrupt):
        wait(request)
    striking.result()
    one.write(bytes(LARGE), timeout=HANG)
    request.wait()


# Waiting


def _answered(call: Callable[[], object], answer: Callable[[], object]) -> list[str]:
    """The functions of adma's that this thread runs in a call that is answered once it sleeps."""
    seen: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and "/adma/" in code.co_filename:
            seen.append(code.co_name)

    def reply() -> None:
        until_asleep(os.getpid())
        answer()

    answering = InThread(reply)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    answering.result()
    return seen


@pytest.mark.parametrize("timeout", [None, HANG])
def test_a_call_that_sleeps_runs_no_code_of_pythons(
    ends: tuple[adma.Channel, adma.Channel], timeout: float | None
) -> None:
    """From its first look to its last one it is in C. The functions of the package are a frame."""
    one, other = ends
    target, large = bytearray(8), bytes(LARGE)
    with contextlib.suppress(TimeoutError):  # a thread asks once whether it answers signals
        other.read(target, timeout=0.01)
    other.iread(bytearray(LARGE))
    one.write(large, timeout=HANG)  # the first one may have to make a segment
    gc.collect()
    publish = partial(one.write, b"12345678")
    take = partial(other.read, bytearray(LARGE))
    assert _answered(partial(other.read, target, timeout), publish) == []
    assert _answered(partial(other.iread(target).wait, timeout), publish) == []
    for call, answer in ((one.write, take), (one.send, other.recv)):
        assert set(_answered(partial(call, large, timeout), answer)) <= {"warn_if_stuck"}
    for wait in (adma.wait_all, adma.wait_any, adma.wait_some):
        request = other.iread(target)
        seen = _answered(partial(wait, [request], timeout), publish)
        assert set(seen) <= {wait.__name__, "_some", "deadline_of"}
        assert request.wait() == 8


def test_one_of_a_list_is_waited_for(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """Messages, copies, both, and what is no list: the same answers."""
    one, other = ends
    buffers = [bytearray(8) for _ in range(4)]
    reads = [other.iread(buffer) for buffer in buffers]
    with pytest.raises(TimeoutError, match="none of 4 requests is done"):
        adma.wait_any(reads, timeout=0.01)
    with pytest.raises(TimeoutError, match="none of 4 requests is done"):
        adma.wait_some(tuple(reads), timeout=0)
    other.fileno("completions")
    for _ in range(2):
        one.write(b"12345678")
    other.iprobe()
    assert select.select([other.fileno("completions")], [], [], HANG)[0]
    assert adma.wait_any(reads) == 0
    assert not select.select([other.fileno("completions")], [], [], 0)[0]  # a program was told
    assert adma.wait_some(reads) == adma.wait_some(iter(reads)) == [0, 1]
    for buffer in buffers[:2]:
        buffer.clear()
    with pytest.raises(BufferError):
        buffers[2].clear()
    made = adma.icopy(bytearray(8), b"12345678")
    assert adma.wait_some([*reads[2:], made]) == [2]
    assert adma.wait_some([made, *reads]) == [0, 1, 2]
    assert reads[2].cancel()
    assert adma.wait_any(reads[2:]) == 0  # what was cancelled is done
    with pytest.raises(adma.Cancelled):
        reads[2].wait()
    assert reads[3].cancel()


def test_wrong_arguments_of_waits_are_told() -> None:
    request = adma.icopy(bytearray(8), b"12345678")
    wrong: Any
    for wait in (adma.wait_any, adma.wait_some):
        name = wait.__name__
        with pytest.raises(ValueError, match=rf"{name}\(reqs\): no requests"):
            wait([])
        for wrong in ([request, None], [None], "text", (request, 5)):
            with pytest.raises(TypeError, match=rf"{name}\(reqs\): an iterable of requests, found"):
                wait(wrong)
        with pytest.raises(TypeError, match=rf"{name}\(reqs\): pass a list of requests, not int"):
            wait(5)  # type: ignore[arg-type]
        for wrong in ("1", True, [1]):
            with pytest.raises(TypeError, match=rf"{name}\(timeout\): seconds as a number"):
                wait([request], timeout=wrong)
        with pytest.raises(ValueError, match=rf"{name}\(timeout\): -1 is no time to wait"):
            wait([request], timeout=-1)


def test_a_handler_may_wait_as_well(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """It runs in the middle of a call that sleeps, and its own call on that channel ends first."""
    one, other = ends
    outer, inner = bytearray(8), bytearray(8)
    first = other.iread(inner)
    taken: list[int] = []

    def handle(*_: object) -> None:
        one.write(b"inner")
        taken.append(first.wait(timeout=HANG))

    def strike() -> None:
        until_asleep(os.getpid())
        _thread.interrupt_main(signal.SIGUSR2)
        until("the handler has run", lambda: taken == [5])
        one.write(b"outer one")

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        striking = InThread(strike)
        with pytest.raises(adma.MessageTooLong):
            other.read(outer, timeout=HANG)
        striking.result()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert other.read(bytearray(9)) == 9


# Pickling


class Telling:
    """Does something while it is pickled, as a number."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def __reduce__(self) -> tuple[type, tuple[int]]:
        self._then()
        return int, (5,)


class Plain:
    """Can be pickled."""


def test_pickling_may_do_anything(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """It sends other objects, raises, and changes what was pickled before."""

    def fail() -> None:
        raise ZeroDivisionError

    one, other = ends
    one.send([Telling(lambda: one.send(["inner", Telling(lambda: one.send("first"))])), "outer"])
    assert [other.recv() for _ in range(3)] == ["first", ["inner", 5], [5, "outer"]]
    with pytest.raises(ZeroDivisionError):
        one.send(["half of it", Telling(fail)])
    assert other.iprobe() is None
    data = bytearray(100_000)  # so large that pickle writes it by itself
    reading = InThread(partial(other.recv, timeout=HANG))
    one.send([data, Telling(lambda: data.__setitem__(0, 1)), bytes(100_000)], timeout=HANG)
    assert reading.result() == [bytes(100_000), 5, bytes(100_000)]
    assert data[0] == 1


def test_nothing_of_what_was_sent_is_kept(ends: tuple[adma.Channel, adma.Channel]) -> None:
    one, other = ends
    thing = Plain()
    gone = weakref.ref(thing)
    one.send([thing, thing])
    first, second = other.recv()
    assert first is second
    del thing
    assert gone() is None


# Exceptions of a program's code


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_the_exception_of_code_of_a_buffer_is_raised(
    ends: tuple[adma.Channel, adma.Channel], error: type[BaseException]
) -> None:
    """Looking at a buffer may run code of a program, and handlers of signals."""

    class Striking(bytearray):
        @property
        def dtype(self) -> None:
            raise error

    one, other = ends
    for call in (one.write, one.iwrite, other.read, other.iread):
        with pytest.raises(error):
            call(Striking(8))
    assert other.iprobe() is None


def test_a_choice_that_cannot_be_told_is_none(ends: tuple[adma.Channel, adma.Channel]) -> None:
    """Whether to unpickle: an exception of the answer is no yes."""
    one, other = ends
    strict = _messages.Calls(other._endpoint, Blocking(other._endpoint), other._receiver, False)
    one.send("object")
    choice: Any = numpy.array([1, 2])
    with pytest.raises(ValueError, match="truth value"):
        strict.recv(allow_pickle=choice)
    for refused in (False, 0, None, ""):
        with pytest.raises(PermissionError):
            strict.recv(allow_pickle=refused)  # type: ignore[arg-type]
    assert strict.recv(allow_pickle=True) == "object"


def test_an_exception_while_it_is_taken_back(
    ends: tuple[adma.Channel, adma.Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is raised, and tells of the first. What is posted is not forgotten."""

    def strike(*_: object) -> None:
        raise KeyboardInterrupt("second")

    other = ends[1]
    target = bytearray(LARGE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as caught:
        patch.setattr(Blocking, "take_back", strike)
        other.read(target, timeout=0)
    assert caught.value.args == ("second",)
    assert isinstance(caught.value.__context__, TimeoutError)


@pytest.mark.parametrize("call", ["write", "send"])
def test_a_warning_names_the_line_of_the_program(call: str) -> None:
    """Both ends write, and neither reads."""
    one, other = own_channels()
    with one, other, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        writing = InThread(lambda: getattr(other, call)(bytes(LARGE), timeout=HANG))
        begun = getattr(one, call)
        with pytest.raises(TimeoutError):
            begun(bytes(LARGE), timeout=1.5)
        one.skip(timeout=HANG)
        writing.result()
    assert {warning.filename for warning in caught} == {__file__}


# Buffers whose release runs code


class Releasing(bytearray):
    """Memory of a program, which does something when nobody holds it any more."""

    def __init__(self, nbytes: int, then: Callable[[], object]) -> None:
        super().__init__(nbytes)
        self._then = then

    def __del__(self) -> None:
        self._then()


@pytest.mark.parametrize("how", ["check", "drop", "close", "cancel", "pending call"])
def test_a_release_may_do_anything(how: str) -> None:
    """It posts, drops other requests, reads, collects and closes, while a call is in the middle."""
    one, other = own_channels()
    released: list[str] = []
    requests: list[adma.Request] = []

    def act() -> None:
        released.append("first")
        requests[len(requests) // 2 :] = []
        if not len(released) % 20:
            gc.collect()
        with contextlib.suppress(adma.ChannelEnded, TimeoutError, adma.MessageTooLong):
            other.iread(Releasing(8, lambda: released.append("second")))
            one.iwrite(bytes(8))
            other.read(bytearray(8), timeout=0)
            adma.wait_all(requests[:1], timeout=0)
        if released.count("first") == 40:
            other.close(timeout=0)

    requests.extend(other.iread(Releasing(8, act)) for _ in range(100))
    for _ in range(200):
        one.iwrite(bytes(8))
    if how == "check":
        for request in list(requests):
            with contextlib.suppress(adma.ChannelEnded):
                request.check()
    elif how == "cancel":
        for request in list(requests):
            request.cancel()
    elif how == "pending call":
        other.iprobe()
    elif how == "close":
        other.close(timeout=0)
    requests.clear()
    other.close(timeout=0)
    one.close(timeout=0)
    gc.collect()
    assert released.count("first") == 100
    assert holds.count_finished() == 0
