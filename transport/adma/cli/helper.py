# SPDX-License-Identifier: BSD-3-Clause
"""What `adma info` tells about the kernel helper: channels and limits, or why it is missing."""

from __future__ import annotations

import errno
import os
import re
import resource
from pathlib import Path
from typing import Any

from adma.bench.helper import Helper
from adma.kernel_helper import DEVICE, circumstances, explain

__all__ = ["ABI", "FEATURES", "describe", "rows"]

ABI = 1
"""The version of the interface that this package speaks."""
# ADMA_FEATURE_*, by bit.
FEATURES = ("mapped copy", "DMA", "copies within a process", "time split")
_MODULE = Path("/sys/module/adma")
_LIMITS = (
    "window",
    "pin_limit",
    "length_max",
    "dma_min",
    "iov_max",
    "entries",
    "requests_max",
    "connections_max",
)
_KIB, _MIB = 1 << 10, 1 << 20
_CAP_IPC_LOCK = 14
_FIRST_USER_NAMESPACE = 0xEFFFFFFD  # its inode, PROC_USER_INIT_INO


def describe(device: str = DEVICE) -> dict[str, Any]:
    """All of it as plain data; sizes are in bytes. Raises nothing.

    `errno`, `cause` and `cure` are for a helper that is not `available`. The rest is filled in
    as far as it is known.
    """
    found: dict[str, Any] = {
        "device": device,
        "available": False,
        "errno": 0,
        "cause": "",
        "cure": "",
        "module_version": _module_version(),
        "abi": None,
        "abi_wanted": ABI,
        "features": [],
        "channels": [],
        "refused": [],
        "limits": {},
        "memlock": _memlock(),
    }
    try:
        with Helper(device) as helper:
            info = helper.info()
            found["abi"] = info["abi"]
            if info["abi"] == ABI:
                found["features"] = _features(info["features"])
                found["channels"] = helper.channels()
                found["refused"] = helper.refused()
                found["limits"] = {name: info[name] for name in _LIMITS}
                found["available"] = True
    except OSError as error:
        found["errno"] = error.errno or errno.EIO
        found["cause"], found["cure"] = explain(found["errno"], circumstances(device))
    else:
        if not found["available"]:
            found["errno"] = errno.EPROTONOSUPPORT
            found["cause"] = f"the module speaks ABI {found['abi']}, this package ABI {ABI}"
            found["cure"] = "module and package of the same version"
    return found


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people: rows of a name and a value; without a name, the last one goes on."""
    if not found["available"]:
        lines = [(found["device"], f"refused: {found['cause']}")]
        return lines + ([("", f"cure: {found['cure']}")] if found["cure"] else [])
    version = f", version {found['module_version']}" if found["module_version"] else ""
    lines = [(found["device"], f"ABI {found['abi']}{version}: {', '.join(found['features'])}")]
    lines += [(each["name"], _channel(each)) for each in found["channels"]]
    if not found["channels"]:
        lines += [
            (
                "DMA channels",
                "none: no driver here offers copies in memory on a channel of its own",
            ),
            ("", "cure: such a driver (ls /sys/class/dma), loaded before the device is opened"),
        ]
    for each in found["refused"]:
        lines += _refused(each)
    limits = found["limits"]
    lines += [
        ("DMA", f"from {_size(limits['dma_min'])} on, shorter ones by the CPU"),
        ("pinned at a time", f"{_size(limits['window'])} for each side of a transfer"),
        ("pin cache", f"{_size(limits['pin_limit'])} at most"),
        ("post", f"{_size(limits['length_max'])} in {limits['iov_max']} pieces at most"),
        ("requests", f"{limits['requests_max']} pending ones of a user at most"),
        ("connections", f"{limits['connections_max']} of a user at most"),
        ("RLIMIT_MEMLOCK", _locked(found["memlock"], limits["window"])),
    ]
    return lines


def _refused(each: dict[str, str]) -> list[tuple[str, str]]:
    """A device that is not used, why, and what can be done."""
    driver = each["driver"]
    if each["reason"] == "silent":
        cause = f"not used: {driver} is not known to report errors of copies"
        cure = f"cure: none that is safe; modprobe adma trust={driver} uses it all the same"
    else:
        cause = f"not used: {driver} wants its copies aligned to more than a page"
        cure = ""
    return [(each["name"], cause)] + ([("", cure)] if cure else [])


def _channel(each: dict[str, Any]) -> str:
    work = f"{_size(each['bytes'])} in {each['pieces']} pieces"
    trouble = f", {each['errors']} errors, {each['timeouts']} time-outs"
    return (
        f"{each['driver']}, {each['state']}, aligned to {each['align']} bytes; {work}"
        f"{trouble if each['errors'] or each['timeouts'] else ''}"
    )


def _locked(memlock: int | None, window: int) -> str:
    """What the limit on pinned memory means for transfers between processes of this user."""
    both = 2 * window
    cure = "cure: ulimit -l, or memlock in /etc/security/limits.conf"
    if memlock is None:
        return "no limit"
    if memlock < resource.getpagesize():
        meaning = f"not one page can be pinned, so DMA is not for this user; {cure}"
    elif memlock < both:
        meaning = f"less than both sides pin at a time, so large ones take smaller steps; {cure}"
    else:
        many = memlock // both
        meaning = f"both sides of {many} transfer{'s' if many > 1 else ''} at a time"
    return f"{_size(memlock)}: {meaning}"


def _size(nbytes: int) -> str:
    for unit, name in ((_MIB, "MiB"), (_KIB, "KiB")):
        if nbytes and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} bytes"


def _features(bits: int) -> list[str]:
    """Features by name, and those of later versions by their bits."""
    found = [name for bit, name in enumerate(FEATURES) if bits >> bit & 1]
    later = bits >> len(FEATURES) << len(FEATURES)
    return found + ([f"others ({later:#x})"] if later else [])


def _memlock() -> int | None:
    """Bytes that this user may pin; None means no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return None if soft == resource.RLIM_INFINITY or _may_lock_any() else soft


def _may_lock_any() -> bool:
    """Is there CAP_IPC_LOCK? It counts for the helper only in the first user namespace."""
    try:
        if os.stat("/proc/self/ns/user").st_ino != _FIRST_USER_NAMESPACE:
            return False
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return effective is not None and bool(int(effective[1], 16) >> _CAP_IPC_LOCK & 1)


def _module_version() -> str | None:
    try:
        return (_MODULE / "version").read_text().strip() or None
    except OSError:
        return None
