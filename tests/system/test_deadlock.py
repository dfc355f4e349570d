# SPDX-License-Identifier: BSD-3-Clause
"""Both ends in blocking large writes: nobody reads. One warning tells, and the calls go on."""

from __future__ import annotations

from adma.testing import Peer
from adma.testing.limits import MIB
from adma.testing.observe import until
from support.calls import deadlock

NBYTES = 64 * MIB


def test_a_warning_names_iwrite_and_a_reader_resolves_it(
    two_peers: tuple[Peer, Peer],
) -> None:
    first, second = two_peers
    first.connect_to(second)
    tasks = [peer.begin(deadlock.write_while_told, NBYTES) for peer in two_peers]
    until("one of them warns", lambda: any(peer.hears() for peer in two_peers))
    said = next(peer for peer in two_peers if peer.hears()).heard()
    assert said.startswith("RuntimeWarning: ")
    assert "iwrite" in said
    # Neither write has failed. A second thread of one end reads, then one of the other.
    for peer in two_peers:
        peer.say("read")
    # At most one of each end; the one that was unblocked before its second had none.
    assert all(task.result() <= 1 for task in tasks)


def test_one_end_that_reads_is_no_deadlock(two_peers: tuple[Peer, Peer]) -> None:
    """A long wait for a peer that merely does something else is nobody's mistake."""
    first, second = two_peers
    first.connect_to(second)
    writing = first.begin(deadlock.write_past_the_warning, NBYTES)
    assert first.heard() == "writing"
    second.call(deadlock.read_after, 1.5, NBYTES)
    assert writing.result() == 0
