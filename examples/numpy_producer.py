# SPDX-License-Identifier: BSD-3-Clause
"""Makes arrays and hands them to numpy_consumer.py. Start this one first.

    python examples/numpy_producer.py [name]

Each array travels as two messages: a small object that tells shape and dtype, then the
bytes, copied from this array into the consumer's and nowhere else on the way.
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
            channel.send(None)  # no more


if __name__ == "__main__":
    main()
