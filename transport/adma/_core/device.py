# SPDX-License-Identifier: BSD-3-Clause
"""The kernel helper's pair of descriptors, and the trial messages on them.

adma_handshake.h says more. Results are 0 or a negated errno.
"""

from __future__ import annotations

from ._native import ffi, lib

verify = lib.adma_helper_verify
post_trial = lib.adma_helper_try
await_trial = lib.adma_helper_tried
forget_trial = lib.adma_helper_forget


def make_pair(path: str, by_dma: bool) -> tuple[int, int]:
    """Two connected descriptors of the device at `path`. OSError."""
    fds = ffi.new("int32_t[2]")
    if rc := lib.adma_helper_pair(path.encode(), by_dma, fds):
        raise OSError(-rc, "the kernel helper gave no pair of descriptors")
    return fds[0], fds[1]
