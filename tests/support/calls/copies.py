# SPDX-License-Identifier: BSD-3-Clause
"""Copies in a process of their own: around a fork, under a signal, beside many others."""

from __future__ import annotations

import os
import random
import resource
import warnings
from collections.abc import Callable
from typing import Any

import adma
from adma.copying import engine as adma_engine
from adma.testing import Endpoint
from adma.testing.limits import HANG, KIB, MIB, SHORT
from adma.testing.observe import until
from adma.testing.payload import Repeated, difference, pattern
from support import engine
from support.calls import faults
from support.calls.forks import _in_child
from support.endpoints import InThread, become


def said(function: Callable[[], object]) -> str:
    """What it returned or raised, as text."""
    try:
        return f"returned {function()!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# Forks


def fork_while_pending(endpoint: Endpoint) -> dict[str, Any]:
    """Of a held copy and one behind it: what a child makes of them, and what becomes of them."""
    del endpoint
    adma.copy(bytearray(1), b"x")  # counted, but not in the child
    first, second = bytearray(MIB), bytearray(64 * KIB)
    with engine.held() as (blocker, target):
        big = adma.icopy(first, pattern(MIB, 2))
        behind = adma.icopy(second, target)

        def child() -> dict[str, Any]:
            threads = len(os.listdir("/proc/self/task"))
            own = bytearray(MIB)
            found: dict[str, Any] = {
                "threads before": threads,
                "stats before": adma.stats(),
                "check": said(big.check),
                "wait": said(lambda: behind.wait(HANG)),
                "wait_all": said(lambda: adma.wait_all([blocker, big, behind], HANG)),
                "wait_any": said(lambda: adma.wait_any([behind, big], HANG)),
                "cancel": said(behind.cancel),
            }
            second.append(0)  # the child's own: BufferError were it held
            first.clear()
            with engine.held(callers_help=True) as (held, _):
                found["own held"] = said(lambda: adma.wait_any([held, behind, big], SHORT))
                found["helped"] = adma.stats()["parts_callers"]
            anew = adma.icopy(own, pattern(MIB, 3))
            found["own and the parent's"] = adma.wait_any([anew, behind, big], HANG)
            found["anew"] = anew.wait(HANG) == MIB and own == pattern(MIB, 3)
            found["threads after"] = len(engine.queue_threads())
            found["stats after"] = adma.stats()
            return found

        found = dict(_in_child(child))
        found["pending in the parent"] = not big.check() and not behind.check()
    found["parent"] = adma.wait_all([blocker, big, behind], HANG)
    found["right"] = first == pattern(MIB, 2) and second == target == pattern(64 * KIB, 1)
    return found


def fork_among_threads(endpoint: Endpoint, rounds: int) -> int:
    """Children that are forked while copies are posted, waited for and ended in threads."""
    from concurrent.futures import ThreadPoolExecutor

    del endpoint
    engine.configure(engine="thread", queues=2)
    stop = False

    def work(seed: int) -> None:
        buffer = bytearray(MIB)
        while not stop:
            adma.wait_all([adma.icopy(buffer, pattern(MIB, seed)) for _ in range(4)])
            assert buffer == pattern(MIB, seed)

    def child() -> int:
        buffer = bytearray(MIB)
        adma.icopy(buffer, pattern(MIB, 9)).wait(HANG)
        assert buffer == pattern(MIB, 9)
        adma.configure()
        return 1

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work, seed) for seed in range(2)]
        try:
            done = sum(int(_in_child(child)) for _ in range(rounds))
        finally:
            stop = True
        for one in working:
            one.result(HANG)
    return done


# Signals


def interrupted_wait(endpoint: Endpoint, call: str) -> str:
    """Wait for a held copy until Ctrl-C; then let it go on: what became of it."""
    buffer = bytearray(MIB)
    with engine.held() as (blocker, _):
        waits: dict[str, Callable[[adma.Request], object]] = {
            "wait": lambda request: request.wait(),
            "wait_all": lambda request: adma.wait_all([request, blocker]),
            "wait_any": lambda request: adma.wait_any([request, blocker]),
            "wait_some": lambda request: adma.wait_some([request]),
        }
        request = adma.icopy(buffer, pattern(MIB, 4))
        try:
            endpoint.say("blocking")
            waits[call](request)
        except KeyboardInterrupt:
            still = "pending" if not request.check() else "done"
        else:
            return "returned"
    request.wait(HANG)
    return f"{still}, then {'right' if buffer == pattern(MIB, 4) else 'wrong'}"


