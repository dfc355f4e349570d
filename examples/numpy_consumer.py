# SPDX-License-Identifier: BSD-3-Clause
"""This program receives the arrays of numpy_producer.py, each into an array of its own.

    python examples/numpy_consumer.py [name]

Start numpy_producer.py first.
"""

import sys

import numpy as np

import adma


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "arrays"
    with adma.connect(name, timeout=5) as channel:
        # recv() unpickles, so by default it works only between processes of one user.
        while (header := channel.recv()) is not None:
            array = np.empty(header["shape"], header["dtype"])
            nbytes = channel.read(array)
            assert nbytes == array.nbytes
            print(f"got {array.dtype}{list(array.shape)}, sum {array.sum():.6f}")


if __name__ == "__main__":
    main()
