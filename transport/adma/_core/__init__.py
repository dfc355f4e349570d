# SPDX-License-Identifier: BSD-3-Clause
"""The C core as Python sees it: the only package that touches the compiled module.

`types` names the core's objects for annotations, `constants` its numbers, `results` its
errors. `buffers` judges the caller's memory. `channel`, `operation` and `waiting` are about
messages, `copies` and `engine` about copies inside this process, `handshake`, `record` and
`device` about what comes before a channel; `trace` and `faults` look at and disturb it.

Two modules are compiled, in one shared object, so that a process has one core. `_native` is made
by cffi. `_messages` is written by hand, and has the calls that are made for each message.
"""

from importlib import machinery, util
from sys import modules

from . import _native

_NAME = f"{__name__}._messages"
if _NAME not in modules:  # the import system finds one module in a file, and this is its second
    _loader = machinery.ExtensionFileLoader(_NAME, _native.__file__)
    _spec = util.spec_from_file_location(_NAME, _native.__file__, loader=_loader)
    assert _spec is not None
    _module = util.module_from_spec(_spec)
    modules[_NAME] = _module
    try:
        _loader.exec_module(_module)
    except BaseException:
        del modules[_NAME]  # what says why has to say it again to the next import
        raise
