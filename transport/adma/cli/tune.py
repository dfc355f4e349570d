# SPDX-License-Identifier: BSD-3-Clause
"""``adma tune``: measures once what would be learnt, and stores it for this user."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import adma
from adma import config, tuned
from adma._core import learning
from adma.bench.table import columns
from adma.mechanisms import NAMES

TIMEOUT = 20.0
KIB, MIB = 1 << 10, 1 << 20
SIZES = tuple(16 * KIB << power for power in range(11))  # to 16 MiB
ALIASED = 16  # bytes, by which the buffers of a pair are apart, modulo the size of a page
REQUEST = struct.Struct("=QQ")  # asks for a window: the number of messages, and the bytes of each
ROUNDS = 250  # messages of each size and kind
SECONDS = 1.5  # for these, at most
WINDOW = 64  # messages that are posted at once, if they have room in the largest message
WINDOWS = 100  # of each size and kind
COPIES = SIZES[3:]  # of these sizes: shorter ones are made in the call
_CHOICES = ("built-in", "small", "large")


def declare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "tune",
        help="measure once how messages are carried and copies are made best on this machine",
        description=(
            "Carry messages of all sizes between two processes, by each mechanism that works, make "
            "copies of all sizes, and "
            "store what that took, for this user and this machine. Programs begin with it then, "
            "instead of built-in numbers, and go on learning. Run it while the machine is idle."
        ),
    )
    parser.add_argument("--show", action="store_true", help="measure nothing: show what is stored")
    parser.add_argument(
        "--quick", action="store_true", help="a few messages: only see that it runs"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and store, or show. 0; 1 if there is nothing to store, to show, or it is not used."""
    return show(options.json) if options.show else tune(options.quick, options.json)


def show(as_json: bool) -> int:
    """Print what is stored."""
    try:
        found = tuned.load()
    except (OSError, tuned.Unusable) as error:
        why = getattr(error, "strerror", None) or error
        print(f"adma: {tuned.path()} is ignored: {why}", file=sys.stderr)
        return 1
    if found is None:
        print(f"adma: {tuned.path()}: nothing is stored; run `adma tune`", file=sys.stderr)
        return 1
    tell(found, tuned.path(), as_json)
    return 0


def tune(quick: bool, as_json: bool) -> int:
    """Measure, store, and print."""
    if not config.learns():
        raise ValueError(f"{config.LEARN}=0 switches learning off; cure: unset it")
    tuned.provide()  # before it takes half a minute
    tuned.forgo()  # what an earlier run stored is not to be learnt again
    measure(quick)
    if quick:
        print("it runs; so few messages tell nothing, and nothing is stored")
        return 0
    costs, spreads = learning.tell(os.geteuid()), learning.tell_spreads()
    if not costs and not spreads:
        print(
            "adma: nothing was learnt: the machine is busy, or only one mechanism works "
            "(see `adma info`); cure: run it on an idle machine",
            file=sys.stderr,
        )
        return 1
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    where = tuned.store(costs, spreads, date)
    tell(tuned.Tuned(date, tuned.machine(), costs, spreads), where, as_json)
    return 0


def tell(found: tuned.Tuned, where: str, as_json: bool) -> None:
    """Print it, for people or as JSON."""
    if as_json:
        plain: dict[str, Any] = {**asdict(found), "file": where, "ways": list(_ways(found))}
        del plain["costs"]
        plain["spreads"] = list(_spreads(found))
        print(json.dumps(plain, indent=1))
        return
    print(f"{where}, measured {found.date} on {found.machine.get('cpu')}")
    rows = [["", "bytes", "messages", "buffers", "mechanism", "chunks", "us"]]
    for way in _ways(found):
        beside, apart = "many" if way["window"] else "one", "apart" if way["aliased"] else ""
        chunks = way["chunks"] + (" by a detour" if way["detour"] else "")
        mark = "*" if way["chosen"] else ""
        took = f"{way['seconds'] * 1e6:.1f}"
        rows.append([mark, str(way["nbytes"]), beside, apart, way["mechanism"], chunks, took])
    print(columns(rows))
    rows = [["", "bytes", "copies whose caller", "queues", "parts of", "us"]]
    for each in _spreads(found):
        mark, waits = "*" if each["chosen"] else "", "waits" if each["waits"] else "computes"
        parts, took = f"{each['part_bytes'] // KIB} KiB", f"{each['seconds'] * 1e6:.1f}"
        rows.append([mark, str(each["nbytes"]), waits, str(each["queues"]), parts, took])
    print(columns(rows))


