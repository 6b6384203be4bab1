"""Records what a DINOv2-shaped ViT-S/14 computes, in NumPy and f64, for `vitscope verify`.

    python tools/checkpoints/record_vit_s14.py TRANSFORMERS.safetensors RECORDING.safetensors

Written from the architecture alone: pre-norm blocks with LayerScale, exact GELU, epsilon 1e-6, positions at their own
37 x 37 grid. Shares no code with the forward pass that it checks. Needs numpy and safetensors.
"""

import sys
from math import erf

import numpy as np
from safetensors.numpy import load_file, save_file

weights = {name: tensor.astype(np.float64) for name, tensor in load_file(sys.argv[1]).items()}
depth = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
heads, patch = 6, 14
width = weights["embeddings.cls_token"].shape[-1]
side = int(round((weights["embeddings.position_embeddings"].shape[1] - 1) ** 0.5))


def linear(x, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def norm(x, name):
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * weights[name + ".weight"] + weights[name + ".bias"]


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


# Smooth colors with some noise, so that neither is all there is.
rng = np.random.default_rng(0)
rows, columns = np.mgrid[0:1 : side * patch * 1j, 0:1 : side * patch * 1j]
image = np.stack([np.sin(5 * rows + 3 * c * columns) for c in range(1, 4)]) + 0.3 * rng.standard_normal((3, *rows.shape))
image = image.astype(np.float32)

record = {"input": image[None]}
tiles = image.astype(np.float64).reshape(3, side, patch, side, patch).transpose(1, 3, 0, 2, 4).reshape(side * side, -1)
kernel = weights["embeddings.patch_embeddings.projection.weight"].reshape(width, -1)
x = tiles @ kernel.T + weights["embeddings.patch_embeddings.projection.bias"]
x = np.concatenate([weights["embeddings.cls_token"][0], x]) + weights["embeddings.position_embeddings"][0]
record["embed"] = x
for block in range(depth):
    name = f"encoder.layer.{block}."
    y = norm(x, name + "norm1")
    parts = {}
    for part in ("query", "key", "value"):
        parts[part] = linear(y, f"{name}attention.attention.{part}")
        record[f"block{block}.{part}"] = parts[part]
    query, key, value = (parts[part].reshape(len(x), heads, -1).transpose(1, 0, 2) for part in ("query", "key", "value"))
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(width // heads)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ value
    mixed = mixed.transpose(1, 0, 2).reshape(len(x), width)
    x = x + linear(mixed, name + "attention.output.dense") * weights[name + "layer_scale1.lambda1"]
    y = gelu(linear(norm(x, name + "norm2"), name + "mlp.fc1"))
    x = x + linear(y, name + "mlp.fc2") * weights[name + "layer_scale2.lambda1"]
    record[f"block{block}.token"] = x
record["final_norm"] = norm(x, "layernorm")
save_file({name: np.ascontiguousarray(t if name == "input" else t[None]).astype(np.float32) for name, t in record.items()}, sys.argv[2])
