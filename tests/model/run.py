#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Check the protocol models exhaustively, and that they catch what they must.

Prints a line for each run: model, switches, states, depth, seconds, memory in MiB, what was
expected, and what came out if that is something else. Exit status 0: all as expected; 1:
something was not, or a search was cut short; 2: a tool is missing. Everything is built in a
temporary directory.

    python3 tests/model/run.py [--jobs N] [--only TEXT] [--quick] [--list]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = {"spin": "spin", "gcc": "gcc"}  # command: Debian package
DEPTH_LIMIT = 200_000  # steps; a longer path is an error, not a cut
MEMORY_LIMIT_MIB = 1_900  # per run; two run at a time
TIME_LIMIT_S = 300  # per run; far more than any takes

PASS = "pass"
DEADLOCK = "invalid end state"  # nobody can go on, and somebody is not through
ASSERTION = "assertion violated"
CYCLE = "non-progress cycle"


@dataclass(frozen=True)
class Case:
    """One search: the model's name, its switches, and how the search has to end."""

    model: str
    switches: str
    expected: str = PASS
    # "safety": assertions and deadlocks; "stopped": assertions alone, since a stopped process
    # leaves others waiting; "finite": no run goes on for ever; "fair": no run goes on for ever
    # while everybody who can go on does so in time.
    search: str = "safety"
    # Optimising the verifier takes longer than a small search without it.
    large: bool = False

    @property
    def title(self) -> str:
        note = "" if self.search == "safety" else f" [{self.search}]"
        return f"{self.model}: {self.switches}{note}"


@dataclass(frozen=True)
class Outcome:
    """What the search of a case said, and whether it looked everywhere."""

    got: str
    states: int = 0
    depth: int = 0
    seconds: float = 0.0
    mebibytes: float = 0.0


def wakeup_cases() -> Iterator[Case]:
    """Arm and sleep: sound ones first, then what must be caught."""
    for switches in (
        "SIGNALLERS",
        "SIGNALLERS EVENTS=4 TIMEOUTS=2",
        "SIGNALLERS TIMEOUTS=2 SOCKET=1",
        "PAIR EVENTS=4",
        "PAIR EVENTS=6 ROOM=3 STEP=2",
        "PAIR EVENTS=6 ROOM=3 STEP=2 ONE_WAY",
        "CREW MONITOR QUERY",
        "CREW MONITOR QUERY SLEEPERS=1",
        "CREW MONITOR SLEEPERS=1 POLLERS=1",
        "CREW MONITOR CREWMEN=3 SLEEPERS=2",
        "CREW MONITOR CREWMEN=3 SLEEPERS=1 POLLERS=1",
        "SIGNALLERS LOSS TIMEOUTS=1",
        "CREW MONITOR LOSS",
    ):
        yield Case("wakeup", f"STORE_BUFFERS {switches}", large="EVENTS=4 TIMEOUTS" in switches)
    yield Case("wakeup", "STORE_BUFFERS SIGNALLERS TIMEOUTS=1", search="finite")
    yield Case("wakeup", "STORE_BUFFERS PAIR", search="finite")
    yield Case("wakeup", "STORE_BUFFERS CREW", search="fair")

    # The reason for the store buffers: these pass where every store is visible at once.
    for naive in ("NAIVE", "NAIVE_SIGNALLER"):
        yield Case("wakeup", f"SIGNALLERS {naive}")
        yield Case("wakeup", f"STORE_BUFFERS SIGNALLERS {naive}", DEADLOCK)

    for bug, scene, expected in (
        ("SIGNAL_BY_LOAD", "SIGNALLERS", DEADLOCK),
        ("SIGNAL_BY_LOAD", "PAIR", DEADLOCK),
        ("SIGNAL_FIRST", "SIGNALLERS", DEADLOCK),
        ("ARM_FRESH", "SIGNALLERS", DEADLOCK),
        ("DRAIN_LATE", "SIGNALLERS", DEADLOCK),
        ("BYTE_FOR_EACH", "SIGNALLERS", ASSERTION),
        ("NO_TICK", "SIGNALLERS LOSS", DEADLOCK),
        ("NO_TICK", "CREW LOSS", DEADLOCK),
        ("NO_REARM", "CREW", DEADLOCK),
        ("NO_REARM", "CREW MONITOR", ASSERTION),
        ("NO_LOCAL_WAKE", "CREW", DEADLOCK),
        ("GRAB_EVENTFD", "CREW CREWMEN=3 SLEEPERS=2", DEADLOCK),
        ("NO_LEVEL", "CREW SLEEPERS=1 POLLERS=1", DEADLOCK),
        ("NO_PUBLISH", "CREW SLEEPERS=1", DEADLOCK),
        ("NO_REMARK", "CREW MONITOR CREWMEN=3 SLEEPERS=1 POLLERS=1", ASSERTION),
        ("WAKE_EARLY", "CREW", DEADLOCK),
        ("ROOM_UNTOLD", "PAIR ONE_WAY", DEADLOCK),
        ("ROOM_UNFENCED", "PAIR ONE_WAY", DEADLOCK),
        ("ROOM_TOLD_UNFENCED", "PAIR ONE_WAY", DEADLOCK),
        ("ROOM_NO_LOOK", "PAIR ONE_WAY", DEADLOCK),
    ):
        yield Case("wakeup", f"STORE_BUFFERS {scene} BUG_{bug}", expected)
    yield Case("wakeup", "STORE_BUFFERS PAIR EVENTS=6 ROOM=2 STEP=3", DEADLOCK)


