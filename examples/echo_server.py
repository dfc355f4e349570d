# SPDX-License-Identifier: BSD-3-Clause
"""This program sends every message back to the client that sent it.

    python examples/echo_server.py [name]

Start it, then run echo_client.py in another terminal. It serves one client after the other, until
you press Ctrl-C.
"""

import sys

import adma

LARGEST = 64 * 1024 * 1024  # bytes of the longest message that the server accepts


def serve(channel: adma.Channel) -> None:
    """Echo until the client closes the channel or dies."""
    buffer = bytearray(LARGEST)
    while True:
        try:
            nbytes = channel.read(buffer)  # one read returns one whole message
        except adma.ChannelClosed:
            return  # the client closed the channel, and all that it wrote was read
        except adma.PeerDied:
            print("the client died", file=sys.stderr)
            return
        with memoryview(buffer)[:nbytes] as message:
            channel.write(message)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "echo"
    # A name is enough. Only processes of the same user can find the server by it.
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
