"""Golden figures for the transforms of vitscope-probe: LEACE by its authors' library, the rest by numpy.

    python tools/oracle/transform.py        (from the repository's root; numpy, torch, concept-erasure)
"""

import numpy as np
import torch
from concept_erasure import LeaceFitter

from lcg import Lcg, features, write

GOLDEN = "crates/vitscope-probe/tests/golden"
ROWS, COLUMNS, WIDTH, IMAGES = 4, 5, 12, 10
PLACES = ROWS * COLUMNS


def planted():
    """Made features, with a ramp and a patch pattern on top: [images, places, width] f32."""
    rng = Lcg(21)
    x = features(rng, IMAGES, PLACES, WIDTH, 6)
    ways = rng.uniform(3, WIDTH)
    row, column = np.divmod(np.arange(PLACES), COLUMNS)
    for way, number in zip(ways, (row / ROWS, column / COLUMNS, (row + column) % 2 * 0.5)):
        x = x + number.astype(np.float32)[None, :, None] * way
    return x


def cosines(order):
    """2-D cosines of order below `order` but the constant, each of variance 1."""
    def wave(count, frequency):
        angle = np.pi * (np.arange(count) + 0.5) * frequency / count
        return np.cos(angle) * (np.sqrt(2) if frequency else 1)
    all_of = [np.outer(wave(ROWS, u), wave(COLUMNS, v)).ravel()
              for u in range(order) for v in range(order)]
    return np.stack(all_of[1:], 1)


def coordinates():
    row, column = np.divmod(np.arange(PLACES), COLUMNS)
    z = np.stack([row / ROWS, column / COLUMNS], 1)
    return z - z.mean(0)


def eraser(rows, z):
    fitter = LeaceFitter(rows.shape[1], z.shape[1], dtype=torch.float64, shrinkage=False,
                         constrain_cov_trace=False, svd_tol=1e-9)
    fitter.update(torch.tensor(rows), torch.tensor(np.tile(z, (IMAGES, 1))))
    return fitter.eraser.P.numpy()


def projector(basis):
    return np.eye(WIDTH) - basis @ basis.T


x = planted().astype(np.float64)
y = x / np.linalg.norm(x, axis=2, keepdims=True)
rows = y.reshape(-1, WIDTH)
mean = rows.mean(0)
mean_map = y.mean(0) - mean
s = np.cov(rows.T, bias=True)
g = mean_map.T @ mean_map / PLACES

readers = []
left = rows - mean
tiled = np.tile(coordinates(), (IMAGES, 1))
ridge = 1e-6 * np.trace(s) / WIDTH
for _ in range(2):
    out = projector(np.stack(readers, 1)) if readers else np.eye(WIDTH)
    seen = left @ out
    read = np.linalg.solve(seen.T @ seen / len(seen) + ridge * np.eye(WIDTH), seen.T @ tiled / len(seen))
    q, _ = np.linalg.qr(np.concatenate([np.stack(readers, 1), read], 1) if readers else read)
    readers = list(q.T)

values, vectors = np.linalg.eigh(s - g)
halves = [half.mean(0) - half.mean((0, 1)) for half in (y[0::2], y[1::2])]
basis = []
for u in range(ROWS):
    for v in range(COLUMNS):
        a = np.cos(np.pi * (np.arange(ROWS) + 0.5) * u / ROWS)
        b = np.cos(np.pi * (np.arange(COLUMNS) + 0.5) * v / COLUMNS)
        wave = np.outer(a, b).ravel()
        basis.append(wave / np.linalg.norm(wave))
basis = np.stack(basis)
energy = ((basis @ halves[0]) * (basis @ halves[1])).sum(1).reshape(ROWS, COLUMNS)
bands = np.zeros(4)
for u in range(ROWS):
    for v in range(COLUMNS):
        if u == v == 0:
            continue
        order = max(u, v)
        band = 3 if 2 * u > ROWS or 2 * v > COLUMNS else 0 if order == 1 else 1 if order < 4 else 2
        bands[band] += energy[u, v]
bands = np.maximum(bands, 0)

z = coordinates()
xz = mean_map.T @ z / PLACES
r2 = np.trace(xz.T @ np.linalg.solve(s + ridge * np.eye(WIDTH), xz)) / (z ** 2).sum() * PLACES

write(
    f"{GOLDEN}/transform.txt",
    f"numpy {np.__version__}, torch {torch.__version__}, concept-erasure 0.2.4",
    leace_raw=eraser(x.reshape(-1, WIDTH), cosines(2)),
    leace_unit=eraser(rows, cosines(3)),
    mean=mean,
    mean_map=mean_map,
    deviation=rows.std(0),
    svd=projector(np.linalg.svd(mean_map.T, full_matrices=False)[0][:, :3]),
    content=projector(vectors[:, np.argsort(-values)[:2]]),
    rasa=projector(np.stack(readers, 1)),
    share=[(halves[0] * halves[1]).sum() / PLACES / np.trace(s)],
    r2=[r2],
    bands=bands / bands.sum(),
)
