# SPDX-License-Identifier: BSD-3-Clause
"""The copy engine `dmaengine`: copies within a process by DMA channels, through the kernel helper.

Where there is no helper, what it says instead.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import adma
from adma._core._native import lib
from adma.bench.helper import Helper
from adma.bench.helper import difference as counted
from adma.copying import engine
from adma.mechanisms import helper
from adma.mechanisms.helper import Circumstances
from adma.testing.limits import CELL, HANG, KIB, LARGE, MIB
from adma.testing.observe import until
from adma.testing.payload import difference, pattern
from support.calls import faults
from support.endpoints import NOBODY_SPECIAL, InChild, become
from support.mechanisms import HELPER

needs_helper = pytest.mark.skipif(not HELPER, reason="the kernel module adma is not loaded here")
pytestmark = pytest.mark.alone  # the module counts for the whole machine
SOFT = Path("/sys/module/adma_soft/parameters")
needs_soft = pytest.mark.skipif(
    not SOFT.exists(), reason="not the software provider, which can be told to be slow or to fail"
)
PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


def run(*requests: adma.Request) -> None:
    for request in requests:
        request.wait(timeout=HANG)


def address(area: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def view(at: int, nbytes: int) -> memoryview:
    """Memory that nobody owns."""
    return memoryview((ctypes.c_ubyte * nbytes).from_address(at)).cast("B")


def mapped(nbytes: int) -> int:
    """Memory that can be unmapped below a copy."""
    _libc.mmap.restype = ctypes.c_void_p
    at = _libc.mmap(None, ctypes.c_size_t(nbytes), 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert at not in (None, ctypes.c_void_p(-1).value)
    return int(at)


def unmap(at: int, nbytes: int) -> None:
    assert not _libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(nbytes))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Back to the engine before, with nothing left of this one."""
    yield
    faults.disarm_all()
    adma.configure(engine="auto", at_once=64 * KIB)


@pytest.fixture
def dma() -> None:
    """The engine is also given copies that are small enough to be made in the post."""
    adma.configure(engine="dmaengine", at_once=16 * KIB)


# Without it


@pytest.mark.skipif(HELPER, reason="the kernel module adma is loaded here")
def test_it_is_refused_with_cause_and_cure() -> None:
    with pytest.raises(OSError, match=r"'dmaengine' cannot be had here.*not loaded") as caught:
        adma.configure(engine="dmaengine")
    assert caught.value.errno == errno.ENOENT
    assert "modprobe adma" in str(caught.value)
    found = engine.describe()
    assert found["engine"] != "dmaengine"
    assert "not loaded" in found["engines"]["dmaengine"]
    assert found["refusals"]["dmaengine"]["errno"] == errno.ENOENT
    assert "modprobe adma" in found["refusals"]["dmaengine"]["cure"]


