# SPDX-License-Identifier: BSD-3-Clause
"""The mechanisms that can carry a message between two processes, and how they are probed.

Those that adma brings along are in one table; `register` adds others.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from .._core.channel import register_mechanism
from .._core.constants import MECH_MAX
from ..connect.record import Entry
from . import cma, helper, loopback, shared
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["MECHANISMS", "NAMES", "Context", "Entry", "MechanismName", "Probe", "Refusal"]
__all__ += ["check_name", "of_id", "refusal_in", "register", "sweep"]

#: What `connect` takes. Names that are registered at run time are others.
MechanismName: TypeAlias = Literal[
    "auto", "shared", "mapped:cma", "loopback:tcp", "dma", "mapped:helper"
]

#: In the order in which they are shown.
MECHANISMS: list[type[Probe]] = [
    shared.Shared,
    cma.MappedCMA,
    loopback.LoopbackTCP,
    helper.Dma,
    helper.MappedHelper,
]

#: Names by id, in the same order.
NAMES: dict[int, str] = {probe.id: probe.name for probe in MECHANISMS}


def register(probe: type[Probe], core: int | None = None) -> None:
    """Add a mechanism, for all channels that are made from now on, in this process.

    Two processes use it when both have registered it, by the same id: one that adma does not
    use itself, up to 15. `core`: the address of the core's side of it, a `struct
    adma_mechanism` (mech/mechanism.h) that stays for ever. Without it the mechanism is probed
    and explained, and is refused all the same.

    ValueError: the id or the name is taken, or the core has no room for the id. OSError: the
    core does not take its side.
    """
    if not 0 < probe.id < MECH_MAX or probe.id in NAMES:
        raise ValueError(f"mechanism id {probe.id}: taken, or not from 1 to {MECH_MAX - 1}")
    if probe.name == "auto" or probe.name in NAMES.values():
        raise ValueError(f"there is a mechanism {probe.name!r} already")
    if core is not None:
        register_mechanism(core)
    MECHANISMS.append(probe)
    NAMES[probe.id] = probe.name


def of_id(number: int) -> type[Probe]:
    """The mechanism that has this id. KeyError: none has."""
    for probe in MECHANISMS:
        if probe.id == number:
            return probe
    raise KeyError(number)


def check_name(mechanism: str) -> int:
    """The id of a mechanism's name, 0 for "auto". ValueError when there is none of that name."""
    if mechanism == "auto":
        return 0
    for number, name in NAMES.items():
        if name == mechanism:
            return number
    known = ", ".join(["auto", *NAMES.values()])
    raise ValueError(f"mechanism={mechanism!r} is unknown: choose one of {known}")


def sweep() -> None:
    """Remove what dead processes of this user left behind, of each mechanism."""
    for probe in MECHANISMS:
        probe.sweep()
