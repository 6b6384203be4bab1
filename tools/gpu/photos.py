"""Writes a `folder` data set of made photographs (JPEG, 480 x 360) with masks: python3 photos.py OUT TRAIN TEST."""
import os
import sys
from multiprocessing import Pool

import numpy as np
from PIL import Image

OUT = sys.argv[1]


def make(job):
    split, i = job
    rng = np.random.default_rng([i, len(split)])
    picture = 0
    for side, weight in ((2, 2), (9, 4), (40, 8), (90, 8)):
        noise = (rng.random((side * 3, side * 4, 3)) * 255).astype(np.uint8)
        picture = picture + np.asarray(Image.fromarray(noise).resize((480, 360), 3), dtype=float) / weight
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(f"{OUT}/images/{split}/{i:04}.jpg", quality=88)
    mask = (rng.random((9, 12)) * 7.99).astype(np.uint8)
    Image.fromarray(mask).resize((480, 360), 0).save(f"{OUT}/masks/{split}/{i:04}.png")


if __name__ == "__main__":
    counts = {"train": int(sys.argv[2]), "test": int(sys.argv[3])}
    for split in counts:
        for kind in ("images", "masks"):
            os.makedirs(f"{OUT}/{kind}/{split}", exist_ok=True)
    with Pool(os.cpu_count()) as pool:
        pool.map(make, [(split, i) for split, count in counts.items() for i in range(count)], chunksize=8)
