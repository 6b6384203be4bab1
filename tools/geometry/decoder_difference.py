"""How far vitscope-data's decoding is from Pillow's (libjpeg-turbo), and how long each takes.

    cargo build --release -p vitscope-data --example decode
    python tools/geometry/decoder_difference.py TARGET/release/examples/decode DIRECTORY

Takes every JPEG below DIRECTORY. Written for Python 3.11, Pillow 13.0.0, numpy 2.4.6, torchvision
0.29.2.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Resize


def best(run):
    times = []
    for _ in range(9):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def upright(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


program, directory = sys.argv[1:]
paths = sorted(p for p in Path(directory).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
with tempfile.TemporaryDirectory() as out:
    lines = subprocess.run([program, out, *map(str, paths)], check=True, capture_output=True, text=True).stdout
    most, total, differing, count, crop_most, crop_differing, crop_count = 0, 0, 0, 0, 0, 0, 0
    crop = [Resize(320), CenterCrop(320)]
    worst = []
    for index, path in enumerate(paths):
        theirs = upright(path)
        ours = Image.open(Path(out) / f"{index}.ppm")
        d = np.abs(np.asarray(theirs, np.int16) - np.asarray(ours, np.int16))
        most, total, differing, count = max(most, d.max()), total + d.sum(), differing + (d > 0).sum(), count + d.size
        worst.append((d.mean(), d.max(), path.name))
        d = np.abs(*[np.diff([np.asarray(crop[1](crop[0](i)), np.int16) for i in (theirs, ours)], axis=0)])
        crop_most, crop_differing = max(crop_most, d.max()), crop_differing + (d > 0).sum()
        crop_count += d.size
print(f"{len(paths)} JPEGs: max {most}, mean {total / count:.6f}, share {differing / count:.4%}")
print(f"after the 320 crop: max {crop_most}, share {crop_differing / crop_count:.4%}")
print("largest means:", sorted(worst)[-3:])

ours, theirs, size = [], [], []
for path, line in zip(paths, lines.splitlines()):
    w, h, decode, resize, whole = re.search(r" (\d+)x(\d+) decode (\S+) resize (\S+) file-to-crop (\S+) ms", line).groups()
    if int(w) * int(h) < 280_000:
        continue
    image = upright(path)
    ours.append([float(decode), float(resize), float(whole)])
    theirs.append([
        best(lambda: Image.open(path).convert("RGB")),
        best(lambda: crop[0](image)),
        best(lambda: crop[1](crop[0](Image.open(path).convert("RGB")))),
    ])  # fmt: skip
    size.append(int(w) * int(h))
print(f"{len(ours)} JPEGs of more than 280,000 pixels, mean {np.mean(size):.0f}; ms decode, resize, file to crop")
print("ours  ", np.mean(ours, 0).round(3), "Pillow", np.mean(theirs, 0).round(3))
