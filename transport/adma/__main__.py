# SPDX-License-Identifier: BSD-3-Clause
"""``python -m adma``: the command where its script is not on the path."""

import sys

from adma.cli import main

if __name__ == "__main__":
    sys.exit(main())
