# SPDX-License-Identifier: BSD-3-Clause
"""Memory that is mapped and not there: an error that says whose it is, and never a SIGBUS."""

from __future__ import annotations

import errno

import pytest

from adma.testing import Peer
from adma.testing.calls import messages
from adma.testing.limits import HANG, MIB
from support.calls import files

NBYTES = 4 * MIB


@pytest.mark.parametrize("offset", [0, 16, 4080])
@pytest.mark.parametrize("verb", ["read", "write"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_page_beyond_the_end_of_its_file(peer: Peer, ours: bool, verb: str, offset: int) -> None:
    """Whatever the two addresses are to each other: some offsets are copied by a detour."""
    channel = peer.connect("mapped:cma")
    other = {"read": "write", "write": "read"}[verb]
    task = peer.begin(files.exchange, other, NBYTES, 0, not ours)
    area = files.Mapped(NBYTES, offset)
    if ours:
        area.shorten()
    request = (channel.iread if verb == "read" else channel.iwrite)(area.view)
    with pytest.raises(OSError, match="a page of") as caught:
        request.wait(timeout=HANG)
    del request
    area.close()
    found = [str(caught.value.strerror), task.result()]
    mine, theirs = ("the buffer of this call", "the buffer of the peer's call")
    assert caught.value.errno == errno.EFAULT
    assert found[1].startswith(f"{errno.EFAULT}: ")
    assert (mine if ours else theirs) in found[0]
    assert (theirs if ours else mine) in found[1]
    assert all("mapped:cma" in text and "cut off its file" in text for text in found)
    writing = peer.begin(messages.write, 5)
    assert channel.read(bytearray(5), timeout=HANG) == 5
    writing.result()
