# SPDX-License-Identifier: BSD-3-Clause
"""This program answers messages from a selector, and reads no further while its answer waits.

    python examples/select_loop.py [name]

Start it, then run echo_client.py with the same name in another terminal. It serves one client, and
tells at the end how often its loop went round.

A channel has two descriptors to poll. `fileno()` is readable while a message waits, and once the
other side is gone. `fileno("completions")` is readable while a request is done that the program has
not looked at. The loop polls the one or the other: the first while it wants a message, and
the second while its answer is under way. So it sleeps while a slow client does not take the answer,
even if the next message of that client is there already.
"""

import selectors
import sys

import adma

LARGEST = 64 * 1024 * 1024  # bytes of the longest message that the server accepts


def answer(channel: adma.Channel) -> adma.Request | None:
    """Read the message that waits, and post it back. None: there is no message."""
    message = channel.iprobe()  # raises ChannelClosed or PeerDied when none will come any more
    if message is None:
        return None
    if message.nbytes > LARGEST:
        raise ValueError(f"a message of {message.nbytes} bytes: this server takes {LARGEST}")
    buffer = bytearray(message.nbytes)
    channel.read(buffer)
    return channel.iwrite(buffer)  # the request keeps the buffer until it is done


def watch(selector: selectors.BaseSelector, descriptor: int) -> None:
    """Have the selector wait for this descriptor, and for no other."""
    if descriptor in selector.get_map():
        return
    for key in list(selector.get_map().values()):
        selector.unregister(key.fd)
    selector.register(descriptor, selectors.EVENT_READ)


def serve(channel: adma.Channel) -> int:
    """Answer until the client closes the channel; how often the loop went round."""
    turns = 0
    request: adma.Request | None = None  # the answer that is under way
    with selectors.DefaultSelector() as selector:
        while True:
            watch(selector, channel.fileno("messages" if request is None else "completions"))
            selector.select()
            turns += 1
            try:
                if request is None:
                    request = answer(channel)
                if request is not None and request.check():
                    request = None
            except adma.ChannelClosed:
                return turns


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "echo"
    with adma.listen(name) as server:
        print(f"listening as {name!r}", flush=True)
        with server.accept() as channel:
            turns = serve(channel)
    print(f"served in {turns} turns")


if __name__ == "__main__":
    main()
