"""Golden matches of key points by brute force: every embedding upsampled to the size of its photograph.

    python tools/oracle/correspond.py      (from the repository's root; numpy, torch)

In f64: F.interpolate(mode="bilinear", align_corners=False), cosine, argmax over all pixels.
"""

import numpy as np
import torch
import torch.nn.functional as F

from lcg import Lcg, features, write

GOLDEN = "crates/vitscope-probe/tests/golden/correspond.txt"
# Rows and columns of patches, width, source height and width, target height and width.
CASES = [
    (5, 5, 7, 40, 60, 63, 41),
    (8, 8, 24, 100, 75, 90, 121),
    (20, 20, 16, 120, 90, 96, 140),
    (6, 9, 12, 9, 5, 7, 4),
    (1, 4, 8, 20, 20, 16, 30),
]
POINTS = 12


def upsampled(rows: np.ndarray, grid, size) -> torch.Tensor:
    image = torch.from_numpy(rows.astype(np.float64)).reshape(1, *grid, -1).permute(0, 3, 1, 2)
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)[0]


arrays = {}
for seed, (rows, columns, dim, sh, sw, th, tw) in enumerate(CASES):
    for offset in [0.0, 0.25]:
        rng = Lcg(500 + seed)
        both = features(rng, 2, rows * columns, dim, 6, offset)
        points = np.stack([rng.below(sh, POINTS), rng.below(sw, POINTS)], 1)
        source = upsampled(both[0], (rows, columns), (sh, sw))
        target = upsampled(both[1], (rows, columns), (th, tw))
        wanted = source[:, points[:, 0], points[:, 1]]
        cosines = F.normalize(wanted, dim=0).T @ F.normalize(target.reshape(dim, -1), dim=0)
        best, at = cosines.topk(2, dim=1)
        name = f"{seed}_{int(offset * 100)}"
        arrays[f"match_{name}"] = torch.stack([at[:, 0] // tw, at[:, 0] % tw], 1).numpy()
        arrays[f"cosine_{name}"] = best[:, 0].numpy()
        arrays[f"lead_{name}"] = (best[:, 0] - best[:, 1]).numpy()
write(GOLDEN, f"numpy {np.__version__}, torch {torch.__version__}", **arrays)
