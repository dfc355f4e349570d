# SPDX-License-Identifier: BSD-3-Clause
"""A pipeline of three processes: one makes frames, one filters them, one looks at the result.

    python examples/frames.py [number of frames]

Each stage works on one frame while the one before comes in and the one after goes out. So there
are three buffers in the middle, which take turns. Nothing is copied but from buffer to buffer.
"""

import multiprocessing
import sys

import numpy as np

import adma

SHAPE = (720, 1280)


def make(out: adma.Channel, frames: int) -> None:
    """The camera. A write returns when the next stage has the frame."""
    for number in range(frames):
        out.write(np.full(SHAPE, number, np.float32))
    out.close()


def smooth(frame: np.ndarray, into: np.ndarray) -> None:
    into[1:-1] = (frame[:-2] + frame[1:-1] + frame[2:]) / 3
    into[0], into[-1] = frame[0], frame[-1]


def filter_frames(into: adma.Channel, out: adma.Channel) -> None:
    frames = [np.empty(SHAPE, np.float32) for _ in range(2)]
    results = [np.empty(SHAPE, np.float32) for _ in range(2)]
    going: list[adma.Request | None] = [None, None]
    coming = into.iread(frames[0])
    turn = 0
    while True:
        try:
            coming.wait()
        except adma.ChannelClosed:
            break  # there are no more frames
        coming = into.iread(frames[1 - turn])  # the next one, while this one is worked on
        sent = going[turn]
        if sent:
            sent.wait()  # the last but one: its buffer is used again now
        smooth(frames[turn], results[turn])
        going[turn] = out.iwrite(results[turn])
        turn = 1 - turn
    out.close()  # waits until what was posted is read


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    context = multiprocessing.get_context("spawn")
    camera, from_camera = adma.pipe()
    to_screen, screen = adma.pipe()
    stages = [
        context.Process(target=make, args=(camera, frames)),
        context.Process(target=filter_frames, args=(from_camera, to_screen)),
    ]
    for stage in stages:
        stage.start()
    for end in (camera, from_camera, to_screen):
        end.close()  # the copies of this process: it only looks at the screen
    frame, seen = np.empty(SHAPE, np.float32), 0
    with screen:
        while True:
            try:
                screen.read(frame)
            except adma.ChannelClosed:
                break
            assert frame.mean() == seen, "a frame is missing"
            seen += 1
    for stage in stages:
        stage.join()
    print(f"{seen} frames came through")


if __name__ == "__main__":
    main()
