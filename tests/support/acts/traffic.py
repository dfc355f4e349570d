# SPDX-License-Identifier: BSD-3-Clause
"""Many messages, posted and finished in separate steps. The seed of each is its place."""

from __future__ import annotations

import adma
from support.acts import messages
from support.limits import HANG
from support.payload import difference, pattern
from support.peer_main import End


def post_writes(end: End, sizes: list[int]) -> None:
    for seed, nbytes in enumerate(sizes):
        messages.iwrite(end, f"write {seed}", nbytes, seed)


def post_reads(end: End, sizes: list[int]) -> None:
    for seed, nbytes in enumerate(sizes):
        messages.iread(end, f"read {seed}", nbytes)


def finish_writes(end: End, sizes: list[int]) -> None:
    posted = [end.kept.pop(f"write {seed}") for seed in range(len(sizes))]
    assert adma.wait_all([one.request for one in posted], timeout=HANG) == sizes


def finish_reads(end: End, sizes: list[int]) -> None:
    posted = [end.kept.pop(f"read {seed}") for seed in range(len(sizes))]
    assert adma.wait_all([one.request for one in posted], timeout=HANG) == sizes
    for seed, (one, nbytes) in enumerate(zip(posted, sizes, strict=True)):
        wrong = difference(one.buffer, pattern(nbytes, seed))
        assert not wrong, f"message {seed} of {nbytes} bytes: {wrong}"


def exchange(end: End, sizes: list[int], rounds: int) -> None:
    """Both directions at once; the other end does the same."""
    for _ in range(rounds):
        post_reads(end, sizes)
        post_writes(end, sizes)
        everything = [posted.request for posted in end.kept.values()]
        adma.wait_all(everything, timeout=HANG)
        finish_reads(end, sizes)
        finish_writes(end, sizes)
