#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Mixed traffic of several processes, whose memory, descriptors, threads and segments stay flat.

Prints a line per interval: the time, what has been done in it, and what all the processes hold
together. Exit status 1: something grows (growth.py says by what rule), a process failed or made no
progress, or something was left behind. An interrupt stops it at once, and it
leaves nothing.

    python tests/soak/soak.py [--seconds 600] [--interval SECONDS]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from growth import LEAST, Holds, grown

TRAFFIC = Path(__file__).parent / "traffic.py"
#: Each with the role whose address it calls. Servers end after their clients.
ROLES = (
    ("serve", "serve"),
    ("call", "serve"),
    ("call", "serve"),
    ("pipes", ""),
    ("serve_tasks", "serve_tasks"),
    ("call_tasks", "serve_tasks"),
)
PATIENCE = 90.0  # seconds for a round, or to end: more than any call in it may take


@dataclass
class Part:
    """One process of the traffic."""

    role: str
    process: subprocess.Popen[bytes]
    rounds: int = 0
    progress: float = field(default_factory=time.monotonic)  # the moment of the last round
    samples: list[Holds] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.role} ({self.process.pid})"

    def look(self) -> int:
        """How many rounds it has made since the last look."""
        assert self.process.stdout is not None
        before = self.rounds
        while text := self.process.stdout.read():  # it does not wait
            self.rounds = int(text.split()[-1])
            self.progress = time.monotonic()
        return self.rounds - before

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.process.poll() is not None:
            return f"{self.name} ended"
        if time.monotonic() > self.progress + PATIENCE:
            return f"{self.name} made no progress within {PATIENCE:g} s"
        return ""


def start(role: str, address: str) -> Part:
    """Start a process. It ends when this one does, however that ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(TRAFFIC), role, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # NumPy's threads are not ours
        start_new_session=True,  # an interrupt is for this process alone
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    return Part(role, process)


def stop(parts: list[Part]) -> list[str]:
    """Have all of them end, clients first; what went wrong."""
    found = []
    for part in sorted(parts, key=lambda part: part.role.startswith("serve")):
        assert part.process.stdin is not None
        part.process.stdin.close()
    end = time.monotonic() + PATIENCE
    for part in parts:
        try:
            status = part.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            part.process.kill()
            part.process.wait()
            found.append(f"{part.name} did not end within {PATIENCE} s")
        else:
            if status:
                found.append(f"{part.name} failed with {status}")
        assert part.process.stdout is not None
        part.process.stdout.close()
    return found


def left(parts: list[Part]) -> list[str]:
    """Segments of these processes that are still there."""
    pids = {str(part.process.pid) for part in parts}
    names = [name for name in os.listdir("/dev/shm") if name.startswith("adma-")]
    return [f"/dev/shm/{name} is left" for name in names if name.split("-")[2] in pids]


def begin(parts: list[Part]) -> list[str]:
    """Wait until all have made a round; what went wrong."""
    while not all(part.rounds for part in parts):
        if found := [part.trouble for part in parts if part.trouble]:
            return found
        time.sleep(0.05)
        for part in parts:
            part.look()
    return []


def run(parts: list[Part], seconds: float, interval: float) -> list[str]:
    """Sample until the time is over; what went wrong."""
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        time.sleep(min(interval, seconds - now))
        done: dict[str, int] = {}
        for part in parts:
            done[part.role] = done.get(part.role, 0) + part.look()
        if found := [part.trouble for part in parts if part.trouble]:
            return found
        for part in parts:
            part.samples.append(Holds.of(part.process.pid))
        report(time.monotonic() - begun, done, [part.samples[-1] for part in parts])
    return [f"{part.name} grows: {what}" for part in parts for what in grown(part.samples)]


def report(now: float, done: dict[str, int], holds: list[Holds]) -> None:
    """A line."""
    total = {name: sum(getattr(each, name) for each in holds) for name in Holds.ALLOWED}
    print(
        f"{now:6.1f} s  "
        + " ".join(f"{role} {count}" for role, count in done.items())
        + f"  memory {total['memory'] / 1024:.1f} MiB, descriptors {total['descriptors']}, "
        + f"threads {total['threads']}, segments {total['segments']}",
        flush=True,
    )


def main() -> int:
    """0: nothing grows."""
    parser = argparse.ArgumentParser(description="Mixed traffic; nothing of it may grow.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--interval", type=float, help="seconds; by default a 60th of the run")
    options = parser.parse_args()
    interval = options.interval or options.seconds / 60
    if options.seconds < 4 * LEAST * interval:
        parser.error(f"--interval {interval:g}: a run has to have {4 * LEAST} of them")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parts: list[Part] = []
    found: list[str] = []
    try:
        for role, server in ROLES:
            parts.append(start(role, f"soak-{server}-{os.getpid()}"))
        found = begin(parts) or run(parts, options.seconds, interval)
    except KeyboardInterrupt:
        found = ["interrupted"]
    finally:
        found += stop(parts)
        found += left(parts)
        for line in found:
            print(f"soak: {line}", file=sys.stderr)
    print("soak: failed" if found else "soak: nothing grows", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
