# SPDX-License-Identifier: BSD-3-Clause
"""Figures derived from raw samples: medians, spreads, and ratios with their interval.

Everything is a pure function of the samples, so a figure can be drawn again from a stored
report, and two people get the same interval from the same file.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 10_000
SEED = 20070326
"""The seed of every bootstrap: an interval must not change when it is computed again."""


@dataclass(frozen=True)
class Summary:
    """Median and spread (10th to 90th percentile) of one series, in the series' own unit."""

    median: float
    p10: float
    p90: float
    count: int

    @property
    def half_width(self) -> float:
        """Half of the distance between the 10th and the 90th percentile."""
        return (self.p90 - self.p10) / 2


@dataclass(frozen=True)
class Ratio:
    """Median of the per-round ratios ours / theirs, with its bootstrap 95 % interval."""

    median: float
    low: float
    high: float
    count: int

    def holds(self, bar: float) -> bool:
        """Is the bar held: does the interval end at it or below?"""
        return self.high <= bar


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile (0 to 1) by linear interpolation between the two nearest samples.

    Raises ValueError when there are no samples or q lies outside 0 to 1.
    """
    if not values:
        raise ValueError("values: a quantile needs at least one sample")
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q: {q} lies outside 0 to 1")
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = math.ceil(place)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """The middle sample, or the mean of the middle two. Raises ValueError without samples."""
    return quantile(values, 0.5)


def summarise(values: Sequence[float]) -> Summary:
    """Median and spread of one series. Raises ValueError without samples."""
    return Summary(median(values), quantile(values, 0.1), quantile(values, 0.9), len(values))


def paired_ratio(
    ours: Sequence[float],
    theirs: Sequence[float],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Ratio:
    """Ratio of two series that were measured alternately: round i of one with round i of the other.

    The ratio is taken within each round first, so that a machine that is slow for a while slows
    both sides of a pair and cancels out. When one contestant stopped early, the rounds that both
    have are used. Raises ValueError when they share no round.
    """
    ratios = [a / b for a, b in zip(ours, theirs, strict=False) if b > 0]
    if not ratios:
        raise ValueError("ours, theirs: the two contestants share no round")
    low, high = _interval(ratios, resamples, seed)
    return Ratio(median(ratios), low, high, len(ratios))


def middle(values: Sequence[float]) -> Ratio:
    """As `paired_ratio`, for plain values, one per round. Raises ValueError without samples."""
    return paired_ratio(values, [1.0] * len(values))


def _interval(ratios: Sequence[float], resamples: int, seed: int) -> tuple[float, float]:
    """Bootstrap 95 % interval of the median: resample the rounds, take each median."""
    source = random.Random(seed)
    n = len(ratios)
    middle, odd = n // 2, n % 2
    medians = []
    for _ in range(resamples):
        drawn = sorted(source.choices(ratios, k=n))
        medians.append(drawn[middle] if odd else (drawn[middle - 1] + drawn[middle]) / 2)
    return quantile(medians, 0.025), quantile(medians, 0.975)
