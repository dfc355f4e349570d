# SPDX-License-Identifier: BSD-3-Clause
"""Taking things away from this process: root, ptrace access, system calls, shared memory."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Final

#: An ordinary user. Not 65534, which stands for "unknown" in credentials.
USER: Final = 12345

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000

# struct sock_filter: code, jump if true, jump if false, operand
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_CALLS = {"x86_64": (310, 311), "aarch64": (270, 271)}


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def become_user() -> None:
    """Drop root and every capability, and be as an ordinary program of that user: dumpable."""
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    set_dumpable(True)


def set_dumpable(on: bool) -> None:
    _check(_libc.prctl(_PR_SET_DUMPABLE, int(on), 0, 0, 0), "PR_SET_DUMPABLE")


def forbid_cma() -> None:
    """A seccomp filter, as of a container: process_vm_readv and writev fail with EPERM."""
    read, write = _CALLS[platform.machine()]
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, 0),  # the number of the system call
            (_JUMP_EQUAL, 1, 0, read),
            (_JUMP_EQUAL, 0, 1, write),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: count, pointer
    head = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    )
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, head, 0, 0), "PR_SET_SECCOMP")


def shrink_shm(nbytes: int) -> None:
    """A /dev/shm of `nbytes`, for this process alone. Needs root."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
    options = f"size={nbytes},mode=1777".encode()
    _check(_libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, options), "mount tmpfs")
