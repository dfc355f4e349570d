# SPDX-License-Identifier: BSD-3-Clause
"""The device of the kernel helper: where it is, and why it cannot be used."""

from __future__ import annotations

import errno
import grp
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import errors

__all__ = ["DEVICE", "Circumstances", "circumstances", "explain", "explain_copies", "explain_dma"]

DEVICE: Final = "/dev/adma"
_MODULE = Path("/sys/module/adma")


@dataclass(frozen=True)
class Circumstances:
    """What else is known about a device that could not be used."""

    loaded: bool = False  # /sys/module/adma
    group: str = "root"  # of the device
    group_may: bool = False  # open it for reading and writing


def circumstances(device: str = DEVICE) -> Circumstances:
    """Look at what can be seen without opening the device."""
    loaded = _MODULE.is_dir()
    try:
        status = os.stat(device)
    except OSError:
        return Circumstances(loaded=loaded)
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    return Circumstances(loaded=loaded, group=group, group_may=status.st_mode & 0o060 == 0o060)


def explain(number: int, found: Circumstances) -> tuple[str, str]:
    """Cause and cure for an errno of the device. Looks at its arguments only."""
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        if found.loaded:
            return (
                "the module is loaded, but there is no device file of it here",
                "udev, or in a container the device (docker: --device=/dev/adma)",
            )
        return (
            "the kernel module adma is not loaded",
            "modprobe adma; the module comes with adma's source distribution, where "
            "kernel/README.md tells how to build and install it",
        )
    if number in (errno.EACCES, errno.EPERM):
        if found.group_may and found.group != "root":
            cure = f"usermod -aG {found.group} USER, and a new login"
        else:
            cure = "the udev rule of kernel/udev, which gives the device to the group adma"
        return "this user may not open the device", cure
    if number in (errno.ENOTTY, errno.EINVAL, errno.E2BIG, errno.EPROTONOSUPPORT):
        return (
            "what is there does not answer as the helper does",
            "module and package of the same version",
        )
    if number == errno.EDQUOT:
        return (
            "this user has as many pairs of descriptors as one may have",
            "close channels, or raise /sys/module/adma/parameters/connections_max",
        )
    cause, cure = errors.explain("mapped:helper", number)
    return f"the device cannot be used: {cause}", cure


def explain_dma(number: int, found: Circumstances) -> tuple[str, str]:
    """The same where DMA channels are asked for."""
    if number == errno.ENODEV and found.loaded:
        return (
            "the kernel helper has no DMA channel that works",
            "a driver that offers copies in memory (ls /sys/class/dma)",
        )
    return explain(number, found)


def explain_copies(number: int, found: Circumstances) -> tuple[str, str]:
    """The same where the device is opened for copies within this process."""
    if number == errno.EDQUOT:
        return (
            "this user has the device open as often as one may",
            "close some, or raise /sys/module/adma/parameters/opens_max",
        )
    return explain_dma(number, found)
