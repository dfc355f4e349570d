# SPDX-License-Identifier: BSD-3-Clause
"""Checks that includes, calls and imports go from higher layers to lower ones only.

The order of the layers is read from ``docs/architecture.md``. Run it as
``python scripts/layers``.

The modules, from low to high: ``model`` (what the others exchange), ``table`` (the order
of layers), ``c_tokens``, ``c_source`` and ``c_tree`` (C), ``python_tree`` (Python),
``check`` (the rules), ``__main__`` (the command line).
"""
