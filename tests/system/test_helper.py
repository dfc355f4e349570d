# SPDX-License-Identifier: BSD-3-Clause
"""The kernel helper's mechanisms, beyond the conformance kit that all mechanisms pass.

Where there is no helper: what is said about it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import pickle
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import adma
from adma._core._native import ffi, lib
from adma.bench.helper import Helper
from adma.bench.helper import difference as counted
from adma.connect.identity import Peer as Met
from adma.connect.record import Entry
from adma.mechanisms import helper
from adma.mechanisms.interface import Context
from adma.testing import Endpoint, Peer
from adma.testing.calls import messages, objects
from adma.testing.limits import CELL, HANG, LARGE, MIB
from adma.testing.payload import difference, pattern
from support.attackers import nothing_is_being_closed
from support.calls import confined, pages
from support.endpoints import NOBODY_SPECIAL
from support.mechanisms import HELPER

pytestmark = pytest.mark.alone  # the module counts for the whole machine
MECHANISMS = ("dma", "mapped:helper")
needs_helper = pytest.mark.skipif(not HELPER, reason="the kernel module adma is not loaded here")


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Without it


@pytest.mark.skipif(HELPER, reason="the kernel module adma is loaded here")
def test_it_is_refused_with_cause_and_cure(mechanism: str) -> None:
    ends = socket.socketpair()
    with contextlib.ExitStack() as stack:
        for end in ends:
            stack.enter_context(end)
        with Peer() as peer:
            task = peer.begin_join(ends[1], mechanism)
            with pytest.raises(adma.MechanismUnavailable, match="not loaded") as caught:
                adma.from_socket(ends[0], timeout=HANG, mechanism=mechanism)
            assert caught.value.mechanism == mechanism
            assert "modprobe adma" in caught.value.cure
            with pytest.raises(adma.MechanismUnavailable, match="not loaded"):
                task.result()


def test_auto_tells_why_not(peer: Peer) -> None:
    text = str(peer.connect().explain(LARGE))
    expected = "not tried" if HELPER else "not loaded"
    for name in MECHANISMS:
        assert expected in next(line for line in text.splitlines() if name in line), text
    peer.call(messages.nothing)


def test_the_devices_interface_is_the_headers() -> None:
    """The C core is built with the UAPI header; nothing else tells it the layout."""
    native = Path(__file__).parents[2] / "transport" / "native" / "kdev" / "device.c"
    assert "#include <linux/adma.h>" in native.read_text()


# A stranger's descriptor


def _context(client: bool) -> Context:
    peer = Met(
        pid=0,
        uid=NOBODY_SPECIAL,
        same_user=False,
        same_pid_namespace=False,
        nonce=b"\0" * 16,
        mechanisms=0,
        forced=0,
    )
    return Context(peer, ffi.NULL, b"\1" * 16, client, 1e12)


@pytest.mark.parametrize("what", ["file", "socket", "device"])
def test_another_descriptor_than_an_end_is_refused(what: str) -> None:
    """A peer may pass any descriptor: no command is sent to one that is not the helper's."""
    path = {"file": __file__, "device": "/dev/null"}.get(what)
    if path is None:
        sock = socket.socket(socket.AF_UNIX)
        fd = sock.detach()
    else:
        fd = os.open(path, os.O_RDONLY)
    probe = helper.MappedHelper(_context(client=True))
    answer = probe.answer(Entry(probe.id, 0, b"x" * 16, [fd]))
    assert answer.error == errno.EPROTO
    probe.conclude(Entry(probe.id))
    assert probe.out is not None
    assert probe.take() == -1
    probe.close()
    nothing_is_being_closed()  # the peer is of another user
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_peer_that_offers_no_descriptor() -> None:
    probe = helper.Dma(_context(client=True))
    assert probe.offer().fds == []
    answer = probe.answer(Entry(probe.id, errno.ENOENT, b"no module\0load it"))
    assert answer.error == errno.ENOENT
    probe.conclude(Entry(probe.id))
    assert probe.out is not None
    assert (probe.out.cause, probe.out.cure) == ("no module", "load it")
    probe.close()


# With it


@needs_helper
def test_who_copied_is_counted(peer: Peer, mechanism: str) -> None:
    """`dma` moves large messages by its channels but for the edges; `mapped:helper` by the CPU."""
    channel = peer.connect(mechanism)
    with Helper() as device:
        before = device.counters()
        writing = peer.begin(messages.write, LARGE, 1)
        messages.read_expected(Endpoint.of(channel), LARGE, 1)
        writing.result()
        found = counted(before, device.counters())
    assert found["bytes_dma"] + found["bytes_cpu"] == LARGE
    if mechanism == "dma":
        assert found["bytes_dma"] >= LARGE * 9 // 10
        assert found["bytes_rescued"] == 0
    else:
        assert found["bytes_dma"] == 0
    assert channel.stats()[f"mechanism:{mechanism}"] == 1


