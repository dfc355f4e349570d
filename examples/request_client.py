# SPDX-License-Identifier: BSD-3-Clause
"""A client of request_server.py, with a limit of time for each request.

python examples/request_client.py [name]
"""

import sys
from typing import Any

import adma


class Server:
    """The server's commands as calls."""

    def __init__(self, name: str) -> None:
        self.channel = adma.connect(name, timeout=5)

    def ask(self, command: str, *arguments: Any, timeout: float = 5) -> Any:
        """The result of a command. TimeoutError: the server does not answer in time."""
        self.channel.send((command, arguments), timeout=timeout)
        how, result = self.channel.recv(timeout=timeout)
        if how != "done":
            raise RuntimeError(f"{command}: {result}")
        return result


def main() -> None:
    server = Server(sys.argv[1] if len(sys.argv) > 1 else "requests")
    print("2 + 3 =", server.ask("add", 2, 3))
    print("length:", server.ask("length", bytes(1 << 20)))
    try:
        server.ask("divide", 1, 0)
    except RuntimeError as error:
        print("refused:", error)
    server.channel.close()


if __name__ == "__main__":
    main()