def lifetime_cases() -> Iterator[Case]:
    """The progress thread: it is started, ends, and may lose what wakes it."""
    yield Case("lifetime", "LIVES=1")
    yield Case("lifetime", "LIVES=1 LOSS")
    yield Case("lifetime", "LIVES=3 USERS=1 LOSS")
    yield Case("lifetime", "LIVES=1 STUCK")
    for bug, switches, expected in (
        ("NO_TICK", "LIVES=1 LOSS", DEADLOCK),
        ("NO_TIMEOUT", "LIVES=1 STUCK", DEADLOCK),
        ("FREE_VISITED", "LIVES=1", ASSERTION),
        ("END_UNLOCKED", "LIVES=1", DEADLOCK),
        ("JOIN_TWICE", "LIVES=1", ASSERTION),
    ):
        yield Case("lifetime", f"{switches} BUG_{bug}", expected)


def slot_cases() -> Iterator[Case]:
    """The slot protocol: sound ones, mutants, and witnesses that the models do something."""
    for switches in (
        "CANCELS CLOSES FAILS",
        "CANCELS FAILS DEATH",
        "CLOSES DEATH",
        "LIVES=1 CHUNKS=3 FAILS CLOSES DEATH",
        "LIVES=1 HELPERS=3 HELPS=1",
        "LIVES=1 HELPERS=2 HELPS=2 DEATH",
        "LIVES=1 HELPERS=2 HELPS=1 CLOSES",
        "HELPERS=2 HELPS=1 LATE",
        "HELPERS=1 HELPS=1 LATE",
        "RESERVES LIVES=1 CANCELS CLOSES FAILS",
        "RESERVES CANCELS DEATH",
        "REDOES FAILS CLOSES",
        "REDOES FAILS DEATH",
        "REDOES FAILS CANCELS",
        "REDOES FAILS LIVES=3 CHUNKS=1",
        "REDOES FAILS CHUNKS=1 HELPERS=2 HELPS=1 LATE",
        "REDOES FAILS CHUNKS=1 HELPERS=1 HELPS=1 LATE",
    ):
        yield Case("slot", f"STORE_BUFFERS {switches}", large=True)
    for switches in ("CANCELS CLOSES STOP", "RESERVES LIVES=1 CANCELS CLOSES STOP"):
        yield Case("slot", f"STORE_BUFFERS {switches}", search="stopped", large=True)
    for switches in (
        "LIVES=3 CANCELS",
        "RESERVES LIVES=1 CANCELS",
        "LIVES=3 CHUNKS=0 CANCELS CLOSES",
        "HELPERS=2 HELPS=1",
        "HELPERS=1 HELPS=1",
    ):
        yield Case("slot", f"STORE_BUFFERS {switches}")
    for switches in (
        "CANCELS FAILS",
        "LIVES=1 FAILS DEATH",
        "LIVES=1 HELPERS=2 HELPS=1",
        "RESERVES LIVES=1 DEATH",
        "REDOES FAILS CHUNKS=1",
    ):
        yield Case("slot", f"STORE_BUFFERS {switches}", search="finite")

    for bug, switches, expected in (
        ("NO_GENERATION", "HELPERS=2 HELPS=1 LATE", ASSERTION),
        ("CLAIM_OF_NOTHING", "CHUNKS=0", ASSERTION),
        ("CLOSE_BY_STORE", "CLOSES", ASSERTION),
        ("COUNT_BY_STORE", "", DEADLOCK),
        ("CANCEL_BY_STORE", "CANCELS", ASSERTION),
        ("MATCH_BY_STORE", "CANCELS", ASSERTION),
        ("RETIRE_FIRST", "FAILS", ASSERTION),
        ("FAIL_UNOWNED", "", ASSERTION),
        ("LOOK_ERROR_FIRST", "FAILS", ASSERTION),
        ("CLOSED_IS_QUIET", "", ASSERTION),
        ("REUSE_EARLY", "", ASSERTION),
        ("SEE_EARLY", "", ASSERTION),
        ("DEATH_ALONE", "HELPERS=2 HELPS=1 LIVES=1 DEATH", ASSERTION),
        ("COUNT_IN_LATE", "HELPERS=2 HELPS=1 LIVES=1 DEATH", ASSERTION),
        ("LOOK_BEFORE_DEATH", "LIVES=1 DEATH", ASSERTION),
        ("SILENCE_IS_DEATH", "CLOSES STOP", ASSERTION),
        ("RESERVE_BY_STORE", "RESERVES CANCELS", ASSERTION),
        ("CANCEL_RESERVED", "RESERVES CANCELS", ASSERTION),
        ("AGAIN_LOUD", "REDOES FAILS", ASSERTION),
        ("AGAIN_UNASKED", "REDOES FAILS CLOSES", ASSERTION),
        ("AGAIN_QUIETLY", "REDOES FAILS", DEADLOCK),
        ("WRITER_ENDS_IT", "REDOES FAILS", DEADLOCK),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"BUG_{bug}"])
        yield Case("slot", given, expected, "stopped" if "STOP" in switches.split() else "safety")

    for witness, switches in (
        ("BOTH_COPY", "LIVES=2"),
        ("LATE_CLAIM", "HELPERS=2 HELPS=1 LATE"),
        ("LATE_WITHDRAWAL", "CANCELS"),
        ("DEAD_BUT_DONE", "LIVES=1 DEATH"),
        ("THIRD_LIFE", "LIVES=3"),
        ("RESERVED_FIRST", "RESERVES LIVES=1 CANCELS"),
        ("REDONE", "REDOES FAILS"),
    ):
        yield Case("slot", f"STORE_BUFFERS {switches} WITNESS_{witness}", ASSERTION)