@needs_helper
def test_a_buffer_is_pinned_once(peer: Peer) -> None:
    """The second message from and to the same pages finds them pinned."""
    channel = peer.connect("dma")
    echoing = peer.begin(messages.echo, MIB, 3)
    with mmap.mmap(-1, 2 * MIB) as area, Helper() as device:
        out, into = memoryview(area)[:MIB], memoryview(area)[MIB:]
        out[:] = pattern(MIB)
        for turn in range(3):
            before = device.counters()
            channel.write(out, timeout=HANG)
            channel.read(into, timeout=HANG)
            found = counted(before, device.counters())
            if turn:
                assert found["pages_pinned"] == 0, turn
                assert found["pin_hits"] > 0
        assert not difference(into, pattern(MIB))
        out.release()
        into.release()
    echoing.result()


@needs_helper
def test_the_kernel_tells_where_the_time_went(peer: Peer, mechanism: str) -> None:
    """The stages add up to the whole; pages that are pinned already are not pinned again."""
    channel = peer.connect(mechanism)
    echoing = peer.begin(messages.echo, MIB, 2)
    with mmap.mmap(-1, 2 * MIB) as area, Helper() as device:
        out, into = memoryview(area)[:MIB], memoryview(area)[MIB:]
        for turn in range(2):
            before = device.counters()
            begin = time.monotonic_ns()
            requests = [channel.iread(into), channel.iwrite(out)]
            adma.wait_all(requests, timeout=HANG)
            took = time.monotonic_ns() - begin
            found = counted(before, device.counters())
            for request in requests:
                times = request.times()
                assert tuple(times) == ("post", "match", "pin", "start", "copy", "complete")
                assert all(ns >= 0 for ns in times.values()), times
                assert sum(times.values()) > 0
                assert sum(times.values()) <= took
            if mechanism == "dma":
                assert (found["pages_pinned"] == 0) == bool(turn)
            # The next pages are pinned while the last are copied, which then counts as pinning.
            assert found["time_pin"] + found["time_copy"] > 0
        out.release()
        into.release()
    echoing.result()


@needs_helper
def test_the_kernel_forgets_where_the_time_went(peer: Peer, mechanism: str) -> None:
    """Its times go when the entry is used again: `copy` then holds their sum. Old answers stay."""
    channel = peer.connect(mechanism)
    asked, unasked = echoed(peer, channel, 2)
    kept = asked.times()
    *_, last = echoed(peer, channel, lib.ADMA_PENDING_MAX)
    assert asked.times() == kept
    assert "pin" in last.times()
    assert tuple(unasked.times()) == ("post", "match", "start", "copy", "complete")
    assert unasked.times()["copy"] > 0


def echoed(peer: Peer, channel: adma.Channel, count: int) -> list[adma.Request]:
    """Writes of 8 bytes that have come back, too."""
    reads = [channel.iread(bytearray(8)) for _ in range(count)]
    writes = [channel.iwrite(bytes(8)) for _ in range(count)]
    echoing = peer.begin(messages.echo, 8, count)
    adma.wait_all([*writes, *reads], timeout=HANG)
    echoing.result()
    return writes


@needs_helper
def test_more_writes_than_entries(peer: Peer, mechanism: str) -> None:
    """Reads and writes have half of the completion entries each; the rest queues up."""
    channel = peer.connect(mechanism)
    count = lib.ADMA_PENDING_MAX
    reads = [bytearray(8) for _ in range(count)]
    asked = [channel.iread(buffer) for buffer in reads]
    written = [channel.iwrite(index.to_bytes(8, "little")) for index in range(count)]
    echoing = peer.begin(messages.echo, 8, count)
    assert adma.wait_all(written, timeout=HANG) == [8] * count
    assert adma.wait_all(asked, timeout=HANG) == [8] * count
    assert [int.from_bytes(buffer, "little") for buffer in reads] == list(range(count))
    echoing.result()


