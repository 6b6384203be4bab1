"""Pairs of made photographs in SPair-71k's layout: python3 pairs.py PHOTOS OUT.

The training images of a folder that photos.py wrote become categories of 100, and each category 680 pairs of seven keypoints,
as many to a photograph as SPair-71k has.
"""
import json
import os
import random
import shutil
import sys

PHOTOS, OUT = sys.argv[1:]
SIZE = [480, 360, 3]
CATEGORIES = ["aeroplane", "bicycle", "bird", "boat", "bottle", "bus"]

random.seed(0)
names = sorted(os.listdir(f"{PHOTOS}/images/train"))
for folder in ("PairAnnotation/test", "Layout/large"):
    os.makedirs(f"{OUT}/{folder}", exist_ok=True)
listed = []
for number, category in enumerate(CATEGORIES):
    mine = names[100 * number : 100 * (number + 1)]
    if len(mine) < 2:
        break
    os.makedirs(f"{OUT}/JPEGImages/{category}", exist_ok=True)
    for name in mine:
        shutil.copy(f"{PHOTOS}/images/train/{name}", f"{OUT}/JPEGImages/{category}/{name}")
    # Every photograph has its own keypoints, which all of its pairs share.
    points = {name: [[random.randrange(480), random.randrange(360)] for _ in range(7)] for name in mine}
    for pair in range(680 * len(mine) // 100):
        source, target = random.sample(mine, 2)
        name = f"{len(listed):06}-{source[:-4]}-{target[:-4]}:{category}"
        about = {
            "src_imname": source, "trg_imname": target, "src_imsize": SIZE, "trg_imsize": SIZE,
            "src_bndbox": [20, 20, 460, 340], "trg_bndbox": [20, 20, 460, 340], "category": category,
            "src_kps": points[source], "trg_kps": points[target], "kps_ids": [str(i) for i in range(7)],
        }
        with open(f"{OUT}/PairAnnotation/test/{name}.json", "w") as file:
            json.dump(about, file)
        listed.append(name)
with open(f"{OUT}/Layout/large/test.txt", "w") as file:
    file.write("".join(f"{name}\n" for name in listed))
