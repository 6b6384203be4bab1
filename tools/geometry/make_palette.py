"""Prints the cluster palette of crates/vitscope-data/src/palette.rs.

A greedy choice: of a lattice of sRGB colors, always the one farthest in CIELAB from all before it,
where the distance is the least of that under normal vision and 1.5 times those under protanopia and
deuteranopia. The first 20 are of moderate chroma, which print can show; then stronger ones. Colors
near black, white and grey are left out: figures use them for the page, for text and for pixels
without a label. Deficiencies are simulated as Machado, Oliveira and Fernandes (2009) do, severity 1.
Python 3, numpy 2.4.6.
"""

import sys

import numpy as np

# The blue and the orange that Okabe and Ito begin with.
FIRST = np.array([[0, 114, 178], [230, 159, 0]])
MUTED, MUTED_CHROMA, CHROMA = 20, 58, 72


def linear(rgb):
    c = rgb / 255.0
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(light):
    xyz = light @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz /= np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(np.maximum(xyz, 0)), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


PROTAN = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
DEUTAN = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])


def seen(rgb):
    light = linear(rgb)
    views = [lab(light)] + [lab(np.clip(light @ m.T, 0, 1)) for m in (PROTAN, DEUTAN)]
    return np.stack(views)  # [3, n, 3]


def distances(views, index):
    d = np.linalg.norm(views - views[:, index : index + 1], axis=-1)
    return np.minimum(d[0], np.minimum(d[1], d[2]) * 1.5)


steps = np.arange(0, 256, 12)
lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
views = seen(lattice)
lightness, chroma = views[0, :, 0], np.hypot(views[0, :, 1], views[0, :, 2])
keep = (lightness >= 30) & (lightness <= 86) & (chroma >= 16) & (chroma <= CHROMA)
rgb = np.concatenate([FIRST, lattice[keep]])
strong = np.concatenate([[False] * len(FIRST), chroma[keep] > MUTED_CHROMA])
views = seen(rgb)
nearest = np.full(len(rgb), np.inf)
chosen = []
for step in range(255):
    allowed = np.where(strong & (step < MUTED), -1, nearest)
    index = step if step < len(FIRST) else int(np.argmax(allowed))
    if chosen:
        print(f"{step} {rgb[index]} {nearest[index]:.1f}", file=sys.stderr)
    chosen.append(index)
    nearest = np.minimum(nearest, distances(views, index))

print("/// The colors; the maker script stands in tools/geometry/make_palette.py.")
print("#[rustfmt::skip]")
print("const COLORS: [[u8; 3]; 255] = [")
for i in range(0, 255, 5):
    print("    " + " ".join(f"[{r}, {g}, {b}]," for r, g, b in rgb[chosen[i : i + 5]]))
print("];")
