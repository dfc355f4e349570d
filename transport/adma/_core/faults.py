# SPDX-License-Identifier: BSD-3-Clause
"""Fault points, which test builds have: adma_fault.h says more."""

from __future__ import annotations

from typing import Final

from ._native import lib

#: Does this build have fault points, and live assertions?
BUILT: Final = lib.adma_faults_built()

in_handshake = lib.adma_fault_handshake  # 0, or the errno that a step of a handshake fails with