def news_cases() -> Iterator[Case]:
    """Which slots changed, while there come to be more of them."""
    for switches in (
        "",
        "FEW=0 NO_MEMORY",
        "FEW=2 NO_MEMORY",
        "MESSAGES=2 FEW=0 DEATH",
        "MESSAGES=2 FEW=0 LIES=1",
    ):
        yield Case("news", f"STORE_BUFFERS {switches}".strip(), large=True)
    yield Case("news", "STORE_BUFFERS MESSAGES=2 FEW=0", search="finite", large=True)

    # The reason for the store buffers: this passes where every store is visible at once.
    yield Case("news", "FEW=0 BUG_UNLESS_SET")
    for bug, switches, expected in (
        ("SIGNAL_FIRST", "FEW=0", DEADLOCK),
        ("TOP_FIRST", "FEW=0", DEADLOCK),
        ("BIT_BEFORE_CHANGE", "FEW=0", DEADLOCK),
        ("UNLESS_SET", "FEW=0", DEADLOCK),
        ("WORDS_FIRST", "FEW=0", DEADLOCK),
        ("TAKE_BY_STORE", "FEW=0", DEADLOCK),
        ("NO_SECOND_LOOK", "FEW=0", DEADLOCK),
        ("TRUST_BITS", "MESSAGES=2 FEW=0 LIES=1", ASSERTION),
        ("GROW_BARE", "", ASSERTION),
        ("DEAD_BY_NEWS", "MESSAGES=2 FEW=0 DEATH", ASSERTION),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"BUG_{bug}"])
        yield Case("news", given, expected)
    for witness in ("GROWN", "BY_NEWS"):
        yield Case("news", f"STORE_BUFFERS WITNESS_{witness}", ASSERTION)


