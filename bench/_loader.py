"""A data loader beside training: draws, crops, flips and normalises images in a process of its own.

Reads a number of seconds a line and answers with images a second over so long.
"""

from __future__ import annotations

import sys
import time

import numpy as np

IMAGES, SIZE, CROP, BATCH = 512, 96, 80, 64


def main() -> None:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)
    mean = np.float32([123.7, 116.3, 103.5])
    out = np.empty((BATCH, 3, CROP, CROP), np.float32)
    for line in sys.stdin:
        until, done, begun = float(line), 0, time.perf_counter()
        while time.perf_counter() - begun < until:
            for k, image in enumerate(draw.integers(0, IMAGES, BATCH)):
                top, left = draw.integers(0, SIZE - CROP, 2)
                cut = images[image, top : top + CROP, left : left + CROP]
                cut = cut[:, ::-1] if draw.random() < 0.5 else cut
                np.multiply((cut - mean).transpose(2, 0, 1), 1 / 58, out=out[k])
            done += BATCH
        print(done / (time.perf_counter() - begun), flush=True)


if __name__ == "__main__":
    main()