def _ways(found: tuned.Tuned) -> Iterator[dict[str, Any]]:
    for cost in found.costs:
        nbytes = learning.size_of(cost.size_class)
        named = NAMES.get(cost.mechanism, str(cost.mechanism))
        chunks = _CHOICES[cost.choice] if cost.choice < len(_CHOICES) else str(cost.choice)
        if not cost.mechanism:
            named, chunks = "eager" if cost.choice else "rendezvous", ""
        yield {
            "nbytes": nbytes,
            "mechanism": named,
            "chunks": chunks,
            "aliased": cost.aliased,
            "detour": cost.detour,
            "window": cost.window,
            "chosen": cost.chosen,
            "seconds": cost.ns_per_mib * nbytes / MIB / 1e9,
        }


def _spreads(found: tuned.Tuned) -> Iterator[dict[str, Any]]:
    for spread in found.spreads:
        nbytes = learning.size_of(spread.size_class)
        yield {
            "nbytes": nbytes,
            "waits": spread.waits,
            "queues": spread.queues,
            "part_bytes": spread.part_bytes,
            "chosen": spread.chosen,
            "seconds": spread.ns_per_mib * nbytes / MIB / 1e9,
        }


def measure(quick: bool) -> None:
    """Let this process read enough messages of each size, and make enough copies of each."""
    measure_messages(quick)
    for nbytes in COPIES[:1] if quick else COPIES:
        for waits in (True, False):
            _copy(nbytes, waits, 4 if quick else ROUNDS)


def _copy(nbytes: int, waits: bool, rounds: int) -> None:
    """Copies of which each is alone, and whose caller waits, or else computes."""
    enough = time.monotonic() + SECONDS
    with mmap.mmap(-1, nbytes) as src, mmap.mmap(-1, nbytes) as dst:
        for _ in range(rounds):
            request = adma.icopy(dst, src)
            while not waits and not request.check():
                pass
            request.wait(TIMEOUT)
            if time.monotonic() > enough:
                break


def measure_messages(quick: bool) -> None:
    """Read messages of each size, one by one and many at once, into buffers of both kinds."""
    sizes = SIZES[:2] if quick else SIZES
    with _child() as link, adma.from_socket(link, timeout=TIMEOUT) as channel:
        for nbytes in sizes:
            _bounce(channel, nbytes, 4 if quick else ROUNDS)
            number = min(WINDOW, SIZES[-1] // nbytes)
            if number >= 4:  # fewer are no sample
                _take_windows(channel, nbytes, number, 4 if quick else WINDOWS)


def _bounce(channel: adma.Channel, nbytes: int, rounds: int) -> None:
    """Messages there and back: into buffers at the same place in their pages, and a bit behind."""
    with mmap.mmap(-1, nbytes + ALIASED) as memory, memoryview(memory) as whole:
        for offset in (0, ALIASED):
            enough = time.monotonic() + SECONDS
            with whole[:nbytes] as out, whole[offset : offset + nbytes] as into:
                for _ in range(rounds):
                    channel.write(out, timeout=TIMEOUT)
                    channel.read(into, timeout=TIMEOUT)
                    if time.monotonic() > enough:
                        break


def _take_windows(channel: adma.Channel, nbytes: int, number: int, rounds: int) -> None:
    """Have windows sent, and read them into buffers of both kinds."""
    request = REQUEST.pack(number, nbytes)
    with mmap.mmap(-1, number * nbytes + ALIASED) as memory, memoryview(memory) as whole:
        for offset in (0, ALIASED):
            enough = time.monotonic() + SECONDS
            for _ in range(rounds):
                channel.write(request, timeout=TIMEOUT)
                posted = [
                    channel.iread(whole[offset + i * nbytes :][:nbytes]) for i in range(number)
                ]
                adma.wait_all(posted, TIMEOUT)
                if time.monotonic() > enough:
                    break


@contextlib.contextmanager
def _child() -> Iterator[socket.socket]:
    """Run the other process, which sends each message back."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    process = subprocess.Popen(
        [sys.executable, "-m", "adma.cli.echo", str(theirs.fileno()), str(SIZES[-1])],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )
    try:
        theirs.close()
        yield ours
        process.wait(TIMEOUT)
    finally:
        ours.close()
        if process.poll() is None:
            process.kill()
        process.wait()