def completion_cases() -> Iterator[Case]:
    """The kernel helper's completion entries, and those who wait for them."""
    for switches in (
        "ALONE",
        "ALONE ENTRIES=1 LIVES=4",
        "ALONE LIVES=1 WORKERS=2",
        "ALONE ENTRIES=1 PEEKS",
        "CREW",
        "WAITER LIVES=4",
    ):
        yield Case("completion", f"STORE_BUFFERS {switches}", large=switches == "CREW")
    for switches in ("ALONE ENTRIES=1", "WAITER"):
        yield Case("completion", f"STORE_BUFFERS {switches}", search="finite")
    yield Case("completion", "STORE_BUFFERS CREW LIVES=1", search="fair", large=True)

    # The reason for the store buffers: this passes where every store is visible at once.
    yield Case("completion", "WAITER BUG_ACTIVE_CHECK")
    for bug, scene, expected in (
        ("ACTIVE_CHECK", "WAITER", DEADLOCK),
        ("WAKE_FIRST", "WAITER", DEADLOCK),
        ("WAKE_FIRST", "ALONE ENTRIES=1", DEADLOCK),
        ("COUNT_FIRST", "ALONE ENTRIES=1", DEADLOCK),
        ("STATE_FIRST", "ALONE ENTRIES=1", ASSERTION),
        ("QUEUE_LATE", "ALONE ENTRIES=1", DEADLOCK),
        ("LOOK_FIRST", "ALONE ENTRIES=1", DEADLOCK),
        ("LOOK_FIRST", "CREW LIVES=1", DEADLOCK),
        ("LOOK_AT_OWN", "CREW LIVES=1", DEADLOCK),
        ("NO_LOCAL_WAKE", "CREW LIVES=1", DEADLOCK),
        ("NO_GENERATION", "CREW", ASSERTION),
        ("NO_RECHECK", "ALONE ENTRIES=1 PEEKS", ASSERTION),
    ):
        yield Case("completion", f"STORE_BUFFERS {scene} BUG_{bug}", expected)
    for witness, scene in (("ALL_OVER", "ALONE"), ("FOR_ANOTHER", "CREW LIVES=1")):
        yield Case("completion", f"STORE_BUFFERS {scene} WITNESS_{witness}", ASSERTION)


def pin_cases() -> Iterator[Case]:
    """The kernel helper's pin cache against a mapping that changes."""
    for switches in (
        "POSTERS=1 POSTS=2",
        "POSTERS=2 POSTS=1 CHANGES=1",
        "POSTERS=2 POSTS=1 REAPS=0",
        "POSTERS=2 POSTS=2 CHANGES=1 REAPS=0",
    ):
        yield Case("pin", switches, large=True)
    yield Case("pin", "POSTERS=1 POSTS=1", search="finite")
    yield Case("pin", "POSTERS=1 POSTS=2 STUCK")
    yield Case("pin", "POSTERS=1 POSTS=2 STUCK BUG_WAIT_FOR_REMOVAL", DEADLOCK)

    for bug in (
        "BEGIN_LATE",
        "NO_RETRY",
        "INSERT_FIRST",
        "INSERT_UNLOCKED",
        "FREE_AT_ONCE",
        "SKIP_USED",
        "UNPIN_IN_CALLBACK",
        "WORK_WITHOUT_REF",
        "MARK_LATE",
        "FIND_DEAD",
        "DROP_USED",
        "DROP_UNREFERRED",
    ):
        yield Case("pin", f"POSTERS=1 POSTS=2 BUG_{bug}", ASSERTION)
    for witness in ("RETRY", "HIT", "OLD_PAGE", "FAULT"):
        yield Case("pin", f"POSTERS=1 POSTS=2 WITNESS_{witness}", ASSERTION)


