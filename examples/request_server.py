# SPDX-License-Identifier: BSD-3-Clause
"""A server that answers the requests of many clients, in one thread.

    python examples/request_server.py [name]

Start it, then any number of request_client.py with the same name. It sleeps while nobody asks.
A client that is killed, or sends what is no request, costs the others nothing. Ctrl-C ends it.
"""

import logging
import selectors
import sys
from collections.abc import Callable
from typing import Any

import adma

COMMANDS: dict[str, Callable[..., Any]] = {
    "add": lambda one, other: one + other,
    "length": len,
}


def answer(request: Any) -> Any:
    """What a client gets: the result, or what was wrong with its request."""
    try:
        command, arguments = request
        return "done", COMMANDS[command](*arguments)
    except Exception as error:
        return "failed", repr(error)


def serve(channel: adma.Channel) -> bool:
    """Answer what waits. False: this client is gone."""
    try:
        while channel.poll():
            channel.send(answer(channel.recv()), timeout=1)
    except adma.ChannelClosed:
        return False
    except (OSError, adma.AdmaError) as error:
        logging.warning("a client is dropped: %s", error)
        return False
    return True


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "requests"
    with adma.listen(name) as server, selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        print(f"listening as {name!r}", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is server:
                    try:
                        channel = server.accept(timeout=0)
                    except TimeoutError:
                        continue  # it has not said all yet
                    selector.register(channel, selectors.EVENT_READ)
                elif not serve(key.fileobj):
                    selector.unregister(key.fileobj)
                    key.fileobj.close(timeout=0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("ended")
