"""Makes JPEGs of every form that tests/golden/jpeg keeps some of, and records what Pillow makes of them.

    python tools/geometry/record_jpegs.py OUT

Needs Pillow, numpy, and cjpeg of libjpeg-turbo (package libjpeg-turbo-progs). Recorded with Pillow 13.0.0
(libjpeg-turbo 3.2.0) and cjpeg 2.1.5. Every file lies in OUT as NAME.jpg with its pixels in NAME.jpg.rgb, and
forms.json holds the sizes, or why Pillow refuses the file. Names say what is special: `ad_ys_0_mid` has Adobe's
segment of transform 0 between the tables of a file with color at half resolution.
"""

import glob
import io
import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image

OUT = sys.argv[1]
os.makedirs(OUT, exist_ok=True)


def pic(w, h):
    y, x = np.mgrid[:h, :w]
    a = np.stack([(x * 5) % 256, (y * 7) % 256, ((x // 8 + y // 8) % 2) * 200], -1).astype(np.uint8)
    return a


def ppm(a):
    h, w = a.shape[:2]
    return (b"P6" if a.ndim == 3 else b"P5") + f"\n{w} {h}\n255\n".encode() + a.tobytes()


def cj(name, a, *args):
    p = subprocess.run(["cjpeg", "-quality", "92", *args], input=ppm(a), capture_output=True)
    if p.returncode or not p.stdout:
        print("cjpeg", name, p.stderr)
        return None
    open(f"{OUT}/{name}.jpg", "wb").write(p.stdout)
    return p.stdout


samples = [
    "1x1",
    "2x1",
    "1x2",
    "2x2",
    "4x1",
    "1x4",
    "4x2",
    "2x4",
    "4x4",
    "3x1",
    "1x3",
    "3x2",
    "1x1,2x2,2x2",
    "2x2,1x2,2x1",
    "2x2,2x1,2x1",
    "2x2,1x1,2x2",
    "2x1,1x1,2x1",
    "1x2,1x1,1x2",
    "2x2,2x2,1x1",
    "1x1,1x2,1x1",
]
for w, h in ((64, 48), (37, 29), (1, 1), (7, 5), (100, 3)):
    for s in samples:
        for prog in (0, 1):
            cj(
                f's{s.replace(",","_")}_{w}x{h}_{"p" if prog else "b"}',
                pic(w, h),
                "-sample",
                s,
                *(["-progressive"] if prog else []),
            )
a = pic(64, 48)
g = a[..., 0].copy()
for s in ("1x1", "2x2", "2x1", "4x4"):
    cj(f"grey_{s}_b", g, "-grayscale", "-sample", s)
    cj(f"grey_{s}_p", g, "-grayscale", "-progressive", "-sample", s)
open(OUT + "/seq.txt", "w").write("0;\n1;\n2;\n")

cj("noninter", a, "-scans", OUT + "/seq.txt")
cj("noninter22", a, "-sample", "2x2", "-scans", OUT + "/seq.txt")
open(OUT + "/seq2.txt", "w").write("0;\n1 2;\n")
cj("part", a, "-scans", OUT + "/seq2.txt")
cj("part22", pic(37, 29), "-sample", "2x2", "-scans", OUT + "/seq2.txt")
cj("restart", a, "-restart", "1")
cj("restartb", pic(37, 29), "-restart", "2B")
cj("restartp", pic(37, 29), "-restart", "1", "-progressive")
cj("arith", a, "-arithmetic")
cj("rgb", a, "-rgb")
cj("rgb_p", a, "-rgb", "-progressive")
cj("rgb22", a, "-rgb", "-sample", "2x2")
cj("opt", a, "-optimize")
cj("q1", a, "-quality", "1")
cj("q100", a, "-quality", "100")
cj("base", a, "-baseline", "-quality", "5")
base = cj("jfif", a)


def segs(b):
    i = 2
    out = []
    while True:
        m = b[i + 1]
        l = b[i + 2] * 256 + b[i + 3]
        if m == 0xDA:
            return out, b[i:]
        out.append((m, b[i + 4 : i + 2 + l]))
        i += 2 + l


def put(name, ss, scan):
    b = b"\xff\xd8"
    for m, p in ss:
        b += bytes([255, m]) + (len(p) + 2).to_bytes(2, "big") + p
    open(f"{OUT}/{name}.jpg", "wb").write(b + scan)


def adobe(t, v=100):
    return (0xEE, b"Adobe" + v.to_bytes(2, "big") + b"\0\0\0\0" + bytes([t]))


for nm, src in (
    ("y", base),
    ("ys", cj("t22", pic(37, 29), "-sample", "2x2")),
    ("prog", cj("tp", a, "-progressive", "-sample", "2x1")),
):
    ss, scan = segs(src)
    noj = [x for x in ss if x[0] != 0xE0]
    for t in (0, 1, 2, 3, 255):
        put(f"ad_{nm}_{t}_first", [adobe(t)] + noj, scan)
        put(f"ad_{nm}_{t}_mid", noj[:1] + [adobe(t)] + noj[1:], scan)
        put(f"ad_{nm}_{t}_last", noj + [adobe(t)], scan)
        put(f"ad_{nm}_{t}_jfif", ss[:1] + [adobe(t)] + ss[1:], scan)
        put(f"ad_{nm}_{t}_jfifafter", [adobe(t)] + ss, scan)
    put(f"none_{nm}", noj, scan)
    put(f"short_{nm}", [(0xEE, b"Adobe\0d")] + noj, scan)
    put(f"long_{nm}", [(0xEE, adobe(1)[1] + b"x" * 20)] + noj, scan)
    put(f"two_{nm}", [adobe(0), adobe(1)] + noj, scan)
    put(f"dac_{nm}", [(0xCC, b"\0\0")] + noj, scan)
    put(f"com_{nm}", [(0xFE, b"hello")] + noj, scan)
    put(f"jfifbad_{nm}", [(0xE0, b"JFIF\0")] + noj, scan)
    put(f"iccbad_{nm}", [(0xE2, b"ICC_PROFILE\0\x05\x01zzz")] + ss, scan)
    put(
        f"xmp_{nm}",
        [(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + b"\xff\xff\xff\xff" + b"\0\0\0\0zz")]
        + ss,
        scan,
    )
    put(f"app1odd_{nm}", [(0xE1, b"Exif")] + ss, scan)
    put(f"app13odd_{nm}", [(0xED, b"Photoshop 3.0\0xx")] + ss, scan)
    put(f"nodht_{nm}", [x for x in ss if x[0] != 0xC4], scan)
    open(f"{OUT}/trail_{nm}.jpg", "wb").write(src + b"\0" * 100)
    open(f"{OUT}/mpo_{nm}.jpg", "wb").write(src + src)
    # fill bytes and stray bytes between segments
    b = b"\xff\xd8"
    for m, p in ss:
        b += b"\xff\xff" + bytes([m]) + (len(p) + 2).to_bytes(2, "big") + p
    open(f"{OUT}/fill_{nm}.jpg", "wb").write(b + scan)
    b = b"\xff\xd8"
    for m, p in ss:
        b += bytes([255, m]) + (len(p) + 2).to_bytes(2, "big") + p + b"\0\0"
    open(f"{OUT}/stray_{nm}.jpg", "wb").write(b + scan)

    # letters
    def ids(ss, scan, new):
        out = []
        for m, p in ss:
            if m in (0xC0, 0xC1, 0xC2):
                p = bytearray(p)
                for k in range(3):
                    p[6 + 3 * k] = new[k]
                p = bytes(p)
            out.append((m, p))
        return out

    def scanids(scan, old, new):
        b = bytearray(scan)
        i = 0
        while i < len(b) - 1:
            if b[i] == 0xFF and b[i + 1] == 0xDA:
                n = b[i + 4]
                for k in range(n):
                    b[i + 5 + 2 * k] = new[old.index(b[i + 5 + 2 * k])]
                i += 4
            i += 1
        return bytes(b)

    for k, new in (
        ("RGB", b"RGB"),
        ("rgb", b"rgb"),
        ("012", b"\0\1\2"),
        ("weird", b"\x09\x04\x33"),
        ("BGR", b"BGR"),
    ):
        s2 = scanids(scan, [1, 2, 3], new)
        put(f"ids{k}_{nm}_none", ids(noj, scan, new), s2)
        put(f"ids{k}_{nm}_jfif", ids(ss, scan, new), s2)
        for t in (0, 1, 2):
            put(f"ids{k}_{nm}_ad{t}", [adobe(t)] + ids(noj, scan, new), s2)
im = Image.fromarray(pic(37, 29)).convert("CMYK")
for sub in (0, 1, 2):
    bio = io.BytesIO()
    im.save(bio, "JPEG", quality=92, subsampling=sub)
    b = bio.getvalue()
    open(f"{OUT}/cmyk{sub}.jpg", "wb").write(b)
    bio = io.BytesIO()
    im.save(bio, "JPEG", quality=92, subsampling=sub, progressive=True)
    open(f"{OUT}/cmykp{sub}.jpg", "wb").write(bio.getvalue())
    ss, scan = segs(b)
    n = [x for x in ss if x[0] != 0xEE]
    put(f"cmyk{sub}_none", n, scan)
    for t in (0, 1, 2, 7):
        put(f"cmyk{sub}_ad{t}", n + [adobe(t)], scan)
ok = {}
for f in sorted(glob.glob(OUT + "/*.jpg")):
    try:
        i = Image.open(f)
        i.load()
        a = np.asarray(i.convert("RGB"))
        a.tofile(f + ".rgb")
        ok[f] = list(a.shape[:2])
    except Exception as e:
        ok[f] = str(e)
json.dump(ok, open(OUT + "/forms.json", "w"), indent=0)
print(len(ok), [(k, v) for k, v in ok.items() if isinstance(v, str)])
