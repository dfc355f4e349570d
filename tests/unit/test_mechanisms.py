# SPDX-License-Identifier: BSD-3-Clause
"""Mechanisms that a third party registers: one file, and no other that knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import adma
from adma import mechanisms
from adma.mechanisms import Entry, Probe, Refusal
from support.endpoints import InThread, pair

HERE = 15  # an id that nobody has
TRANSPORT: Final = Path(__file__).parents[2] / "transport"
#: They themselves, what measures, shows and tries them, and their words for errors.
OF_MECHANISMS: Final = (
    *("native/mech/", "native/include/", "adma/mechanisms/", "adma/errors.py"),
    *("adma/bench/", "adma/cli/", "adma/testing/", "adma/kernel_helper.py"),
    *("adma/_core/constants.py", "adma/_core/_native.pyi"),
)
#: The endpoint to ourselves is for one alone, and one alone has a segment passed in mid-life.
EXCEPTIONS: Final = {
    "native/api/worker.c": {"ADMA_MECH_SELF"},
    "adma/_core/channel.py": {"MECH_SHARED"},
    "adma/_core/worker.py": {"MECH_SHARED"},
    "adma/messages/endpoint.py": {'"shared"'},
}
NAMED: Final = re.compile(
    r'\b(?:ADMA_)?MECH_(?:SHARED|CMA|TCP|DMA|HELPER|SELF)\b|"(?:shared|dma|(?:mapped|loopback):\w+)"'
)


class Pigeon(Probe):
    """Refuses both directions, and leaves the core nothing."""

    name = "pigeon"
    id = HERE
    swept = 0

    @classmethod
    def sweep(cls) -> None:
        cls.swept += 1

    def offer(self) -> Entry:
        return Entry(self.id, 0, b"corn")

    def answer(self, offer: Entry) -> Entry:
        assert offer.data == b"corn"
        return Entry(self.id)

    def verdict(self, answer: Entry) -> Entry:
        return Entry(self.id)

    def conclude(self, verdict: Entry) -> None:
        self.out = self.in_ = self.refuse(5, "it is night", "wait for the day")


@pytest.fixture
def pigeon() -> Iterator[type[Pigeon]]:
    mechanisms.register(Pigeon)
    yield Pigeon
    mechanisms.MECHANISMS.remove(Pigeon)
    del mechanisms.NAMES[HERE]


def test_it_is_probed_and_explained(pigeon: type[Pigeon]) -> None:
    ours, theirs = pair()
    other = InThread(lambda: adma.from_socket(theirs))
    with adma.from_socket(ours) as near, other.result():
        refusal = near.explain(1 << 20).refusals["pigeon"]
        assert refusal == Refusal("pigeon", 5, "it is night", "wait for the day")
        assert near.stats()["mechanism:pigeon"] == 0


def test_it_can_be_asked_for(pigeon: type[Pigeon]) -> None:
    ours, theirs = pair()
    other = InThread(lambda: adma.from_socket(theirs))
    with pytest.raises(adma.MechanismUnavailable, match=r"'pigeon'.*night.*day"):
        adma.from_socket(ours, mechanism="pigeon")
    with pytest.raises(adma.MechanismUnavailable, match=r"'pigeon'.*night.*day"):
        other.result()


def test_without_its_core_it_is_refused(pigeon: type[Pigeon]) -> None:
    """Its probe finds that it works; but nothing could move the bytes."""

    def conclude(self: Pigeon, verdict: Entry) -> None:
        self.out = self.in_ = None

    ours, theirs = pair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pigeon, "conclude", conclude)
        other = InThread(lambda: adma.from_socket(theirs))
        with pytest.raises(adma.MechanismUnavailable, match="without its part in the core"):
            adma.from_socket(ours, mechanism="pigeon")
        with pytest.raises(adma.MechanismUnavailable):
            other.result()


def test_the_core_takes_no_null(pigeon: type[Pigeon]) -> None:
    kind = type("Null", (Pigeon,), {"id": HERE - 1, "name": "null"})
    with pytest.raises(OSError, match="the core does not take"):
        mechanisms.register(kind, 0)
    assert "null" not in mechanisms.NAMES.values()


def test_it_sweeps(pigeon: type[Pigeon]) -> None:
    before = pigeon.swept
    with adma.listen("test-pigeon"):
        assert pigeon.swept == before + 1


@pytest.mark.parametrize("number", [0, 1, 16, -1])
def test_an_id_is_free_and_possible(number: int) -> None:
    kind = type("Other", (Pigeon,), {"id": number})
    with pytest.raises(ValueError, match="mechanism id"):
        mechanisms.register(kind)


@pytest.mark.parametrize("name", ["auto", "shared"])
def test_a_name_is_free(name: str) -> None:
    kind = type("Other", (Pigeon,), {"name": name})
    with pytest.raises(ValueError, match=name):
        mechanisms.register(kind)


@pytest.mark.skipif(not (TRANSPORT / "adma").is_dir(), reason="the wheel alone is tested here")
def test_nothing_else_names_a_mechanism() -> None:
    found = {
        str(path.relative_to(TRANSPORT)): set(NAMED.findall(path.read_text(encoding="utf-8")))
        for path in TRANSPORT.rglob("*.*")
        if path.suffix in (".c", ".h", ".py", ".pyi")
    }
    assert {'"shared"', "MECH_CMA"} <= found["adma/errors.py"] | found["adma/mechanisms/cma.py"]
    elsewhere = {
        name: names - EXCEPTIONS.get(name, set())
        for name, names in found.items()
        if not name.startswith(OF_MECHANISMS)
    }
    assert {name: names for name, names in elsewhere.items() if names} == {}
