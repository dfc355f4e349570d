# SPDX-License-Identifier: BSD-3-Clause
"""The forms of traffic that ``adma pingpong`` measures, and the cases of each.

*plain*: one message there and one back, by blocking calls. *persistent*: the same by the persistent
requests of MPI, at a few sizes. *window*: many messages one way, posted and waited for together.
*objects*: a Python object there and one back. *idle*: a round trip after both ends have slept.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adma.bench.sizes import format_size, parse_sizes

FORMS = ("plain", "persistent", "window", "objects", "idle")
BY_DEFAULT = ("plain", "persistent")

LATENCY = "latency"
WINDOW = "window"
IDLE = "idle"
WINDOW_OF = 64  # messages
WINDOW_SIZES = "8,64,1K,8K,64K,256K,1M"
WINDOW_MOST = 1 << 20  # bytes of a message: all of a window exist at once
PERSISTENT_SIZES = (8,)
IDLE_SIZE = 8
OBJECTS = {
    "int": "an int",
    "dict": "a small dict",
    "list": "a list of 10,000",
    "array": "an array of 4 MB",
}


@dataclass(frozen=True)
class Case:
    """What contestants alternate at: messages of one size, or one kind of object.

    `command` tells the workers what to prepare.
    """

    form: str
    metric: str
    name: str
    size: int | None = None
    command: dict[str, Any] = field(default_factory=dict)


def plain(size: int) -> Case:
    """Ping-pong with messages of this size."""
    return Case("plain", LATENCY, format_size(size), size, {"size": size})


def window(size: int, number: int = WINDOW_OF) -> Case:
    """Windows of `number` messages of this size."""
    name = f"window of {number} x {format_size(size)}"
    return Case("window", WINDOW, name, size, {"size": size, "window": number})


def objects(what: str) -> Case:
    """Ping-pong with an object of this kind."""
    return Case("objects", object_metric(what), OBJECTS[what], None, {"what": what})


def object_metric(what: str) -> str:
    """The metric of the series for objects of a kind."""
    return f"object, {OBJECTS[what]}"


def idle() -> Case:
    """Round trips after 10 ms of idling."""
    return Case("idle", IDLE, "after idling", IDLE_SIZE, {"size": IDLE_SIZE})


def cases(forms: Iterable[str], sizes: Sequence[int], chosen: bool = True) -> list[Case]:
    """The cases of these forms. `chosen`: the user has named the sizes, also those of windows."""
    found: list[Case] = []
    if "plain" in forms or "persistent" in forms:
        found += [plain(size) for size in sizes if "plain" in forms or size in PERSISTENT_SIZES]
    if "window" in forms:
        wanted = sizes if chosen else parse_sizes(WINDOW_SIZES)
        found += [window(size) for size in wanted if size <= WINDOW_MOST]
    if "objects" in forms:
        found += [objects(what) for what in OBJECTS if what != "array" or has_numpy()]
    if "idle" in forms:
        found.append(idle())
    return found


def has_numpy() -> bool:
    """Is NumPy here, which makes the array among the objects?"""
    return importlib.util.find_spec("numpy") is not None


def parse_forms(text: str) -> tuple[str, ...]:
    """Forms from a list, or ``all``. Raises ValueError that names the one that is unknown."""
    if text == "all":
        return FORMS
    wanted = text.split(",")
    for each in wanted:
        if each not in FORMS:
            raise ValueError(f"form {each!r}: is unknown; choose from all, {', '.join(FORMS)}")
    return tuple(each for each in FORMS if each in wanted)
