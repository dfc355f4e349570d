# SPDX-License-Identifier: BSD-3-Clause
"""Many messages, posted and finished in separate steps. The seed of each is its place."""

from __future__ import annotations

import adma

from ..endpoint import Endpoint
from ..limits import HANG
from ..payload import difference, pattern
from . import messages


def post_writes(endpoint: Endpoint, sizes: list[int]) -> None:
    for seed, nbytes in enumerate(sizes):
        messages.iwrite(endpoint, f"write {seed}", nbytes, seed)


def post_reads(endpoint: Endpoint, sizes: list[int]) -> None:
    for seed, nbytes in enumerate(sizes):
        messages.iread(endpoint, f"read {seed}", nbytes)


def finish_writes(endpoint: Endpoint, sizes: list[int]) -> None:
    posted = [endpoint.kept.pop(f"write {seed}") for seed in range(len(sizes))]
    assert adma.wait_all([one.request for one in posted], timeout=HANG) == sizes


def finish_reads(endpoint: Endpoint, sizes: list[int]) -> None:
    posted = [endpoint.kept.pop(f"read {seed}") for seed in range(len(sizes))]
    assert adma.wait_all([one.request for one in posted], timeout=HANG) == sizes
    for seed, (one, nbytes) in enumerate(zip(posted, sizes, strict=True)):
        wrong = difference(one.buffer, pattern(nbytes, seed))
        assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"


def exchange(endpoint: Endpoint, sizes: list[int], rounds: int) -> None:
    """Exchange messages in both directions at once; the other endpoint does the same."""
    for _ in range(rounds):
        post_reads(endpoint, sizes)
        post_writes(endpoint, sizes)
        everything = [posted.request for posted in endpoint.kept.values()]
        adma.wait_all(everything, timeout=HANG)
        finish_reads(endpoint, sizes)
        finish_writes(endpoint, sizes)
