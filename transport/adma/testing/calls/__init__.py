# SPDX-License-Identifier: BSD-3-Clause
"""What peers are asked to do: functions of an `Endpoint` and plain arguments, by topic."""

from __future__ import annotations

from . import death, messages, model_steps, objects, races, traffic

__all__ = ["death", "messages", "model_steps", "objects", "races", "traffic"]
