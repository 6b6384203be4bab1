"""Prints the constants of crates/vitscope-data/tests/suite/annotations.rs.

    python tools/geometry/record_parts.py DIRECTORY_OF_PASCAL_PART TABLES.json [SIZE]

Reads and paints PASCAL-Part annotations with SciPy, independently of the Rust reader. The tables
give the animals and the group of each part; SIZE is the side of the crop (320). Recorded with Python 3.11, SciPy 1.17.1, Pillow 13.0.0,
numpy 2.4.6.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

side = int(sys.argv[3]) if len(sys.argv) > 3 else 320
tables = json.load(open(sys.argv[2]))["pascal_part"]
group, index, animals = tables["part_to_group"], tables["group_index"], tables["animals"]

for file in sorted(Path(sys.argv[1]).glob("Annotations_Part/*.mat")):
    objects = scipy.io.loadmat(file)["anno"]["objects"][0, 0]
    labels, any_parts = None, False
    for i in range(objects.shape[1]):
        obj = objects[0, i]
        mask = obj["mask"] > 0
        if labels is None:
            labels = np.zeros(mask.shape, np.uint8)
        if str(obj["class"][0]) not in animals:
            labels[mask] = 0
            continue
        labels[mask] = 255
        parts = obj["parts"]
        for j in range(parts.shape[1] if parts.dtype.names else 0):
            labels[parts[0, j]["mask"] > 0] = index[group[str(parts[0, j]["part_name"][0])]]
            any_parts = True
    if not any_parts:
        continue
    image = Image.fromarray(labels)
    w, h = image.size
    size = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    left, top = (int(round((length - side) / 2)) for length in size)
    crop = np.asarray(image.resize(size, Image.NEAREST).crop((left, top, left + side, top + side)))
    counts = np.bincount(labels.ravel(), minlength=256)[[0, 1, 2, 3, 4, 5, 255]].tolist()
    print(f'    ("{file.stem}", {counts}, "{hashlib.sha256(crop.tobytes()).hexdigest()}"),')
