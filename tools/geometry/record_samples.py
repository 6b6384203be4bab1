"""Prints the constants of crates/vitscope-data/tests/suite/sample_sets.rs.

    python tools/geometry/record_samples.py DIRECTORY_OF_SAMPLE_SETS

Recorded with Python 3.11, Pillow 13.0.0, numpy 2.4.6, torchvision 0.29.2.
"""

import hashlib
import sys
from glob import glob
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

root = Path(sys.argv[1])


def crop(path, size, mode):
    image = Image.open(path)
    return np.asarray(CenterCrop(size)(Resize(size, mode)(image)))


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


total = np.zeros(12, int)
for file in sorted(glob(str(root / "camvid/testannot/*.png"))):
    total += np.bincount(np.asarray(Image.open(file))[:, 60:420].ravel(), minlength=12)
print(f"const CAMVID_COUNTS: [u64; 12] = {total.tolist()};")
print(f'const UNLABELED: usize = {len([p for p in (root / "unlabelled").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg")])};')

print("#[rustfmt::skip]")
print("const SAMPLES: [(&str, usize, usize, Option<&str>, &str); 10] = [")
camvid = np.array([*range(11), *[255] * 245], np.uint8)
same = np.arange(256, dtype=np.uint8)
ade = np.array([255, *range(150), *[255] * 105], np.uint8)
for folder, images, masks, table, indices in (
    ("camvid", "test/*.png", "testannot/*.png", camvid, (0, 47, 93)),
    ("voc-layout", "JPEGImages/*.jpg", "SegmentationClass/*.png", same, (1,)),
    ("ade20k", "images/validation/*.jpg", "annotations/validation/*.png", ade, (0,)),
):
    for index in indices:
        image, mask = (sorted(glob(str(root / folder / p)))[index] for p in (images, masks))
        for size in (320, 322):
            label = sha(table[crop(mask, size, InterpolationMode.NEAREST)])
            # JPEG decoders differ, so only the PNG images are compared.
            pixels = f'Some("{sha(crop(image, size, InterpolationMode.BILINEAR))}")' if image.endswith("png") else "None"
            print(f'    ("{folder}", {index}, {size}, {pixels}, "{label}"),')
print("];")
