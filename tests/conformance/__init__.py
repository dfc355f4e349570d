# SPDX-License-Identifier: BSD-3-Clause
"""The public kit, `adma.testing`, over adma's own mechanisms."""
