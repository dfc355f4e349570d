# SPDX-License-Identifier: BSD-3-Clause
"""The C core as Python sees it: the only package that touches the compiled module.

`types` names the core's objects for annotations, `constants` its numbers, `results` its
errors. `buffers` holds the caller's memory. `channel`, `operation` and `waiting` are about
messages, `copies` and `engine` about copies inside this process, `handshake`, `record` and
`device` about what comes before a channel; `trace` and `faults` look at and disturb it.

Where a function is called for each message, it is the core's own, under a shorter name.
"""
