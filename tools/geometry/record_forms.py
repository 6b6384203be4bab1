"""Writes small image files in forms that few programs write, and what Pillow makes of them.

    python tools/geometry/record_forms.py crates/vitscope-data/tests/golden

Recorded with Python 3.11, Pillow 13.0.0, numpy 2.4.6. Each FORM.* has a FORM.rgb beside it: its
pixels as 8-bit RGB, upright, alpha dropped. YCCK is the CMYK file with its Adobe flag set to 2.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

folder = Path(sys.argv[1])
y, x, c = np.mgrid[0:24, 0:32, 0:4]
smooth = (128 + 90 * np.sin(x / 9 + c) * np.cos(y / 7 - c)).astype(np.uint8)


def record(name, path):
    pixels = ImageOps.exif_transpose(Image.open(path))
    (folder / f"{name}.rgb").write_bytes(np.asarray(pixels.convert("RGB")).tobytes())


cmyk = folder / "cmyk.jpg"
Image.fromarray(smooth, "CMYK").save(cmyk, quality=95, subsampling=0)
record("cmyk", cmyk)
data = cmyk.read_bytes()
at = data.index(b"Adobe") + 11
ycck = folder / "ycck.jpg"
ycck.write_bytes(data[:at] + b"\x02" + data[at + 1 :])
record("ycck", ycck)

exif = Image.Exif()
for orientation in range(1, 9):
    exif[274] = orientation
    path = folder / f"turned{orientation}.jpg"
    Image.fromarray(smooth[..., :3]).save(path, quality=95, subsampling=0, exif=exif)
    record(f"turned{orientation}", path)
