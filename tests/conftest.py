# SPDX-License-Identifier: BSD-3-Clause
"""What holds for every test: it leaves nothing behind, and when it hangs it says where.

After each test this process must have the children, threads, descriptors and mappings it
had before, and no segment, socket or temporary file of ours may be left. Orphans of a
killed peer count as children of this process. The worker threads of the copy engine live on,
asleep, by design: they are stopped after each test, and no copy may be left to them.

All of it is looked at in one process: with pytest-xdist each worker has its own directories,
peers and children. A test that looks at the whole machine, or at how long something takes,
is marked `alone`; `make test` runs those after the others, one at a time.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from adma.testing import Peer, pool
from adma.testing.leaks import Scope, Snapshot, left_behind, snapshot
from adma.testing.limits import SLOWNESS
from adma.testing.observe import children
from support import engine, quick

_TIMEOUT = 90
_PR_SET_CHILD_SUBREAPER = 36
_BEFORE = pytest.StashKey[Snapshot]()
_FAILED = pytest.StashKey[bool]()

# All runtime files and temporary files of this process and its children go here.
_place: Path


def pytest_configure(config: pytest.Config) -> None:
    global _place
    config.addinivalue_line("markers", "faults: needs fault points, which only a test build has")
    config.addinivalue_line("markers", "alone: looks at the whole machine, or at its time")
    config.addinivalue_line("markers", "thorough: takes long, and is left to make test-all")
    config.addinivalue_line("markers", "root: needs root, to drop privileges or to mount")
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    # A short name: paths of Unix sockets end at 107 bytes.
    _place = Path(tempfile.mkdtemp(prefix="adma-test-"))
    for variable, name in (
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_CONFIG_HOME", "config"),  # what the user has stored by `adma tune` is not used
        ("TMPDIR", "tmp"),
    ):
        (_place / name).mkdir(mode=0o700)
        os.environ[variable] = str(_place / name)
    tempfile.tempdir = None
    # A shell that starts us in the background may leave SIGINT ignored, and so it would stay in
    # every program that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    Peer.preload_always = ("support.rest",)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    settings.register_profile(
        "adma",
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("adma")


def pytest_unconfigure() -> None:
    pool.close()
    shutil.rmtree(_place, ignore_errors=True)


def _leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where not everything is wanted; pytest says how many tests it deselected."""
    kept = [item for item in items if not (quick.QUICK and item.get_closest_marker("thorough"))]
    chosen = quick.sample(kept, quick.SAMPLE)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from adma._core._native import lib

    if quick.QUICK or quick.SAMPLE > 1:
        _leave_out(config, items)
    without_faults = pytest.mark.skip(reason="this build has no fault points (ADMA_BUILD=faults)")
    without_root = pytest.mark.skip(reason="not root: cannot drop privileges or mount")
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT * SLOWNESS))
        if item.get_closest_marker("faults") and not lib.adma_faults_built():
            item.add_marker(without_faults)
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(without_root)


# A test that hangs


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """In place of pytest-timeout's own alarm: one that makes the peers speak up, too."""

    def alarm(number: int, frame: object) -> None:
        del number, frame
        _dump_all()
        pytest.fail(f"{item.nodeid}: not done after {settings.timeout:g} s", pytrace=True)

    item.stash[_ALARM] = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)
    return True


_ALARM = pytest.StashKey[Any]()


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    signal.setitimer(signal.ITIMER_REAL, 0)
    if _ALARM in item.stash:
        signal.signal(signal.SIGALRM, item.stash[_ALARM])
        del item.stash[_ALARM]
    return True


def _dump_all() -> None:
    """Stacks of all threads, here and in every peer, to stderr (which pytest shows)."""
    print(f"\nstacks of the test process {os.getpid()}:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)
    for peer in Peer.alive - set(pool.idle()):
        if peer.process.poll() is not None:
            continue
        print(f"stacks of peer {peer.pid}:", file=sys.stderr, flush=True)
        os.kill(peer.pid, signal.SIGCONT)
        os.kill(peer.pid, signal.SIGUSR1)
        # It writes them by itself, as soon as it gets a core.
        signal.sigtimedwait([], 0.5)


# A test that leaves something


def _ours() -> Scope:
    """Whose segments to look for, where to look for files, and what to overlook."""
    idle = pool.idle()
    return Scope(
        pids=frozenset(Peer.pids),
        places=(_place,),
        other_children=frozenset(peer.pid for peer in idle),
        other_fds=frozenset(peer.fd for peer in idle),
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    item.stash[_BEFORE] = snapshot(_ours())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when != "teardown" and report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    failed = item.stash.get(_FAILED, False)
    try:
        result = yield
    finally:
        left = [] if failed else left_behind(item.stash[_BEFORE], _ours())
        _clean_up(item.stash[_BEFORE])
    if left:
        # A failed test's frames still hold what it used; there the check would only repeat it.
        pytest.fail("left behind by this test:\n  " + "\n  ".join(left), pytrace=False)
    return result


def _clean_up(before: Snapshot) -> None:
    """Endpoint what runs still, so that the next test is not blamed for it."""
    idle = set(pool.idle())
    for peer in Peer.alive - idle:
        peer.discard()
    for pid in set(children(os.getpid())) - set(before.children) - {one.pid for one in idle}:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# What most tests start from


@pytest.fixture(autouse=True)
def _engine_at_rest() -> Iterator[None]:
    """Set up before all else of a test, so that it is looked at when all else is over."""
    yield
    engine.rest()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A second process, looked over for leaks after the test."""
    peer = pool.take()
    yield peer
    _return(peer)


@pytest.fixture
def two_peers() -> Iterator[tuple[Peer, Peer]]:
    """Two other processes, for what must not happen to the one that runs the tests."""
    peers = pool.take(), pool.take()
    yield peers
    for peer in peers:
        _return(peer)


@pytest.fixture
def fresh_peers() -> Iterator[tuple[Peer, Peer]]:
    """Two processes for tests that take from them what they never get back."""
    peers = Peer(), Peer()
    yield peers
    for peer in peers:
        if peer in Peer.alive:
            peer.close()


def _return(peer: Peer) -> None:
    if peer in Peer.alive:
        pool.give_back(peer)