def queue_cases() -> Iterator[Case]:
    """The copy worker threads: no work stays listed while all of them sleep."""
    for switches in ("POSTERS=2 POSTS=2", "POSTERS=1 POSTS=4 WORKERS=3", "POSTERS=3 POSTS=1"):
        yield Case("queues", switches, large=True)
    for bug in ("KICK_BY_NEWS", "LATE_READ", "ONE_LOOK", "UNMARKED"):
        yield Case("queues", f"POSTERS=2 POSTS=2 BUG_{bug}", ASSERTION)


def pipe_cases() -> Iterator[Case]:
    """An end of a pipe that goes over from the line to the channel."""
    for switches in ("WRITERS=1 MESSAGES=4", "WRITERS=2 MESSAGES=2 ROUNDS=2"):
        yield Case("pipe", switches, large=True)
    for bug, error in (
        ("UNCOUNTED", ASSERTION),
        ("CHANNEL_FIRST", ASSERTION),
        ("NO_NEWS", DEADLOCK),
        ("SILENT", DEADLOCK),
    ):
        yield Case("pipe", f"WRITERS=1 MESSAGES=3 BUG_{bug}", error)
    yield Case("pipe", "WRITERS=2 MESSAGES=2 ROUNDS=2 BUG_UNLOCKED", DEADLOCK)
    yield Case("pipe", "WRITERS=1 MESSAGES=2 WITNESS_SWITCH", ASSERTION)


def claim_cases() -> Iterator[Case]:
    """Who claims an end of a pipe, and may be killed before it has said hello."""
    for switches in ("CLAIMANTS=2", "CLAIMANTS=3"):
        yield Case("claim", switches, large=switches.endswith("3"))
    for bug, error in (
        ("TICKET_FIRST", DEADLOCK),
        ("NOTES_FIRST", ASSERTION),
        ("ONE_LOOK", DEADLOCK),
        ("SILENT_LOSER", DEADLOCK),
    ):
        yield Case("claim", f"CLAIMANTS=2 BUG_{bug}", error)
    yield Case("claim", "CLAIMANTS=2 WITNESS_DEATH", ASSERTION)


def buffer_cases() -> Iterator[Case]:
    """Bounce buffers, each of which belongs to the cell of its message."""
    yield Case("buffers", "STORE_BUFFERS", large=True)
    for bug in ("HEAD_FIRST", "FREE_AT", "NO_LOOK", "PUBLISH_FIRST"):
        yield Case("buffers", f"STORE_BUFFERS BUG_{bug}", ASSERTION)
    for witness in ("REUSED", "FULL", "OVERTAKEN"):
        yield Case("buffers", f"STORE_BUFFERS WITNESS_{witness}", ASSERTION)


def bulk_cases() -> Iterator[Case]:
    """A bulk segment that could not be received, and the one that takes its place."""
    for switches in ("MESSAGES=4", "LOSSES=2", "ONLY", "ONLY LOSSES=2"):
        yield Case("bulk", switches)
    for bug, switches in (
        ("SELECT_BLIND", ""),
        ("REPLACE_BUSY", "ONLY"),
        ("REPLACE_FILLED", "ONLY"),
    ):
        yield Case("bulk", f"{switches} BUG_{bug}".strip(), ASSERTION)
    for switches in ("", "ONLY"):
        yield Case("bulk", f"{switches} WITNESS_SECOND".strip(), ASSERTION)


