"""Golden figures for the locality bias of every fixture's recorded attention, in f64 NumPy.

    python tools/oracle/attention.py FIXTURES     (from the repository's root; numpy, safetensors)
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from lcg import write

GOLDEN = "crates/vitscope-study/tests/golden/locality.txt"


def locality(weights: np.ndarray) -> float:
    """Mutual information, in nats, of the joint distribution weights / weights.sum()."""
    joint = weights / weights.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


arrays = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    for size in ["expected", "expected_nonsquare"]:
        tensors = load_file(folder / f"{size}.safetensors")
        height, width = tensors["input"].shape[2:]
        for name in sorted(tensors):
            if not name.endswith(".attention"):
                continue
            weights = tensors[name].astype(np.float64)
            patch = next(p for p in (16, 14, 8) if height % p == 0 and width % p == 0
                         and weights.shape[-1] - (height // p) * (width // p) in range(8))
            n = (height // patch) * (width // patch)
            patches = weights[:, :, -n:, -n:]
            whole = np.mean([locality(image.mean(0)) for image in patches])
            heads = [np.mean([locality(image[h]) for image in patches]) for h in range(patches.shape[1])]
            arrays[f"{folder.name}/{size}/{name}/{n}"] = [whole, *heads]
write(GOLDEN, f"numpy {np.__version__}", **arrays)
