# SPDX-License-Identifier: BSD-3-Clause
"""What peers are asked to do: functions of an `End` and plain arguments, by topic."""
