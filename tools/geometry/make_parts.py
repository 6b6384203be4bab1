"""Makes crates/vitscope-data/tests/golden/parts/Annotations_Part: small annotations in the form of PASCAL-Part
(a MATLAB 5 file with nested structures), whose shapes are drawn here and show nothing real.

    python tools/geometry/make_parts.py DIRECTORY

Made with Python 3.11, SciPy 1.17.1, numpy 2.4.6. `record_parts.py` says what they hold.
"""

import sys
from pathlib import Path

import numpy as np
import scipy.io

out = Path(sys.argv[1]) / "Annotations_Part"
out.mkdir(parents=True, exist_ok=True)


def disk(shape, row, column, radius):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.uint8)


def animal(shape, kind, number, row, column, radius, parts):
    """A disk, with smaller disks on it: (name, rows down, columns right, radius)."""
    made = np.zeros((1, len(parts)), [("part_name", object), ("mask", object)])
    for i, (name, down, right, small) in enumerate(parts):
        made[0, i] = (name, disk(shape, row + down, column + right, small))
    if not parts:
        made = np.zeros((0, 0))
    return (kind, number, disk(shape, row, column, radius), made)


def write(stem, shape, animals, compressed):
    objects = np.zeros((1, len(animals)), [(n, object) for n in ("class", "class_ind", "mask", "parts")])
    for i, one in enumerate(animals):
        objects[0, i] = animal(shape, *one)
    anno = np.zeros((1, 1), [("imname", object), ("objects", object)])
    anno[0, 0] = (stem, objects)
    scipy.io.savemat(out / f"{stem}.mat", {"anno": anno}, do_compression=compressed)


bird = [("head", -12, 0, 7), ("beak", -14, 5, 3), ("torso", 2, 0, 12), ("lwing", 0, -9, 8), ("lleg", 14, 3, 3), ("tail", 9, -13, 4)]
dog = [("head", -10, 14, 9), ("lear", -17, 12, 3), ("muzzle", -8, 21, 4), ("torso", 2, -2, 17), ("neck", -5, 9, 5),
       ("lfleg", 18, 10, 4), ("rbleg", 18, -12, 4), ("rbpa", 22, -12, 3), ("tail", -6, -20, 4)]
cow = [("head", -4, 16, 8), ("lhorn", -13, 18, 2), ("torso", 0, -4, 18), ("lfuleg", 16, 8, 4), ("lflleg", 21, 8, 3), ("tail", -2, -22, 3)]
# One bird, alone; a large dog with a person before it, who hides a part; a cow and a bird, the second in front;
# a person alone, whom nobody asks for; a bird without parts.
write("2008_000001", (75, 100), [("bird", 3, 40, 45, 22, bird)], True)
write("2008_000002", (100, 75), [("dog", 12, 50, 36, 33, dog), ("person", 15, 60, 60, 20, [("head", -10, 0, 8)])], True)
write("2008_000003", (64, 120), [("cow", 10, 34, 40, 29, cow), ("bird", 3, 30, 70, 18, bird)], False)
write("2008_000004", (60, 60), [("person", 15, 30, 30, 25, [("head", -15, 0, 8)])], True)
write("2008_000005", (60, 80), [("bird", 3, 30, 30, 20, [])], True)
