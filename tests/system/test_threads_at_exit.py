# SPDX-License-Identifier: BSD-3-Clause
"""The interpreter ends while daemon threads are in calls: they print nothing; peers are told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

import adma
from adma.testing.limits import HANG

PROGRAM = """
import socket, sys, threading
import adma
from adma.testing.observe import until

channel = adma.from_socket(socket.socket(fileno=int(sys.argv[1])))

def busy():
    while True:
        channel.iprobe()

def sleeps(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"

calls = {
    "read": lambda: channel.read(bytearray(100)),
    "write": lambda: channel.write(bytes(1 << 20)),
    "recv": lambda: channel.recv(),
    "probe": lambda: channel.probe(),
    "wait": lambda: adma.wait([channel]),
    "request": lambda: channel.iread(bytearray(1 << 20)).wait(),
    "mixed": lambda: adma.wait([channel, channel.iread(bytearray(1 << 20))]),
    "busy": busy,
}
# Several, so that one of them runs before the interpreter is gone.
threads = [threading.Thread(target=calls[sys.argv[2]], daemon=True) for _ in range(8)]
for thread in threads:
    thread.start()
if sys.argv[2] != "busy":
    until("all sleep", lambda: all(map(sleeps, threads)))
sys.exit(3)
"""


@pytest.mark.parametrize(
    "call", ["read", "write", "recv", "probe", "wait", "request", "mixed", "busy"]
)
def test_threads_in_calls_print_nothing(call: str) -> None:
    ours, theirs = socket.socketpair()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(theirs.fileno()), call],
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as process:
        theirs.close()
        try:
            with adma.from_socket(ours, timeout=HANG) as channel:
                said = process.communicate(timeout=HANG)[1]
                assert (process.returncode, said) == (3, "")
                # Nobody reads here what the threads have written: that is lost.
                with pytest.raises(adma.MessagesLost if call == "write" else adma.ChannelClosed):
                    channel.probe(timeout=HANG)
        finally:
            process.kill()
