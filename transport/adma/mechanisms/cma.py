# SPDX-License-Identifier: BSD-3-Clause
"""`mapped:cma`: one copy between two processes' memory (process_vm_readv(2)).

Each end reads the peer's nonce. If that is the right one, it writes its own to the peer's
scratch word, where the peer looks for it. A direction works if its reader can read the
writer's memory, or its writer can write to the reader's. A process always reads before it
writes, and so knows that the other process is still the one that it met.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from dataclasses import dataclass

from .. import config, errors
from .._core import handshake as core
from .._core.constants import CMA_PULL, CMA_PUSH, MECH_CMA
from ..connect.identity import is_gone, start_time
from ..connect.record import Entry
from .interface import Context, Probe, Refusal, refusal_in

__all__ = ["Circumstances", "MappedCMA", "explain"]

# Dumpable, whom the sender named as tracer, user namespace; addresses of the nonce and the scratch
# word, which nobody else learns.
_OFFER = struct.Struct("=iIQQQ")
_NOT_PUSHED = errno.EPERM
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"

# Which process may attach to this one, as its peer is told.
_NAMED_NOBODY, _NAMED_YOU, _NAMED_ANOTHER = 0, 1, 2


@dataclass(frozen=True)
class Circumstances:
    """What decides whether a process may access another one's memory."""

    same_user: bool = True
    private: bool = True  # this end is no listener that lets other users in
    visible: bool = True  # the peer has a pid in our pid namespace
    same_user_namespace: bool = True
    peer_dumpable: int = 1  # its PR_GET_DUMPABLE
    ptrace_scope: int = 0  # of Yama; 0 where there is no Yama
    named_another: bool = False  # the peer's one tracer is another process
    seccomp: int = 0  # our own mode; 2 means that there is a filter


def explain(number: int, found: Circumstances) -> tuple[str, str]:
    """Cause and cure for an errno of process_vm_readv(2). Looks at its arguments only."""
    if not found.same_user:
        return (
            "the two processes belong to different users",
            "run both as one user; between users the kernel helper is the way to one copy",
        )
    if not found.private:
        return (
            "the listener lets other users in, and would become one trust domain with its callers",
            "a listener without mode= and allow_uids= beside it; or the kernel helper",
        )
    if not found.visible:
        return (
            "the peer's process is not to be seen from this PID namespace",
            "run both in one PID namespace (docker: --pid=container:... or --pid=host)",
        )
    if number == errno.ENOSYS:
        return (
            "the kernel has no process_vm_readv, or a seccomp filter hides it",
            "a kernel with CONFIG_CROSS_MEMORY_ATTACH; a seccomp profile that allows "
            "process_vm_readv and process_vm_writev",
        )
    if number in (errno.EPERM, errno.EACCES):
        return _explain_refused(found)
    if number == errno.ESRCH:
        return "there is no process with the peer's pid", "start the peer again, and connect to it"
    if number in (errno.EFAULT, errno.ESTALE):
        return (
            "the process with the peer's pid is not the peer: its nonce is not there",
            "run both in one PID namespace, and connect again if the peer called exec",
        )
    cause, cure = errors.explain("mapped:cma", number)
    return f"the peer's memory could not be reached: {cause}", cure


def _explain_refused(found: Circumstances) -> tuple[str, str]:
    if not found.same_user_namespace:
        return (
            "the peer is in another user namespace",
            "run both in one user namespace, or give this process CAP_SYS_PTRACE in the peer's",
        )
    if found.peer_dumpable != 1:
        return (
            "the peer is not dumpable",
            "in the peer prctl(PR_SET_DUMPABLE, 1); do not start it set-uid, with file "
            "capabilities, or from a file its user cannot read",
        )
    if found.ptrace_scope >= 3:
        return (
            "Yama's ptrace_scope is 3: nobody may attach to a process, until the next boot",
            "boot with kernel.yama.ptrace_scope set to 1 or 0",
        )
    if found.ptrace_scope == 2:
        return (
            "Yama's ptrace_scope is 2: only who has CAP_SYS_PTRACE may attach to a process",
            "sysctl kernel.yama.ptrace_scope=1 (or 0), or CAP_SYS_PTRACE for this process",
        )
    if found.ptrace_scope == 1:
        if found.named_another:
            cause = (
                "Yama's ptrace_scope is 1, and the peer has named another process as the one "
                "that may attach to it"
            )
        else:
            cause = "Yama's ptrace_scope is 1, and the peer has not named this process"
        return cause, "ADMA_PTRACER=any in the peer's environment, or kernel.yama.ptrace_scope=0"
    if found.seccomp == 2:
        return (
            "a seccomp filter forbids process_vm_readv",
            "allow process_vm_readv and process_vm_writev in the seccomp profile "
            "(docker: --cap-add=SYS_PTRACE)",
        )
    return (
        "groups or capabilities of the two processes differ, or a security module forbids it",
        "start both alike: same groups, same capabilities, same security label",
    )


