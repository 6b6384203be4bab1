"""Writes small image files in forms that few programs write, and what Pillow makes of them.

    python tools/geometry/record_forms.py crates/vitscope-data/tests/golden

Recorded with Python 3.11, Pillow 13.0.0, numpy 2.4.6. Each FORM.* has a FORM.rgb beside it: its
pixels as 8-bit RGB, upright, alpha dropped. YCCK is the CMYK file with its Adobe flag set to 2.
interlaced.png holds the label (3x + 5y) mod 16 at column x and row y.
"""

import struct
import sys
import zlib
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


def interlaced(path, values):
    """A 4-bit palette PNG in Adam7 order, which Pillow reads and does not write."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    data = b""
    for x0, y0, dx, dy in passes:
        part = values[y0::dy, x0::dx]
        if part.size:
            part = np.pad(part, ((0, 0), (0, part.shape[1] % 2)))
            rows = (part[:, ::2] << 4 | part[:, 1::2]).astype(np.uint8)
            data += b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 1)
    palette = bytes(range(255, 255 - 48, -1))
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks))
    assert (np.asarray(Image.open(path)) == values).all()


y, x = np.mgrid[0:11, 0:13]
interlaced(folder / "interlaced.png", (x * 3 + y * 5) % 16)
