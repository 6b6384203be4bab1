"""Prints the cluster palette of crates/vitscope-data/src/palette.rs.

Greedy farthest-point choice in CIELAB over a lattice of sRGB colors, lightness 30 to 88, so that
every color stands off from black, white and all colors before it. Python 3, numpy 2.4.6.
"""

import numpy as np

steps = np.arange(0, 256, 15)
rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)


def lab(rgb):
    c = rgb / 255.0
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = c @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz /= np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


values = lab(rgb)
keep = (values[:, 0] >= 30) & (values[:, 0] <= 88)
rgb, values = rgb[keep], values[keep]
# Start away from grey, so that grey is a color like any other.
distance = np.minimum(*(np.linalg.norm(values - lab(np.array([e])), axis=1) for e in ([0, 0, 0], [255, 255, 255])))
chosen = []
for _ in range(255):
    if not chosen:
        best = int(np.argmin(np.linalg.norm(rgb - np.array([30, 120, 180]), axis=1)))
    else:
        best = int(np.argmax(distance))
    chosen.append(best)
    distance = np.minimum(distance, np.linalg.norm(values - values[best], axis=1))

print("/// The colors; the maker script stands in tools/geometry/make_palette.py.")
print("#[rustfmt::skip]")
print("const COLORS: [[u8; 3]; 255] = [")
for i in range(0, 255, 5):
    print("    " + " ".join(f"[{r}, {g}, {b}]," for r, g, b in rgb[chosen[i : i + 5]]))
print("];")