class MappedCMA(Probe):
    """Read the peer's nonce and write our own; see at both ends what came of it."""

    name = "mapped:cma"
    id = MECH_CMA

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._can_pull = False
        self._can_push = False
        self._peer_pulls = False
        self._scratch = 0  # the address of the peer's
        self._peer_pushes = False
        self._pull_refused: Refusal | None = None
        self._peer_refused: Refusal | None = None

    def offer(self) -> Entry:
        """Say how we are protected, and permit the peer to attach where Yama asks for that."""
        refusal = self._out_of_the_question()
        if refusal is not None:
            return refusal.entry(self.id)
        named = _name_tracer(self.context)
        addresses = core.nonce_addresses(self.context.own)
        data = _OFFER.pack(core.is_dumpable(), named, _user_namespace(), *addresses)
        return Entry(self.id, 0, data)

    def answer(self, offer: Entry) -> Entry:
        """Read the peer's nonce, and write ours to its scratch word."""
        peer = self.context.peer
        if offer.error:
            self._pull_refused = refusal_in(offer, self.name)
        elif len(offer.data) != _OFFER.size:
            self._pull_refused = self.refuse(errno.EPROTO, "the peer's offer is malformed")
        else:
            self._pull_refused = self._pull(offer)
        if self._pull_refused is not None:
            return self._pull_refused.entry(self.id)
        self._can_pull = True
        token = self.context.nonce[:8]
        pushed = core.write_memory(peer.pid, self._scratch, token, len(token))
        self._can_push = pushed == 0
        return Entry(self.id)

    def _out_of_the_question(self) -> Refusal | None:
        """Why nothing is offered or tried: it would join two trust domains; None: it would not."""
        same_user, private = self.context.peer.same_user, self.context.private
        if same_user and private:
            return None
        circumstances = Circumstances(same_user=same_user, private=private)
        return self.refuse(errno.EPERM, *explain(errno.EPERM, circumstances))

    def _pull(self, offer: Entry) -> Refusal | None:
        refusal = self._out_of_the_question()
        if refusal is not None:
            return refusal
        peer = self.context.peer
        dumpable, named, namespace, self.address, self._scratch = _OFFER.unpack(offer.data)
        number, found = -errno.ESRCH, b""
        if peer.pid:
            number, found = core.read_memory(peer.pid, self.address, len(peer.nonce))
        if number == 0 and found == peer.nonce:
            return None
        number = -number or errno.ESTALE
        circumstances = Circumstances(
            visible=peer.pid != 0,
            same_user_namespace=_same(namespace, _user_namespace()),
            peer_dumpable=dumpable,
            ptrace_scope=ptrace_scope(),
            named_another=named == _NAMED_ANOTHER,
            seccomp=_seccomp_mode(),
        )
        return self.refuse(number, *explain(number, circumstances))

    def verdict(self, answer: Entry) -> Entry:
        """Is the peer's token in our scratch word?"""
        if answer.error:
            self._peer_refused = refusal_in(answer, self.name)
        else:
            self._peer_pulls = True
        scratch = int(core.nonce_scratch(self.context.own)).to_bytes(8, sys.byteorder)
        self._peer_pushes = self._peer_pulls and scratch == self.context.peer.nonce[:8]
        return Entry(self.id, 0 if self._peer_pushes else _NOT_PUSHED)

    def conclude(self, verdict: Entry) -> None:
        """Settle which end can copy, and so which directions work."""
        self._can_push = self._can_push and not verdict.error
        inward = self._can_pull or self._peer_pushes
        outward = self._peer_pulls or self._can_push
        self.found = CMA_PULL * self._can_pull | CMA_PUSH * self._can_push
        self.in_ = None if inward else self._pull_refused or self._peer_refused
        self.out = None if outward else self._peer_refused or self._pull_refused


def ptrace_scope() -> int:
    """Yama's ptrace_scope; 0 where there is no Yama."""
    try:
        with open(_YAMA, "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _same(namespace: int, other: int) -> bool:
    """Are they the same, as far as is known? A process that is not dumpable cannot tell its own."""
    return not namespace or not other or namespace == other


def _user_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return 0


def _seccomp_mode() -> int:
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"Seccomp:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


# The process that this one named to Yama: (own pid, tracer's pid, tracer's start time).
# A process has one tracer, and a new one replaces the old. So the first server stays the tracer
# for as long as it lives (prctl(2), PR_SET_PTRACER).
_tracer: tuple[int, int, int | None] | None = None


def _name_tracer(context: Context) -> int:
    """Under Yama, permit the server to copy. Returns which process was named, for the peer."""
    global _tracer
    if ptrace_scope() != 1:
        return _NAMED_NOBODY
    if config.any_tracer():
        return _NAMED_YOU if core.set_tracer(core.ANY_TRACER) == 0 else _NAMED_NOBODY
    pid = context.peer.pid
    if _tracer is not None and _tracer[0] == os.getpid():
        if _tracer[1] == pid and _tracer[2] == start_time(pid):
            return _NAMED_YOU
        if not is_gone(_tracer[1], _tracer[2]):
            return _NAMED_ANOTHER
    if not context.client or pid <= 0 or core.set_tracer(pid):
        return _NAMED_NOBODY
    _tracer = (os.getpid(), pid, start_time(pid))
    return _NAMED_YOU
