# SPDX-License-Identifier: BSD-3-Clause
"""This program sends messages of growing size to echo_server.py and checks that they come back.

    python examples/echo_client.py [name]

Start echo_server.py first.
"""

import sys
import time

import adma


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "echo"
    with adma.connect(name, timeout=5) as channel:
        for nbytes in (0, 1, 1024, 1024**2, 16 * 1024**2):
            message = bytes(nbytes)
            answer = bytearray(nbytes)
            started = time.perf_counter()
            # The read is posted first, so that the answer is copied straight into `answer`.
            request = channel.iread(answer)
            channel.write(message)
            request.wait(timeout=10)
            seconds = time.perf_counter() - started
            assert answer == message
            print(f"{nbytes:>10} bytes there and back in {seconds * 1e6:10.1f} us")
        print(channel.explain(16 * 1024**2))  # which mechanism large messages used, and why


if __name__ == "__main__":
    main()
