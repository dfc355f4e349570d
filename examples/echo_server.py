# SPDX-License-Identifier: BSD-3-Clause
"""Answers every message with itself. Start it, then run echo_client.py in another terminal.

    python examples/echo_server.py [name]

It serves one client after the other, until Ctrl-C.
"""

import sys

import adma

LARGEST = 64 * 1024 * 1024  # bytes of the longest message it takes


def serve(channel: adma.Channel) -> None:
    """Echo until the client closes the channel, or is gone."""
    buffer = bytearray(LARGEST)
    while True:
        try:
            nbytes = channel.read(buffer)  # one read is one whole message
        except adma.ChannelClosed:
            return  # an orderly end: everything the client wrote was read
        except adma.PeerDied:
            print("the client died", file=sys.stderr)
            return
        with memoryview(buffer)[:nbytes] as message:
            channel.write(message)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "echo"
    # A name is enough: only processes of this user find the server by it.
    with adma.listen(name) as server:
        print(f"listening as {name!r}", flush=True)
        while True:
            with server.accept() as channel:
                serve(channel)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("bye")
