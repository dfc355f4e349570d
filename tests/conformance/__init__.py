# SPDX-License-Identifier: BSD-3-Clause
"""What every mechanism does alike, whatever moves the bytes.

A new mechanism passes these tests unchanged: they know its name and nothing else. Each
test runs once per registered mechanism, forced, and once with `auto`.
"""
