# SPDX-License-Identifier: BSD-3-Clause
"""What a process's memory may grow by, where tests run under AddressSanitizer, too."""

from __future__ import annotations

import os
from typing import Final

IS_SANITIZED: Final = "asan" in os.environ.get("LD_PRELOAD", "")

# AddressSanitizer puts red zones around each block.
OVERHEAD: Final = 2 if IS_SANITIZED else 1
# It keeps up to this many bytes of what was freed.
KEPT_FREED: Final = (256 << 20) if IS_SANITIZED else 0