def handover_cases() -> Iterator[Case]:
    """Between calls that own a channel and the progress thread."""
    for switches in (
        "MONITOR",
        "CHUNKS=0 EVENTS=3",
        "CALLS=3 EVENTS=1",
        "QUERY CHUNKS=2 EVENTS=1",
        "WORKER CHUNKS=3 EVENTS=1 CALLS=1 MONITOR",
        "WORKER CHUNKS=4 EVENTS=1",
        "WORKER CHUNKS=3 EVENTS=1 LOOK_FIRST",
        "HELD_UP",
        "HELD_UP CHUNKS=2 EVENTS=1 MONITOR",
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split()])
        yield Case("handover", given, large=True)
    yield Case("handover", "STORE_BUFFERS CALLS=1 EVENTS=1", search="fair")

    for bug, switches, expected in (
        ("RELEASE_BARE", "", DEADLOCK),
        ("RELEASE_BARE", "MONITOR", ASSERTION),
        ("NO_CALL", "", DEADLOCK),
        ("ARM_FRESH", "CHUNKS=0", DEADLOCK),
        ("POLL_ONCE", "CHUNKS=0", DEADLOCK),
        ("STILL_POLLED", "CHUNKS=0", DEADLOCK),
        ("CLEAR_CALL_LATE", "", DEADLOCK),
        ("NO_AGAIN", "", DEADLOCK),
        ("VISITOR_BARE", "CHUNKS=0", DEADLOCK),
        ("NO_PUBLISH", "CHUNKS=0", DEADLOCK),
        ("NO_REMARK", "WORKER CHUNKS=3 EVENTS=1 LOOK_FIRST", DEADLOCK),
        ("IN_THE_WAY", "", ASSERTION),
        ("ASSIST_BARE", "WORKER CHUNKS=3 EVENTS=1", DEADLOCK),
        ("NO_CALL_AGAIN", "HELD_UP CHUNKS=2 EVENTS=1", DEADLOCK),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"BUG_{bug}"])
        yield Case("handover", given, expected)
    for witness, switches in (
        ("COPIED", ""),
        ("TAKEN_BACK", ""),
        ("ASSISTED", "WORKER CHUNKS=3 EVENTS=1"),
        ("STOOD_IN", "HELD_UP CHUNKS=2 EVENTS=1"),
        ("GOES_ON", "HELD_UP CHUNKS=2 EVENTS=1"),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"WITNESS_{witness}"])
        yield Case("handover", given, ASSERTION)


def worker_cases() -> Iterator[Case]:
    """A worker with several endpoints: its summary, and the list of what it has to arm."""
    for switches in (
        "",
        "ONE_WORD LAZY",
        "DIRECT LAZY",
        "DISARM LAZY",
        "TRUST EVENTS=1",
        "LIAR EVENTS=1",
        "LIAR LAZY OTHERS=0",
        "DRIVER EVENTS=1 CALLS=1",
        "DRIVER LAZY OTHERS=0",
        "DRIVER JOIN EVENTS=0",
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split()])
        yield Case("worker", given, large="0" not in switches)
    yield Case("worker", "STORE_BUFFERS OTHERS=0", search="fair")

    # The reason for the looks before a sleep: the summary is not to be trusted.
    yield Case("worker", "STORE_BUFFERS LIAR TRUST", ASSERTION)
    # The reason for the store buffers: this passes where every store is visible at once.
    yield Case("worker", "EVENTS=2 OTHERS=0 BUG_SET_BY_LOAD")
    for bug, switches in (
        ("SET_BY_LOAD", "OTHERS=0"),
        ("CLEAR_TOP_LATE", ""),
        ("TOP_FIRST", ""),
        ("BIT_LATE", "TRUST"),
        ("TAKE_ONE", ""),
        ("NO_FULL_LOOK", "LIAR"),
        ("ARM_UNLOOKED", ""),
        ("ARM_FRESH", ""),
        ("SKIP_DISARMED", ""),
        ("RUNG_UNLISTED", "LAZY"),
        ("DISARM_UNLISTED", "DISARM"),
        ("NO_PUBLISH", "DRIVER EVENTS=1 CALLS=1"),
        ("PUBLISH_FIRST", "DRIVER EVENTS=1 CALLS=1"),
        ("LIST_CLEARED", "DRIVER EVENTS=1 CALLS=1"),
        ("JOIN_UNLISTED", "DRIVER JOIN EVENTS=0 CALLS=1"),
        ("JOIN_UNLOOKED", "DRIVER JOIN EVENTS=0 CALLS=1"),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"BUG_{bug}"])
        yield Case("worker", given, ASSERTION)
    for witness, switches in (
        ("SLEEPS_AGAIN", ""),
        ("FOR_SLEEPER", "DRIVER EVENTS=1 CALLS=1"),
    ):
        given = " ".join(["STORE_BUFFERS", *switches.split(), f"WITNESS_{witness}"])
        yield Case("worker", given, ASSERTION)