def interrupted_copy(endpoint: Endpoint, nbytes: int) -> str:
    """A blocking copy behind a held one: it is taken back. `nbytes`: small or large."""
    buffer = bytearray(64 * KIB)
    with engine.held() as (_, target):
        source = memoryview(target)[:nbytes]
        try:
            endpoint.say("blocking")
            adma.copy(memoryview(buffer)[:nbytes], source)
        except KeyboardInterrupt as error:
            request = getattr(error, "request", None)
        else:
            return "returned"
        if request is not None:
            return f"left {request!r}"
        buffer.clear()  # BufferError were it still held
    return "taken back"


def interrupted_running(endpoint: Endpoint) -> str:
    """A blocking copy that is held in its first part: the exception carries its request."""
    buffer = bytearray(4 * MIB)
    with engine.held() as (blocker, _):
        engine.release()
        blocker.wait(HANG)
        faults.arm(None, faults.CHUNK, "hold")
        try:
            endpoint.say("blocking")
            adma.copy(buffer, pattern(4 * MIB, 5))
        except KeyboardInterrupt as error:
            request = getattr(error, "request", None)
        else:
            return "returned"
        if request is None:
            return "taken back"
        before = request.check()
    return f"{before}, {request.wait(HANG)}, {difference(buffer, pattern(4 * MIB, 5))!r}"


def huge_copy(endpoint: Endpoint, settings: dict[str, Any], nbytes: int) -> str:
    """A blocking copy of much, until Ctrl-C; how the rest of it went."""
    engine.configure(**settings)

    def tell(before: int) -> None:
        until("it is copied", lambda: adma.stats()["parts_callers"] > before)
        endpoint.say("copying")

    with (
        Repeated(nbytes, window=4 * MIB, content=pattern(4 * MIB, 6)) as source,
        Repeated(nbytes, window=4 * MIB) as target,
    ):
        before = adma.stats()["parts_callers"]
        teller = InThread(lambda: tell(before))
        try:
            adma.copy(target.view, source.view)
        except KeyboardInterrupt as error:
            request: Any = getattr(error, "request", None)
            del error
        else:
            return "returned"
        if request is None:
            return "taken back"
        teller.result()
        done = request.wait(4 * HANG)  # the engine copies gibibytes, maybe beside others
        del request
        return f"{done == nbytes}, {difference(target.content(), pattern(4 * MIB, 6))!r}"


# Threads that cannot be had


def without_threads(uid: int, tasks: int, nbytes: int) -> dict[str, Any]:
    """As a user who may have `tasks` threads and processes in all. In a child of its own."""
    adma_engine._warned.clear()
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
    become(uid)
    adma.configure(engine="thread", queues=4)
    target = bytearray(nbytes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        request = adma.icopy(target, pattern(nbytes, 1))
        adma.copy(memoryview(target)[: nbytes // 2], pattern(nbytes // 2, 2))
        request.wait(HANG)
    return {
        "right": target == pattern(nbytes // 2, 2) + pattern(nbytes, 1)[nbytes // 2 :],
        "warnings": [str(one.message) for one in caught],
        "queues": len(engine.queue_threads()),
        "described": adma_engine.describe(),
    }


# Many at once


def many(endpoint: Endpoint, seed: int, count: int) -> int:
    """Random copies of one memory, against a model."""
    del endpoint
    engine.configure(engine="thread", queues=3)
    drawn = random.Random(seed)
    memory = bytearray(pattern(2 * MIB, seed))
    want = bytearray(memory)
    requests = []
    for _ in range(count):
        nbytes = drawn.choice([100, 20 * KIB, 200 * KIB, MIB])
        to, from_ = (drawn.randrange(len(memory) - nbytes) for _ in range(2))
        view = memoryview(memory)
        requests.append(adma.icopy(view[to : to + nbytes], view[from_ : from_ + nbytes]))
        want[to : to + nbytes] = want[from_ : from_ + nbytes]
    adma.wait_all(requests, HANG)
    return int(memory == want)
