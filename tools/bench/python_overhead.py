"""Seconds of the command and of Python on the same arrays; fails where their numbers differ by a byte.

    python tools/bench/python_overhead.py [STEPS] [TIMES]      in an environment with the wheel
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import vitscope as vs
from vitscope import _vitscope

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 2
TRAIN, TEST, SIDE, WIDTH, CLASSES, PATCH = 240, 48, 20, 384, 8, 16


def drawn(rng, means, images):
    classes = rng.integers(0, CLASSES, (images, SIDE, SIDE))
    features = means[classes] + rng.normal(size=(images, SIDE, SIDE, WIDTH))
    masks = classes.repeat(PATCH, 1).repeat(PATCH, 2).astype(np.uint8)
    return features.reshape(images, SIDE * SIDE, WIDTH).astype(np.float32), masks


def on_disk(root, splits):
    """The same as a feature directory and a folder of masks, for the command."""
    features, data = root / "features", root / "data"
    features.mkdir()
    for split, (rows, masks) in splits.items():
        writer = _vitscope.FeatureWriter(features, split, [("token.1", WIDTH)], [SIDE, SIDE], len(rows))
        writer.add([rows])
        for kind in ("images", "masks"):
            (data / kind / split).mkdir(parents=True)
        for index, mask in enumerate(masks):
            gray = np.full((*mask.shape, 3), 128, np.uint8)
            _vitscope.png_of(gray, data / "images" / split / f"{index:06}.png")
            _vitscope.png_of(mask, data / "masks" / split / f"{index:06}.png")
    (data / "classes.txt").write_text("".join(f"{index}\n" for index in range(CLASSES)))
    about = '{"model": "features", "patch": 16, "size": 320, "depth": 1}'
    (features / "features.json").write_text(about)
    return features, data


def main():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, WIDTH))
    train, test = drawn(rng, means, TRAIN), drawn(rng, means, TEST)
    best = {}

    def timed(name, work, whose=resource.RUSAGE_SELF):
        def cpu():
            used = resource.getrusage(whose)
            return used.ru_utime + used.ru_stime

        before, start = cpu(), time.monotonic()
        work()
        spent, wall = cpu() - before, time.monotonic() - start
        old = best.get(name, (spent, wall))
        best[name] = (min(old[0], spent), min(old[1], wall))

    settings = {"steps": STEPS, "batch": 24, "pca_batches": 10}
    flags = ["--steps", str(STEPS), "--batch", "24", "--pca-batches", "10"]
    program = Path(sys.executable).parent / "vitscope"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        features, data = on_disk(root, {"train": train, "test": test})
        for turn in range(TIMES):
            command = [program, "probe", "--features", features, "--data", data, "--out", root / f"c{turn}", *flags]
            run = lambda: subprocess.run(command, check=True, capture_output=True)
            timed("vitscope probe --features", run, resource.RUSAGE_CHILDREN)
            timed("vs.probe(features=)", lambda: vs.probe(features=features, data=data, out=root / f"p{turn}", **settings))
            timed("vs.probe_features(arrays)", lambda: vs.probe_features(train, test, grid=SIDE, out=root / f"a{turn}", **settings))
            timed("vs.Probe: fit, score", lambda: vs.Probe(CLASSES, grid=SIDE, **settings).fit(train[0]).score(*test))
        numbers = {(root / name / "metrics.csv").read_bytes() for name in ("c0", "p0", "a0")}
        assert len(numbers) == 1, "the numbers differ"
    first = next(iter(best.values()))[0]
    for name, (spent, wall) in best.items():
        print(f"{name:28} cpu {spent:6.2f} s  wall {wall:6.2f} s  cpu to the command's {spent / first:.3f}")


main()
