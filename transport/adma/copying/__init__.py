# SPDX-License-Identifier: BSD-3-Clause
"""Copies inside one process, and the engine that makes them: the paper's table 1.

(It is not called `copy`, since `adma.copy` is a function.)
"""