def unexpected_cases() -> Iterator[Case]:
    """Messages that nobody waits for yet: the limit, the order, and progress."""
    for switches in (
        "RECEIVES=1",
        "MESSAGES=4 LARGE",
        "CELLS=3 RECEIVES=1 LAST_ALONE",
        "MESSAGES=4 LARGE ANY_ONLY SLOTS=1",
        "RECEIVES=1 EAGER_FIRST SLOTS=1",
    ):
        yield Case("unexpected", f"STORE_BUFFERS {switches}", large="SLOTS" not in switches)

    # What the writer needs: slots for all that nobody receives; and the reader: two rings.
    yield Case("unexpected", "STORE_BUFFERS RECEIVES=1 SLOTS=1", DEADLOCK)
    yield Case("unexpected", "STORE_BUFFERS RECEIVES=1 CELLS=3 LIMIT=4", ASSERTION)
    for bug, switches, expected in (
        ("WORD_LATE", "", ASSERTION),
        ("WORD_BETWEEN", "", ASSERTION),
        ("WORD_FIRST", "", ASSERTION),
        ("NO_RESERVE", "", ASSERTION),
        ("BACK_AT_LIMIT", "", ASSERTION),
        ("STAYS_OFF", "", ASSERTION),
        ("QUIET_CLEAR", "EAGER_FIRST SLOTS=1", DEADLOCK),
        ("UNCAPPED", "MESSAGES=4 LARGE SLOTS=3 DESCRIPTORS=2", ASSERTION),
        ("OVERTAKE", "MESSAGES=4 LARGE ANY_ONLY SLOTS=1", ASSERTION),
        ("UNSEARCHED", "MESSAGES=4", DEADLOCK),
    ):
        given = " ".join(["STORE_BUFFERS RECEIVES=1", *switches.split(), f"BUG_{bug}"])
        yield Case("unexpected", given, expected)
    for witness in ("EAGER_AGAIN", "AT_LIMIT"):
        yield Case("unexpected", f"STORE_BUFFERS RECEIVES=1 WITNESS_{witness}", ASSERTION)


def ending_cases() -> Iterator[Case]:
    """A close that drains, takes back what is left, and says so."""
    for switches in (
        "",
        "LEAVING",
        "MESSAGES=4 CELLS=3",
        "PATIENT",
        "PATIENT STUCK",
        "PATIENT LEAVING",
    ):
        yield Case("ending", switches)
    for bug, switches, expected in (
        ("CANCEL", "", ASSERTION),
        ("CLOSED_FIRST", "", ASSERTION),
        ("FAST", "", ASSERTION),
        ("WORD_UNREAD", "", ASSERTION),
        ("ENDING_LATE", "PATIENT STUCK", DEADLOCK),
        ("BOTH_WAIT", "PATIENT LEAVING", DEADLOCK),
    ):
        yield Case("ending", f"{switches} BUG_{bug}".strip(), expected)
    for witness in ("HOLE", "BROKEN", "COUNT"):
        yield Case("ending", f"WITNESS_{witness}", ASSERTION)


CASES = (
    wakeup_cases,
    ending_cases,
    handover_cases,
    lifetime_cases,
    worker_cases,
    unexpected_cases,
    slot_cases,
    news_cases,
    buffer_cases,
    bulk_cases,
    pipe_cases,
    claim_cases,
    completion_cases,
    pin_cases,
    queue_cases,
)

BUILD_FLAGS = {
    "safety": ["-DSAFETY"],
    "stopped": ["-DSAFETY"],
    "finite": ["-DNP"],
    "fair": ["-DNP", "-DNFAIR=3"],
}
RUN_FLAGS = {"safety": [], "stopped": ["-E"], "finite": ["-l"], "fair": ["-l", "-f"]}


def number(pattern: str, text: str) -> float:
    """The number that the pattern's group finds, or 0."""
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0.0