@pytest.mark.skipif(HELPER, reason="the kernel module adma is loaded here")
def test_the_environment_asks_in_vain() -> None:
    """The first copy says so; describe() does not fail."""
    code = (
        "import adma; from adma.copying import engine; print(engine.describe()['error']); "
        "adma.icopy(bytearray(1 << 20), bytes(1 << 20))"
    )
    environment = {**os.environ, "ADMA_ENGINE": "dmaengine"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "'dmaengine' cannot be had here: the kernel module adma is not loaded" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("FileNotFoundError: ")


def test_auto_never_chooses_it() -> None:
    adma.configure(engine="auto")
    assert engine.describe()["engine"] in ("thread", "caller")


def test_only_what_there_is_can_be_had() -> None:
    """A number without an engine is not one that is available."""
    for name, number in engine.ENGINES.items():
        known = name in ("auto", "caller", "thread")
        assert bool(lib.adma_engine_probe(number)) == (not known and not HELPER)
    assert lib.adma_engine_probe(lib.ADMA_ENGINE_COUNT) == errno.EINVAL


@pytest.mark.parametrize(
    ("number", "loaded", "cause", "cure"),
    [
        (errno.ENODEV, True, "no DMA channel that works", "/sys/class/dma"),
        (errno.ENODEV, False, "not loaded", "modprobe"),
        (errno.EDQUOT, True, "as often as one may", "opens_max"),
        (errno.EACCES, True, "may not open", "udev"),
    ],
)
def test_causes_and_cures(number: int, loaded: bool, cause: str, cure: str) -> None:
    found = helper.explain_copies(number, Circumstances(loaded=loaded))
    assert cause in found[0]
    assert cure in found[1]


# What it copies


@needs_helper
@pytest.mark.usefixtures("dma")
def test_dma_channels_carry_the_bytes() -> None:
    """By the module's counters and by ours: all of what is aligned, most of what is not."""
    with mmap.mmap(-1, LARGE) as target, mmap.mmap(-1, LARGE) as source, Helper() as device:
        for cut, least in ((0, LARGE), (3, LARGE * 9 // 10)):
            source[:] = pattern(LARGE, cut)
            before, own = device.counters(), adma.stats()
            with memoryview(target) as to, memoryview(source) as from_:
                run(adma.icopy(to[cut:], from_[: LARGE - cut]))
            found, ours = counted(before, device.counters()), counted(own, adma.stats())
            assert not difference(target[cut:], source[: LARGE - cut])
            assert found["bytes_dma"] >= least
            assert found["bytes_dma"] + found["bytes_cpu"] == LARGE - cut
            assert (found["posts"], found["done"]) == (1, 1)
            assert (ours["bytes_device"], ours["copies_device"]) == (LARGE - cut, 1)
    assert engine.describe()["engine"] == "dmaengine"


@needs_helper
@pytest.mark.usefixtures("dma")
def test_sizes_and_alignments() -> None:
    """Exactly the bytes of the copy change, wherever its pages begin."""
    sizes = [0, 1, 16 * KIB + 1, CELL, 256 * KIB - 1, MIB + 1, LARGE + PAGE + 1, 9 * MIB + 3]
    area, source = bytearray(max(sizes) + 2 * PAGE), pattern(max(sizes) + PAGE, 2)
    for nbytes, (to, from_) in itertools.product(sizes, [(0, 0), (1, 0), (64, 3), (4095, 4093)]):
        area[to + nbytes : to + nbytes + 8] = b"untouche"
        run(
            adma.icopy(
                memoryview(area)[to : to + nbytes], memoryview(source)[from_ : from_ + nbytes]
            )
        )
        got = memoryview(area)[to : to + nbytes]
        assert not difference(got, source[from_ : from_ + nbytes]), (nbytes, to, from_)
        assert area[to + nbytes : to + nbytes + 8] == b"untouche", (nbytes, to, from_)


@needs_helper
@pytest.mark.usefixtures("dma")
def test_a_blocking_copy() -> None:
    target, source = bytearray(LARGE), pattern(LARGE, 3)
    assert adma.copy(target, source) == LARGE
    assert not difference(target, source)


@needs_helper
@pytest.mark.usefixtures("dma")
@pytest.mark.parametrize("shift", [-CELL - 1, -1, 1, CELL])
def test_what_overlaps_is_the_cpus(shift: int) -> None:
    """The result is memmove's, and no byte of it goes by DMA."""
    area = bytearray(pattern(LARGE + 2 * CELL + 2, 4))
    at = CELL + 1
    want = bytes(area[at : at + LARGE])
    before = adma.stats()
    view_ = memoryview(area)
    run(adma.icopy(view_[at + shift : at + shift + LARGE], view_[at : at + LARGE]))
    assert not difference(area[at + shift : at + shift + LARGE], want)
    assert adma.stats()["bytes_device"] == before["bytes_device"]


@needs_helper
@pytest.mark.usefixtures("dma")
def test_what_is_strided_is_the_cpus() -> None:
    source = np.arange(1 << 20, dtype=np.uint32).reshape(1024, 1024)
    target = np.zeros((1024, 512), dtype=np.uint32)
    before = adma.stats()
    run(adma.icopy(target, source[:, ::2]))
    assert (target == source[:, ::2]).all()
    assert adma.stats()["bytes_device"] == before["bytes_device"]


@needs_helper
@pytest.mark.usefixtures("dma")
def test_what_a_file_holds_is_copied() -> None:
    """The module refuses pages that a file system writes back, and takes those of a tmpfs."""
    path = Path("/var/tmp") / f"adma-test-{os.getpid()}"
    source = pattern(MIB, 5)
    try:
        with path.open("w+b") as file:
            file.truncate(MIB)
            before = adma.stats()
            with mmap.mmap(file.fileno(), MIB) as area:
                run(adma.icopy(area, source))
                assert not difference(area[:], source)
            assert path.read_bytes() == source
    finally:
        path.unlink(missing_ok=True)
    after = adma.stats()
    taken = after["copies_device"] - before["copies_device"]
    assert taken + after["refused_device"] - before["refused_device"] == 1


@needs_helper
@pytest.mark.root
def test_who_may_pin_nothing_is_served_all_the_same() -> None:
    def copy() -> dict[str, int]:
        import resource

        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        become(NOBODY_SPECIAL)
        adma.configure(engine="dmaengine")
        target, source = bytearray(MIB), pattern(MIB, 6)
        run(adma.icopy(target, source))
        assert target == source
        return adma.stats()

    os.chmod(helper.DEVICE, 0o666)
    try:
        found = InChild(copy).result()
    finally:
        os.chmod(helper.DEVICE, 0o660)
    assert (found["copies"], found["copies_device"], found["refused_device"]) == (1, 0, 1)


# Many


@needs_helper
@pytest.mark.usefixtures("dma")
def test_more_copies_than_completion_entries() -> None:
    count, nbytes = 1500, 20 * KIB
    source = pattern(count * nbytes, 7)
    target = bytearray(len(source))
    before = adma.stats()
    requests = [
        adma.icopy(memoryview(target)[at : at + nbytes], memoryview(source)[at : at + nbytes])
        for at in range(0, len(source), nbytes)
    ]
    assert adma.wait_all(requests, timeout=HANG) == [nbytes] * count
    assert not difference(target, source)
    assert adma.stats()["copies_device"] - before["copies_device"] == count


@needs_helper
@pytest.mark.usefixtures("dma")
def test_copies_that_touch_each_other_keep_their_order() -> None:
    """Against the same copies made one after the other."""
    random_ = random.Random(8)
    size = MIB
    area = bytearray(pattern(size, 8))
    model = bytearray(area)
    requests = []
    for _ in range(150):
        nbytes = random_.choice([100, 5000, 17 * KIB, 40 * KIB, 200 * KIB])
        to, from_ = (random_.randrange(size - nbytes) for _ in range(2))
        requests.append(
            adma.icopy(memoryview(area)[to : to + nbytes], memoryview(area)[from_ : from_ + nbytes])
        )
        model[to : to + nbytes] = bytes(model[from_ : from_ + nbytes])
    adma.wait_all(requests, timeout=HANG)
    assert not difference(area, bytes(model))


@needs_helper
@pytest.mark.usefixtures("dma")
def test_a_chain_goes_on_while_nobody_calls() -> None:
    """Each waits for the one before it: the engine starts it by itself."""
    links = [bytearray(pattern(CELL, 9))] + [bytearray(CELL) for _ in range(20)]
    for from_, to in itertools.pairwise(links):
        last = adma.icopy(to, from_)
    until("the chain is copied", lambda: last._copy.state == lib.ADMA_COPY_DONE)
    assert links[-1] == links[0]


@needs_helper
@pytest.mark.usefixtures("dma")
def test_checking_is_enough() -> None:
    target, source = bytearray(LARGE), pattern(LARGE, 10)
    request = adma.icopy(target, source)
    until("the copy is done", request.check)
    assert not difference(target, source)


@needs_helper
@pytest.mark.usefixtures("dma")
def test_idle_it_sleeps_and_nobody_wakes_it() -> None:
    run(adma.icopy(bytearray(LARGE), bytes(LARGE)))
    adma.configure(callers_help=True)  # stops it: the next copy starts it anew
    run(adma.icopy(bytearray(LARGE), bytes(LARGE)))
    previous: list[dict[str, int]] = []

    def settled() -> bool:
        previous.append({name: adma.stats()[name] for name in ("sleeps", "wakes")})
        time.sleep(0.2)
        return {name: adma.stats()[name] for name in ("sleeps", "wakes")} == previous[-1]

    until("it is asleep", settled)
    time.sleep(0.5)
    assert {name: adma.stats()[name] for name in ("sleeps", "wakes")} == previous[-1]
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert names.count("adma-dma") == 1


# What goes wrong


@needs_helper
@pytest.mark.usefixtures("dma")
@pytest.mark.parametrize("side", ["source", "destination"])
def test_memory_that_is_not_there(side: str) -> None:
    """An error, where a CPU would have died of it; what comes after it is copied."""
    at = mapped(MIB)
    hole = view(at, MIB)
    unmap(at, MIB)
    buffer = bytearray(MIB)
    request = adma.icopy(buffer, hole) if side == "source" else adma.icopy(hole, buffer)
    with pytest.raises(OSError, match="Bad address") as caught:
        request.wait(timeout=HANG)
    assert caught.value.errno == errno.EFAULT
    source = pattern(MIB, 11)
    run(adma.icopy(buffer, source))
    assert buffer == source


@needs_helper
@pytest.mark.usefixtures("dma")
@pytest.mark.parametrize(("protection", "side"), [(0, "source"), (1, "destination")])
def test_memory_that_must_not_be_touched(protection: int, side: str) -> None:
    with mmap.mmap(-1, MIB) as area:
        at = address(area)
        assert not _libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(MIB), protection)
        buffer = bytearray(MIB)
        pair = (buffer, view(at, MIB)) if side == "source" else (view(at, MIB), buffer)
        with pytest.raises(OSError, match="Bad address"):
            adma.icopy(*pair).wait(timeout=HANG)
        assert not _libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(MIB), 3)


@needs_helper
@pytest.mark.faults
@pytest.mark.usefixtures("dma")
def test_memory_that_goes_before_it_is_handed_over() -> None:
    at = mapped(MIB)
    hole = view(at, MIB)
    lib.adma_fault_arm(lib.ADMA_FAULT_CHUNK, lib.ADMA_FAULT_DELAY, 500_000, 1)
    request = adma.icopy(bytearray(MIB), hole)
    unmap(at, MIB)
    with pytest.raises(OSError, match="Bad address"):
        request.wait(timeout=HANG)


@needs_helper
@pytest.mark.usefixtures("dma")
def test_memory_that_goes_while_it_is_copied() -> None:
    """The copy was made before, or it fails with EFAULT; the process lives on."""
    outcomes = set()
    for turn in range(10):
        nbytes = 16 * MIB
        at = mapped(nbytes)
        request = adma.icopy(view(at, nbytes), bytes(nbytes))
        time.sleep(0.001 * turn)
        unmap(at, nbytes)
        try:
            outcomes.add(request.wait(timeout=HANG))
        except OSError as error:
            outcomes.add(-(error.errno or 0))
    assert outcomes <= {16 * MIB, -errno.EFAULT}


@pytest.fixture
def soft() -> Iterator[dict[str, str]]:
    """What the software provider is told; undone afterwards."""
    names = ("delay_us", "fail_every")
    before = {name: (SOFT / name).read_text() for name in names}
    yield before
    for name, value in before.items():
        (SOFT / name).write_text(value)


@needs_helper
@needs_soft
@pytest.mark.root
@pytest.mark.usefixtures("dma", "soft")
def test_an_engine_that_fails_loses_nothing() -> None:
    (SOFT / "fail_every").write_text("3")
    target, source = bytearray(LARGE), pattern(LARGE, 12)
    with Helper() as device:
        before = device.counters()
        for _ in range(4):
            target[:] = bytes(LARGE)
            run(adma.icopy(target, source))
            assert not difference(target, source)
        assert counted(before, device.counters())["bytes_rescued"]


@needs_helper
@needs_soft
@pytest.mark.root
@pytest.mark.usefixtures("dma", "soft")
def test_what_the_device_has_cannot_be_cancelled() -> None:
    """But a copy that waits for it can be."""
    (SOFT / "delay_us").write_text("20000")
    first, second, source = bytearray(LARGE), bytearray(LARGE), pattern(LARGE, 13)
    begun = adma.icopy(first, source)
    behind = adma.icopy(second, first)
    until("it has begun", lambda: begun._copy.state == lib.ADMA_COPY_RUNNING)
    assert not begun.cancel()
    assert behind.cancel()
    with pytest.raises(adma.Cancelled):
        behind.wait(timeout=HANG)
    assert begun.wait(timeout=HANG) == LARGE
    assert not difference(first, source)
    assert second == bytes(LARGE)


@needs_helper
@pytest.mark.faults
@pytest.mark.usefixtures("dma")
def test_what_waits_for_the_submitter_can_be_cancelled() -> None:
    lib.adma_fault_arm(lib.ADMA_FAULT_CHUNK, lib.ADMA_FAULT_DELAY, 500_000, 1)
    targets, source = [bytearray(MIB), bytearray(MIB), bytearray(MIB)], pattern(MIB, 14)
    requests = [adma.icopy(target, source) for target in targets]
    until("the first is being posted", lambda: requests[0]._copy.state == lib.ADMA_COPY_RUNNING)
    assert not requests[0].cancel()
    assert requests[1].cancel()
    run(requests[0], requests[2])
    assert targets == [source, bytes(MIB), source]


@needs_helper
@pytest.mark.usefixtures("dma")
def test_cancel_tells_the_truth() -> None:
    """Cancelled, and nothing was written; or not, and all of it was."""
    source = pattern(LARGE, 15)
    for turn in range(20):
        target = bytearray(LARGE)
        request = adma.icopy(target, source)
        if turn % 2:
            time.sleep(0.0005 * turn)
        if request.cancel():
            assert target == bytes(LARGE)
        else:
            assert request.wait(timeout=HANG) == LARGE
            assert target == source


@needs_helper
@pytest.mark.faults
@pytest.mark.usefixtures("dma")
def test_a_device_that_refuses_is_helped() -> None:
    """Any errno of the command but EFAULT: the CPU does it."""
    adma.configure(callers_help=False)
    for number in (errno.ENOMEM, errno.EDQUOT, errno.ENODEV):
        before = adma.stats()
        lib.adma_fault_arm(lib.ADMA_FAULT_CHUNK, lib.ADMA_FAULT_FAIL, number, 1)
        target, source = bytearray(MIB), pattern(MIB, number)
        run(adma.icopy(target, source))
        assert target == source
        found = counted(before, adma.stats())
        assert (found["refused_device"], found["copies_device"], found["copies"]) == (1, 0, 1)
    adma.configure(callers_help=True)


@needs_helper
@pytest.mark.faults
@pytest.mark.parametrize("nth", [1, 2])
def test_without_memory_for_threads(nth: int) -> None:
    """Without a submitter `caller` is used and says so; without workers the submitter copies."""
    adma.configure(engine="dmaengine", queues=1)
    lib.adma_fault_arm(lib.ADMA_FAULT_THREAD, lib.ADMA_FAULT_FAIL, errno.EAGAIN, nth)
    area = bytearray(pattern(MIB + 1, 16))
    want = bytes(area[:MIB])
    if nth == 1:
        engine._warned.clear()
        with pytest.warns(RuntimeWarning, match="dmaengine"):
            run(adma.icopy(memoryview(area)[1:], memoryview(area)[:MIB]))
    else:
        run(adma.icopy(memoryview(area)[1:], memoryview(area)[:MIB]))
    assert area[1:] == want
    adma.configure(queues=0)


@pytest.mark.skipif(
    "ADMA_EXPECT_STUCK" not in os.environ,
    reason="leaves pages pinned and channels retired for good: in a guest of its own",
)
@pytest.mark.usefixtures("dma")
def test_an_engine_that_neither_ends_nor_stops() -> None:
    """EIO, and both buffers are kept for ever; with no channel left, the CPU copies."""
    (Path("/sys/module/adma/parameters") / "timeout_ms").write_text("300")
    (SOFT / "terminate_fails").write_text("1")
    (SOFT / "hang_every").write_text("1")
    target, source = bytearray(LARGE), bytearray(pattern(LARGE, 19))
    with pytest.raises(OSError, match="Input/output error") as caught:
        adma.icopy(target, source).wait(timeout=HANG)
    assert caught.value.errno == errno.EIO
    for buffer in (target, source):
        with pytest.raises(BufferError):
            buffer.clear()
    before = adma.stats()
    after = bytearray(LARGE)
    for _ in range(5):
        run(adma.icopy(after, bytes(source)))
        assert after == source
    found = counted(before, adma.stats())
    assert (found["copies"], found["failed"]) == (5, 0)
    assert found["refused_device"] or found["copies_device"]


# Processes


def _of_the_helper() -> tuple[list[str], list[str]]:
    """Descriptors and mappings of the device that this process has."""
    fds = []
    for name in os.listdir("/proc/self/fd"):
        try:
            fds.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [fd for fd in fds if "adma" in fd], [line for line in maps if "adma-entries" in line]


@needs_helper
@pytest.mark.usefixtures("dma")
def test_a_forked_child_begins_anew() -> None:
    target, source = bytearray(LARGE), pattern(LARGE, 17)
    run(adma.icopy(target, source))
    assert all(map(len, _of_the_helper()))
    pending = adma.icopy(target, source)

    def look() -> tuple[tuple[list[str], list[str]], str, bytes, dict[str, int]]:
        left = _of_the_helper()
        try:
            pending.check()
            said = "nothing"
        except ProcessLookupError as error:
            said = str(error)
        mine = bytearray(CELL)
        run(adma.icopy(mine, source[:CELL]))
        return left, said, bytes(mine), adma.stats()

    left, said, mine, found = InChild(look).result()
    assert left == ([], [])
    assert said != "nothing" or pending.check()
    assert mine == source[:CELL]
    assert found["copies_device"] == 1
    run(pending)
    assert target == source


def _child(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "ADMA_ENGINE": "dmaengine"}
    head = "import adma, os, sys\nsource, target = bytes(range(256)) * 65536, bytearray(1 << 24)\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@needs_helper
@pytest.mark.parametrize("ending", ["", "os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()"])
def test_exit_with_copies_pending(ending: str) -> None:
    """Nothing hangs or stays pinned (the guest checks that), and other processes go on."""
    code = (
        "requests = [adma.icopy(target, source) for _ in range(8)]\nprint('posted', flush=True)\n"
    )
    with _child(code + ending) as process:
        text, _ = process.communicate(timeout=HANG * 3)
        expected = -signal.SIGKILL if "kill" in ending else 0
        assert (process.returncode, text) == (expected, "posted\n")


@needs_helper
def test_the_environment_chooses_it() -> None:
    code = (
        "adma.icopy(target, source).wait(); print(adma.stats()['copies_device'], target == source)"
    )
    with _child(code) as process:
        text, _ = process.communicate(timeout=HANG * 3)
        assert (process.returncode, text) == (0, "1 True\n")


@needs_helper
def test_its_timeline(tmp_path: Path) -> None:
    """ADMA_TRACE shows that the submitter hands over and only the device copies."""
    path = tmp_path / "trace.json"
    code = "import adma; adma.icopy(bytearray(1 << 20), bytes(1 << 20)).wait()"
    environment = {**os.environ, "ADMA_ENGINE": "dmaengine", "ADMA_TRACE": str(path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=HANG * 3)
    events = json.loads(path.read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    handed = [event for event in events if event["name"] == "hand to the device"]
    assert [(names[event["tid"]], event["args"]["errno"]) for event in handed] == [("adma-dma", 0)]
    device = [
        (event["ph"], event["args"].get("bytes")) for event in events if event["name"] == "DMA"
    ]
    assert device == [("b", MIB), ("e", None)]
    assert not [event for event in events if event["name"] == "part"]


@needs_helper
def test_nothing_is_left_of_it() -> None:
    """Once stopped, it has given back the device, its descriptors, its mapping and its threads."""
    for _ in range(3):
        adma.configure(engine="dmaengine")
        run(adma.icopy(bytearray(MIB), bytes(MIB)))
        adma.configure(engine="caller")
        assert _of_the_helper() == ([], [])


@needs_helper
@pytest.mark.usefixtures("dma")
def test_somebody_closes_our_descriptor() -> None:
    """As daemons close all descriptors: running copies end, and later ones are made by the CPU."""

    def close_all() -> tuple[bool, dict[str, int]]:
        target, source = bytearray(LARGE), pattern(LARGE, 18)
        run(adma.icopy(target, source))
        request = adma.icopy(target, source)
        for name in os.listdir("/proc/self/fd"):
            path = os.path.realpath(f"/proc/self/fd/{name}")
            if path == helper.DEVICE or "anon_inode:[eventfd]" in path:
                os.close(int(name))
        run(request)
        run(*(adma.icopy(bytearray(MIB), source[:MIB]) for _ in range(3)))
        return target == source, adma.stats()

    same, found = InChild(close_all).result()
    assert same
    assert found["copies"] == 5
