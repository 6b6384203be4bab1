"""Writes a feature directory, so that `vitscope probe --features` can look at any model.

    vitscope data check DATA --out LISTS      # writes LISTS/train.txt and LISTS/test.txt
    python features.py LISTS FEATURES

Needs NumPy and safetensors. `embed` stands for your model: docs/features.md shows it in PyTorch.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

PATCH, SIZE = 16, 64


def embed(path):
    """An image file to {"facet.layer": [rows, columns, D]}: here, a made-up model of two layers."""
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    rows = np.resize(data, (SIZE // PATCH, SIZE // PATCH, 8)).astype(np.float32)
    return {"token.1": rows / 255.0, "token.2": np.sin(rows)}


def write(out, split, paths, embed, per_file=1000):
    """Embeds the images of a split in order, `per_file` of them into each file."""
    files = max(1, -(-len(paths) // per_file))
    for i in range(files):
        maps = [embed(path) for path in paths[i * per_file : (i + 1) * per_file]]
        slots = {slot: np.stack([m[slot] for m in maps]).astype(np.float16) for slot in maps[0]}
        name = split if files == 1 else f"{split}-{i + 1:05}-of-{files:05}"
        save_file(slots, str(Path(out) / f"{name}.safetensors"))


if __name__ == "__main__":
    lists, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        paths = (lists / f"{split}.txt").read_text(errors="surrogateescape").splitlines()
        write(out, split, paths, embed, per_file=10)
    (out / "features.json").write_text(json.dumps({"patch": PATCH, "size": SIZE, "model": "made up"}))
