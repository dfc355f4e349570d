# SPDX-License-Identifier: BSD-3-Clause
"""This program makes arrays and sends them to numpy_consumer.py, which you start second.

    python examples/numpy_producer.py [name]

Each array travels as two messages. The first one is a small object with shape and dtype. The second
one is the bytes. They go from this array into the consumer's; neither program has a buffer between.
"""

import sys

import numpy as np

import adma

SHAPES = [(3,), (480, 640), (64, 256, 256)]


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "arrays"
    with adma.listen(name) as server:
        print(f"listening as {name!r}", flush=True)
        with server.accept() as channel:
            for seed, shape in enumerate(SHAPES):
                array = np.random.default_rng(seed).random(shape)
                channel.send({"shape": array.shape, "dtype": array.dtype.str})
                channel.write(array)
                print(f"sent {array.dtype}{list(array.shape)}, sum {array.sum():.6f}")
            channel.send(None)  # there are no more arrays


if __name__ == "__main__":
    main()
