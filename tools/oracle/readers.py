"""Golden figures for the kNN and the linear reader of vitscope-probe, by numpy, brute force and in f64.

    python tools/oracle/readers.py        (from the repository's root; numpy)
"""

import numpy as np

from lcg import Lcg, features, write

GOLDEN = "crates/vitscope-probe/tests/golden"
IMAGES, PLACES, WIDTH, CLASSES = 6, 20, 12, 4

rng = Lcg(33)
x = features(rng, IMAGES + 1, PLACES, WIDTH, 6).astype(np.float64)
y = x / np.linalg.norm(x, axis=2, keepdims=True)
# Sixteen labeled pixels of each patch: some patches have one class, most have several.
pixels = rng.below(CLASSES, IMAGES, PLACES, 4).repeat(4, axis=2)
shares = np.stack([(pixels == c).mean(2) for c in range(CLASSES)], 2)
rows, t = y[:IMAGES].reshape(-1, WIDTH), shares.reshape(-1, CLASSES)
query = y[IMAGES]

cosine = query @ rows.T
knn = np.zeros((PLACES, CLASSES))
for patch in range(PLACES):
    nearest = np.argsort(-cosine[patch], kind="stable")[:30]
    weight = np.exp(cosine[patch, nearest] / 0.02 - cosine[patch].max() / 0.02)
    knn[patch] = weight @ t[nearest] / weight.sum()

# Ridge regression as an augmented least-squares problem, not by normal equations.
ridge = 1e-3 * rows.var(0).sum() / WIDTH
design = np.vstack([rows - rows.mean(0), np.sqrt(len(rows) * ridge) * np.eye(WIDTH)])
target = np.vstack([t - t.mean(0), np.zeros((WIDTH, CLASSES))])
weights = np.linalg.lstsq(design, target, rcond=None)[0]
linear = (query - rows.mean(0)) @ weights + t.mean(0)

write(f"{GOLDEN}/readers.txt", f"numpy {np.__version__}", knn=knn, weights=weights.T, linear=linear)