def judge(text: str, seconds: float) -> Outcome:
    """Read a verifier's report. A pass counts only when the whole state space was searched."""
    errors = re.search(r"errors: (\d+)", text)
    first = re.search(r"^pan:1: (.*?)(?: \(at depth|$)", text, re.MULTILINE)
    cut = re.search(r"max search depth too small|out of memory|-DMEMLIM", text)
    if errors is None or cut:
        got = "cut short"
    elif errors.group(1) == "0":
        got = "cut short" if "Search not completed" in text else PASS
    else:
        said = first.group(1) if first else "an error without a name"
        got = next((e for e in (DEADLOCK, ASSERTION, CYCLE) if e in said), said)
    return Outcome(
        got,
        int(number(r"([\d.e+]+) states, stored", text)),
        int(number(r"depth reached (\d+)", text)),
        seconds,
        number(r"([\d.]+)\s+total actual memory usage", text),
    )


def command(args: list[str], where: Path) -> str:
    """Run a command; its output, both streams. Raises CalledProcessError, TimeoutExpired."""
    done = subprocess.run(
        args, cwd=where, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=TIME_LIMIT_S, check=True,
    )  # fmt: skip
    return done.stdout


def search(case: Case, top: Path) -> Outcome:
    """Generate, compile and run one verifier in a directory of its own, which is removed."""
    begin = time.monotonic()
    where = Path(tempfile.mkdtemp(dir=top))
    defines = [f"-D{switch}" for switch in case.switches.split()]
    try:
        for source in HERE.glob("*.pml"):
            shutil.copy(source, where)
        command(["spin", *defines, "-a", f"{case.model}.pml"], where)
        flags = ["-O2" if case.large else "-O0", "-w", "-DVECTORSZ=2048"]
        flags.append(f"-DMEMLIM={MEMORY_LIMIT_MIB}")
        command(["gcc", *flags, *BUILD_FLAGS[case.search], "-o", "pan", "pan.c"], where)
        text = command(["./pan", "-n", "-b", f"-m{DEPTH_LIMIT}", *RUN_FLAGS[case.search]], where)
        return judge(text, time.monotonic() - begin)
    except subprocess.CalledProcessError as error:
        tail = (error.output or "").strip().splitlines()[-1:]
        return Outcome(f"{error.cmd[0]} failed: {' '.join(tail)}", seconds=time.monotonic() - begin)
    except subprocess.TimeoutExpired as error:
        return Outcome(f"{error.cmd[0]} took over {TIME_LIMIT_S} s", seconds=TIME_LIMIT_S)
    finally:
        shutil.rmtree(where)


def report(case: Case, outcome: Outcome) -> bool:
    """Print a case's line. True when it came out as it must."""
    right = outcome.got == case.expected
    told = case.expected if right else f"{case.expected}, GOT {outcome.got}"
    print(
        f"{'ok' if right else 'BAD':3} {case.title:74} {outcome.states:9} states "
        f"{outcome.depth:5} deep {outcome.seconds:6.1f} s {outcome.mebibytes:6.0f} MiB  {told}",
        flush=True,
    )
    return right


def without_most_large(cases: list[Case]) -> list[Case]:
    """All small searches, and the first large one of each model: a third of the time."""
    first: dict[str, Case] = {}
    for case in cases:
        if case.large:
            first.setdefault(case.model, case)
    return [case for case in cases if not case.large or case is first[case.model]]


def missing_tools() -> list[str]:
    """The Debian packages of the tools that are not installed."""
    return [package for tool, package in TOOLS.items() if shutil.which(tool) is None]


def main() -> int:
    """Run the chosen cases, as many at a time as asked for."""
    parser = argparse.ArgumentParser(description="Check the protocol models with spin.")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose title has TEXT")
    parser.add_argument("--quick", action="store_true", help="one large search of each model")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    options = parser.parse_args()
    cases = [case for cases_of in CASES for case in cases_of() if options.only in case.title]
    if options.quick:
        cases = without_most_large(cases)
    if options.list:
        print("\n".join(f"{case.title}: {case.expected}" for case in cases))
        return 0
    if packages := missing_tools():
        install = f"apt-get install {' '.join(packages)}"
        print(f"run.py: spin or gcc is missing; on Debian: {install}", file=sys.stderr)
        return 2
    begin = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="adma-model-") as top,
        ThreadPoolExecutor(max(1, options.jobs)) as pool,
    ):
        outcomes = pool.map(lambda case: search(case, Path(top)), cases)
        right = [report(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
    print(f"{sum(right)} of {len(cases)} runs as expected, {time.monotonic() - begin:.0f} s")
    return 0 if cases and all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