@needs_helper
def test_an_object_with_buffers(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    sizes = [CELL + 3, LARGE, CELL * 2]
    sending = peer.begin(objects.send_buffers, sizes)
    label, *parts = channel.recv(timeout=HANG)
    sending.result()
    assert label == "buffers"
    for seed, (part, nbytes) in enumerate(zip(parts, sizes, strict=True)):
        assert not difference(part, pattern(nbytes, seed)), seed


@needs_helper
def test_reads_that_wait_do_not_take_an_objects_parts(peer: Peer, mechanism: str) -> None:
    """Parts of objects have FIFOs of their own, so a posted read does not take them."""
    channel = peer.connect(mechanism)
    sending = peer.begin(objects.send_buffers, [CELL + 3, CELL * 2])
    assert channel.probe(timeout=HANG).kind == "object"
    label, *parts = channel.recv(timeout=HANG)
    reading = channel.iread(bytearray(LARGE))
    sending.result()
    assert [len(part) for part in parts] == [CELL + 3, CELL * 2]
    assert label == "buffers"
    writing = peer.begin(messages.write, 5, 1)
    assert reading.wait(timeout=HANG) == 5
    writing.result()


@needs_helper
def test_a_withdrawn_object_takes_its_parts_along(peer: Peer, mechanism: str) -> None:
    channel = peer.connect(mechanism)
    buffer = bytearray(LARGE)
    with pytest.raises(TimeoutError):
        channel.send(["thing", pickle.PickleBuffer(buffer)], timeout=0.05)
    buffer.clear()  # nobody holds it
    reading = peer.begin(messages.recv)
    channel.send("after", timeout=HANG)
    assert reading.result() == "after"


@needs_helper
def test_an_object_whose_buffer_cannot_be_read(peer: Peer, mechanism: str) -> None:
    """Neither end waits for the part that could not be posted."""
    channel = peer.connect(mechanism)
    buffer = mmap.mmap(-1, LARGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    assert not ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), LARGE, 0)
    with pytest.raises(OSError, match="a page of"):
        channel.send(["thing", pickle.PickleBuffer(buffer)], timeout=HANG)
    reading = peer.begin(messages.recv)
    channel.send("after", timeout=HANG)
    assert reading.result() == "after"
    del buffer


@needs_helper
def test_memory_that_was_replaced_is_read_anew(peer: Peer, mechanism: str) -> None:
    """After MADV_DONTNEED between post and match the message is what is there at the copy."""
    channel = peer.connect(mechanism)
    peer.call(pages.iwrite_mapped, "message", MIB, 1)
    peer.call(pages.change, "message", 2)
    buffer = bytearray(MIB)
    assert channel.read(buffer, timeout=HANG) == MIB
    assert not difference(buffer, pattern(MIB, 2))
    assert peer.call(pages.finish, "message") == MIB


@needs_helper
@pytest.mark.root
def test_no_page_may_be_pinned(fresh_peers: tuple[Peer, Peer]) -> None:
    """RLIMIT_MEMLOCK 0 refuses `dma`, with the cure; the mapped copy pins for a moment only."""
    first, second = fresh_peers
    os.chmod(helper.DEVICE, 0o666)
    try:
        for each in fresh_peers:
            each.call(pages.forbid_pinning)
            each.call(confined.become_user)
        for task in first.begin_connect_to(second, "dma"):
            with pytest.raises(adma.MechanismUnavailable, match="RLIMIT_MEMLOCK"):
                task.result()
        first.connect_to(second, "mapped:helper")
        reading = second.begin(messages.read_expected, LARGE, 3)
        first.call(messages.write, LARGE, 3)
        reading.result()
    finally:
        os.chmod(helper.DEVICE, 0o660)


@needs_helper
@pytest.mark.root
def test_a_little_may_be_pinned(fresh_peers: tuple[Peer, Peer]) -> None:
    """A message larger than RLIMIT_MEMLOCK goes through a window."""
    first, second = fresh_peers
    os.chmod(helper.DEVICE, 0o666)
    try:
        for each in fresh_peers:
            each.call(pages.limit_pinning, MIB)
            each.call(confined.become_user)
        first.connect_to(second, "dma")
        reading = second.begin(messages.read_expected, LARGE, 3)
        first.call(messages.write, LARGE, 3)
        reading.result()
    finally:
        os.chmod(helper.DEVICE, 0o660)


@pytest.fixture
def few_pairs() -> Iterator[None]:
    """No more than two pairs for each user."""
    parameter = Path("/sys/module/adma/parameters/connections_max")
    before = parameter.read_text()
    parameter.write_text("2")
    yield
    parameter.write_text(before)


@needs_helper
@pytest.mark.root
@pytest.mark.usefixtures("few_pairs")
def test_nothing_is_left_of_a_channel(peer: Peer, mechanism: str) -> None:
    """No descriptor is left, and the user is charged for no pair."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        channel = peer.connect(mechanism)
        peer.call(messages.close_channel)
        channel.close(timeout=HANG)
    assert len(os.listdir("/proc/self/fd")) == before


@needs_helper
@pytest.mark.root
@pytest.mark.usefixtures("few_pairs")
def test_as_many_pairs_as_a_user_may_have(peer: Peer, mechanism: str) -> None:
    for _ in range(2):
        peer.connect(mechanism)
    with pytest.raises(adma.MechanismUnavailable, match="as many pairs") as caught:
        peer.connect(mechanism)
    assert "connections_max" in caught.value.cure
