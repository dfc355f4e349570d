# SPDX-License-Identifier: BSD-3-Clause
"""Taking things away from this process: root, ptrace access, system calls, shared memory."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Sequence
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
# System calls: their numbers on x86-64 and on aarch64.
CALLS: Final = {
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "memfd_create": (319, 279),
    "fallocate": (285, 47),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "timerfd_create": (283, 85),
    "clone": (56, 220),
    "madvise": (28, 233),
    "clone3": (435, 435),
}
_MACHINES = ("x86_64", "aarch64")


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


def forbid(names: Sequence[str], error: int) -> None:
    """A seccomp filter, as of a container: these system calls fail with `error`."""
    which = _MACHINES.index(platform.machine())
    numbers = [CALLS[name][which] for name in names]
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (_LOAD, 0, 0, 0),  # the number of the system call
            *((_JUMP_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _ERRNO | error),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: count, pointer
    head = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    )
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, head, 0, 0), "PR_SET_SECCOMP")


def forbid_cma() -> None:
    """process_vm_readv and writev fail with EPERM."""
    forbid(("process_vm_readv", "process_vm_writev"), errno.EPERM)


def leave_descriptors(left: int) -> None:
    """Lower the limit so that so many more descriptors can be opened."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {fd for fd in range(hard if hard < 4096 else 4096) if _is_open(fd)}
    limit = max(used) + 1 + left
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    for _ in set(range(max(used))) - used:
        _gaps.append(os.open(os.devnull, os.O_RDONLY))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


_gaps: list[int] = []


def free_descriptors() -> None:
    """Undo `leave_descriptors`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while _gaps:
        os.close(_gaps.pop())


def limit_files(nbytes: int) -> None:
    """No file of this process may be longer."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, resource.RLIM_INFINITY))


def mount_over(place: str, options: str) -> None:
    """An empty file system in place of a directory, for this process alone. Needs root."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
    _check(_libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, options.encode()), "mount tmpfs")


def shrink_shm(nbytes: int) -> None:
    """A /dev/shm of `nbytes`, for this process alone. Needs root."""
    mount_over("/dev/shm", f"size={nbytes},mode=1777")


def close_proc() -> bool:
    """A Landlock domain in which everything but /proc can be used. False: the kernel has none."""
    access = (1 << 13) - 1
    rules = _libc.syscall(444, struct.pack("Q", access), 8, 0)  # landlock_create_ruleset
    if rules < 0:
        return False
    for top in os.listdir("/"):
        if top == "proc" or not os.path.isdir(f"/{top}"):
            continue
        fd = os.open(f"/{top}", os.O_PATH)
        rule = struct.pack("=Qi", access, fd)
        _check(_libc.syscall(445, rules, 1, rule, 0), "landlock_add_rule")
        os.close(fd)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _check(_libc.syscall(446, rules, 0), "landlock_restrict_self")
    os.close(rules)
    return True
