"""Records what Pillow and torchvision make of made-up images, for the tests of vitscope-data.

    python tools/geometry/record_golden.py crates/vitscope-data/tests/golden

Recorded with Python 3.11, Pillow 13.0.0, numpy 2.4.6, torch 2.15.0, torchvision 0.29.2.
Inputs are made by a formula that the tests repeat, so only results are stored: small ones in
full, large ones by their SHA-256.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize


def noise(count, seed):
    """Bytes of a small integer hash of their index."""
    v = (np.arange(count, dtype=np.uint64) + np.uint64(seed * 7919)) * np.uint64(2654435761)
    v &= np.uint64(0xFFFFFFFF)
    v ^= v >> np.uint64(15)
    v = (v * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    v ^= v >> np.uint64(13)
    return ((v >> np.uint64(8)) & np.uint64(255)).astype(np.uint8)


def picture(width, height, seed):
    """Seeds that divide by three: extremes only; others: noise over a ramp."""
    v = noise(width * height * 3, seed).reshape(height, width, 3)
    if seed % 3 == 0:
        return np.where(v < 128, 0, 255).astype(np.uint8)
    if seed % 3 == 1:
        return v
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return ((x * 3 + y * 2 + c * 40 + v // 8) % 256).astype(np.uint8)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def resizes():
    sizes = [
        (4, 3, 2, 2), (5, 7, 3, 4), (3, 3, 7, 5), (1, 1, 4, 4), (1, 9, 3, 2), (9, 1, 2, 3), (2, 2, 5, 5),
        (16, 16, 16, 5), (16, 16, 5, 16), (13, 17, 13, 17), (640, 480, 426, 320), (480, 640, 320, 426),
        (500, 375, 426, 320), (375, 500, 320, 426), (500, 333, 480, 320), (481, 321, 479, 320),
        (2048, 1024, 640, 320), (320, 240, 426, 320), (100, 80, 400, 320), (1024, 768, 429, 322),
        (683, 512, 427, 320), (480, 360, 426, 320), (480, 360, 429, 322), (1999, 1, 320, 1), (37, 911, 320, 17),
        (640, 427, 479, 320), (640, 640, 320, 320), (333, 500, 224, 336), (31, 29, 322, 322), (1000, 17, 7, 299),
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    sizes += [tuple(int(n) for n in rng.integers(1, 400, 4)) for _ in range(40)]
    records = []
    for seed, (w, h, nw, nh) in enumerate(sizes):
        out = np.asarray(Image.fromarray(picture(w, h, seed)).resize((nw, nh), Image.Resampling.BILINEAR))
        record = {"seed": seed, "from": [w, h], "to": [nw, nh], "sha256": sha(out)}
        if out.size <= 90:
            record["pixels"] = out.ravel().tolist()
        records.append(record)
    return records


def crops():
    records = []
    sizes = [
        (640, 480), (480, 640), (500, 375), (375, 500), (481, 321), (321, 481), (2048, 1024), (320, 240),
        (100, 80), (683, 512), (480, 360), (320, 320), (322, 322), (640, 427), (427, 320), (429, 320), (320, 431),
        (17, 5), (333, 500), (640, 359), (1, 1), (161, 322), (322, 483), (480, 480), (700, 480), (1920, 1080),
    ]  # fmt: skip
    rng = np.random.default_rng(6)
    sizes += [tuple(int(n) for n in rng.integers(20, 700, 2)) for _ in range(30)]
    for seed, (w, h) in enumerate(sizes):
        image = picture(w, h, seed)
        label = noise(w * h, seed + 1000).reshape(h, w)
        for size in (320, 322, 32, 224):
            if size in (32, 224) and seed % 3:
                continue
            both = [
                CenterCrop(size)(Resize(size, mode)(Image.fromarray(array)))
                for array, mode in ((image, InterpolationMode.BILINEAR), (label, InterpolationMode.NEAREST))
            ]
            records.append({
                "seed": seed, "from": [w, h], "size": size,
                "image_sha256": sha(np.asarray(both[0])), "label_sha256": sha(np.asarray(both[1])),
            })  # fmt: skip
    return records


def main():
    folder = Path(sys.argv[1])
    for name, records in (("resize", resizes()), ("crop", crops())):
        lines = ",\n".join(json.dumps(record) for record in records)
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(name, len(records))


main()
