# SPDX-License-Identifier: BSD-3-Clause
"""The report of a benchmark, version ``adma-bench/1``: what it ran on, raw samples, figures.

Raw samples and derived figures are kept apart: the figures can always be computed again from the
samples, the samples never from the figures. ``docs/benchmarks.md`` describes each field.
"""

from __future__ import annotations

import datetime
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adma.bench.figures import summarise
from adma.bench.machine import describe_limits, describe_machine, describe_software

SCHEMA = "adma-bench/1"


@dataclass
class Contestant:
    """One of those that were compared, measured or not.

    `path` says how its bytes travelled, `wait` how it waits, as far as it can be known;
    `partial` marks one that takes part at a few sizes only; `why` and `cure` are for one that was
    not measured.
    """

    key: str
    title: str
    library: str = ""
    version: str = ""
    path: str = ""
    wait: str = ""
    peer: bool = False
    partial: bool = False
    measured: bool = True
    why: str = ""
    cure: str = ""


@dataclass
class Series:
    """Raw samples of one contestant in one setting: one value per round, in the order of rounds.

    `size` is the message's bytes, or None where size plays no part; `iterations` how often the
    operation ran within a round (a value is the mean over them); `path` how the bytes travelled
    at this size, where the contestant can tell.
    """

    contestant: str
    metric: str
    unit: str
    values: list[float]
    size: int | None = None
    iterations: int = 1
    path: str = ""


@dataclass
class Verdict:
    """A bar beside what was measured: the ratio (or value), its interval, and whether it held.

    `hold` is the most that is allowed; with `at_least`, the least. `built`: does adma have what it
    is about?
    """

    what: str
    ours: str
    against: str
    unit: str
    hold: float
    binding: bool
    aim: float | None = None
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    held: bool | None = None
    why: str = ""
    at_least: bool = False
    built: bool = True


@dataclass
class Report:
    """All that a run leaves. Summaries are derived when it is stored; verdicts are given to it."""

    benchmark: str
    argv: list[str] = field(default_factory=lambda: list(sys.argv))
    date: str = field(default_factory=lambda: _now())
    machine: dict[str, Any] = field(default_factory=describe_machine)
    limits: dict[str, Any] = field(default_factory=describe_limits)
    software: dict[str, Any] = field(default_factory=describe_software)
    settings: dict[str, Any] = field(default_factory=dict)
    probes: list[dict[str, Any]] = field(default_factory=list)
    contestants: list[Contestant] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def contestant(self, key: str) -> Contestant:
        """The contestant of this key. Raises KeyError."""
        for contestant in self.contestants:
            if contestant.key == key:
                return contestant
        raise KeyError(key)

    def find(self, contestant: str, metric: str, size: int | None = None) -> Series | None:
        """The series of a contestant, or None when it was not measured."""
        for series in self.series:
            if (series.contestant, series.metric, series.size) == (contestant, metric, size):
                return series
        return None

    def sizes(self, metric: str) -> list[int]:
        """All message sizes that any contestant was measured at, ascending."""
        return sorted({s.size for s in self.series if s.metric == metric and s.size is not None})

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, figures included."""
        return {
            "schema": SCHEMA,
            "benchmark": self.benchmark,
            "date": self.date,
            "argv": self.argv,
            "machine": self.machine,
            "limits": self.limits,
            "software": self.software,
            "settings": self.settings,
            "probes": self.probes,
            "contestants": [asdict(each) for each in self.contestants],
            "samples": [asdict(each) for each in self.series],
            "figures": {
                "summaries": [_summary(each) for each in self.series if each.values],
                "bars": [asdict(each) for each in self.verdicts],
            },
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the report as JSON. Raises OSError when the file cannot be written."""
        Path(path).write_text(self.to_json(), encoding="utf-8")


def load(path: str | Path) -> Report:
    """Read and check a report.

    Raises OSError when the file cannot be read, and ValueError that names the field for anything
    that is no report of this schema.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from error
    try:
        return from_dict(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_dict(data: Any) -> Report:
    """A report from plain data. Raises ValueError that names the field that is wrong."""
    _expect(data, dict, "the report")
    if data.get("schema") != SCHEMA:
        raise ValueError(f"schema: expected {SCHEMA!r}, found {data.get('schema')!r}")
    for name, kind in _FIELDS.items():
        if name not in data:
            raise ValueError(f"{name}: is missing")
        _expect(data[name], kind, name)
    for name in ("cpu", "cores", "memory_bytes", "kernel"):
        if name not in data["machine"]:
            raise ValueError(f"machine.{name}: is missing")
    report = Report(
        **{name: data[name] for name in _PLAIN},
        contestants=list(_records(Contestant, data["contestants"], "contestants")),
        series=list(_records(Series, data["samples"], "samples")),
        verdicts=list(_records(Verdict, data["figures"].get("bars", []), "figures.bars")),
    )
    _check_samples(report)
    return report


_FIELDS: dict[str, type] = {
    "benchmark": str,
    "date": str,
    "argv": list,
    "machine": dict,
    "limits": dict,
    "software": dict,
    "settings": dict,
    "probes": list,
    "contestants": list,
    "samples": list,
    "figures": dict,
}
_PLAIN = [name for name in _FIELDS if name not in ("contestants", "samples", "figures")]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _summary(series: Series) -> dict[str, Any]:
    summary = summarise(series.values)
    return {
        "contestant": series.contestant,
        "metric": series.metric,
        "unit": series.unit,
        "size": series.size,
        **asdict(summary),
    }


def _expect(value: Any, kind: type, where: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")


def _records(kind: type[Any], entries: Any, where: str) -> Iterator[Any]:
    """Each entry as a dataclass; a field of another type or name is an error."""
    _expect(entries, list, where)
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        _expect(entry, dict, place)
        try:
            record = kind(**entry)
        except TypeError as error:
            raise ValueError(f"{place}: {str(error).split('__init__() ')[-1]}") from error
        yield record


def _check_samples(report: Report) -> None:
    """Each series belongs to a known contestant, once, and holds finite numbers."""
    keys = [each.key for each in report.contestants]
    for key in keys:
        if not isinstance(key, str) or keys.count(key) != 1:
            raise ValueError(f"contestants: key {key!r} is no string or not unique")
    seen = set()
    for index, series in enumerate(report.series):
        place = f"samples[{index}]"
        if series.contestant not in keys:
            raise ValueError(f"{place}.contestant: {series.contestant!r} is no contestant")
        if series.size is not None and (not isinstance(series.size, int) or series.size < 0):
            raise ValueError(f"{place}.size: expected a number of bytes or null")
        _expect(series.values, list, f"{place}.values")
        for value in series.values:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ValueError(f"{place}.values: {value!r} is no finite number")
        identity = (series.contestant, series.metric, series.size)
        if identity in seen:
            raise ValueError(f"{place}: a second series of {identity}")
        seen.add(identity)
