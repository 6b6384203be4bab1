#!/usr/bin/env python3
"""Writes what the fuzz targets begin with: whole small files and the parts of them that the targets
change.

usage: seeds.py CORPUS FOLDER...   (folders that are searched for checkpoints, images and annotations)"""
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

LIMIT = 200_000
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}

OWN = """weights = "model.safetensors"
name = "small"
family = "own"
prefix = ""
layout = "out_in"
transposed = []
ignore = ["head.*"]
[model]
heads = 2
norm_eps = 1e-6
mlp = "gelu"
resize = "plain"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
width = 8
depth = 2
grid = [2, 2]
class_slot = true
[tensors]
"cls_token" = "class"
"pos_embed" = "positions"
"patch_embed.proj.weight" = "patch.weight"
"patch_embed.proj.bias" = "patch.bias"
"norm.weight" = "norm.weight"
"norm.bias" = "norm.bias"
"blocks.{i}.norm1.weight" = "norm1.weight"
"blocks.{i}.norm1.bias" = "norm1.bias"
"blocks.{i}.attn.qkv.weight" = "qkv.weight"
"blocks.{i}.attn.qkv.bias" = "qkv.bias"
"blocks.{i}.attn.proj.weight" = "proj.weight"
"blocks.{i}.attn.proj.bias" = "proj.bias"
"blocks.{i}.norm2.weight" = "norm2.weight"
"blocks.{i}.norm2.bias" = "norm2.bias"
"blocks.{i}.mlp.fc1.weight" = "up.weight"
"blocks.{i}.mlp.fc1.bias" = "up.bias"
"blocks.{i}.mlp.fc2.weight" = "down.weight"
"blocks.{i}.mlp.fc2.bias" = "down.bias"
"""


PARTS = """kind = "pascal-part-animals"
root = "VOC"
"""

DATA = """[test]
images = "images/*.png"
masks = "masks/*.png"
[labels]
names = ["sky", "tree"]
ignore = [255]
"""


PLAN = """#set model="m"
[sweep]
name = "study"
out = "sweeps/study"
together = 4
select = "layer:9"
[define]
model = "dinov2-s14"
data = "ade20k:/data"
[base]
data = "${data}"
size = 64
[matrix]
model = ["${model}", { model = "own.pth", family = "dino", heads = 2 }]
seed = [0, 1]
transform = "random:8x5"
[[exclude]]
seed = 1
[[include]]
command = "correspond"
data = "spair71k:/pairs"
model = "${model}-a"
token-norm = ["after", "before"]
[slurm]
partition = "gpu"
time = "4:00:00"
[[report]]
name = "models"
of = { command = "probe", seed = 0 }
figures = { figure-1 = "overview" }
tables = { table-3 = { metric = "pck", layers = "best", facets = ["token"] } }
"""

# Kinds of runs in the order of src/results.rs.
KINDS = ["probe", "attention", "correspond", "causes"]


def seed_results(seed):
    """Every file of every folder of base/ behind the bytes that say which it is; of tensors the header alone,
    too."""
    base = Path(__file__).parent / "base"
    for target, folders in ("run", KINDS), ("features", ["features"]):
        for kind, name in enumerate(folders):
            folder = base / name
            paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
            first = bytes([kind]) if target == "run" else b""
            # As Rust sorts paths: part by part.
            for index, path in enumerate(sorted(paths, key=lambda path: path.parts)):
                data = (folder / path).read_bytes()
                seed(target, first + bytes([index]) + data)
                if path.suffix == ".safetensors":
                    length = struct.unpack("<Q", data[:8])[0]
                    seed(target, first + bytes([index | 0x80]) + data[8 : 8 + length])


def seed_plans(seed):
    seed("plan", PLAN.encode())
    for path in sorted((Path(__file__).parent.parent / "plans").glob("*.toml")):
        seed("plan", path.read_bytes())


def main():
    corpus = Path(sys.argv[1])
    count = {}

    def seed(target, data):
        if len(data) <= LIMIT:
            folder = corpus / target
            folder.mkdir(parents=True, exist_ok=True)
            count[target] = count.get(target, 0) + 1
            (folder / f"seed-{count[target]}").write_bytes(data)

    seed("own", OWN.encode())
    seed("toml", PARTS.encode())
    seed("toml", DATA.encode())
    seed_results(seed)
    seed_plans(seed)
    shard = "model-00001-of-00001.safetensors"
    seed("index", json.dumps({"metadata": {}, "weight_map": {"a": shard, "b": shard}}).encode())
    for folder in sys.argv[2:]:
        for path in sorted(Path(folder).rglob("*")):
            if path.name.startswith("expected") or path.name == "meta.json" or not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix == ".safetensors":
                length = struct.unpack("<Q", data[:8])[0]
                seed("safetensors", data[8 : 8 + length])
            elif path.suffix in IMAGES:
                seed("image", data)
                if path.suffix == ".png":
                    seed("mask", data)
            elif path.suffix == ".mat":
                seed("annotation", data)
            elif path.suffix == ".txt":
                seed("list", data)
            elif path.suffix == ".json":
                target = {"src_imname": "pair", "segments_info": "panoptic"}
                seed(next((t for key, t in target.items() if key in data.decode()), "sidecar"), data)
            elif data[:2] == b"PK":
                archive = zipfile.ZipFile(io.BytesIO(data))
                names = archive.namelist()
                arrays = [name for name in names if name.endswith(".npy")]
                seed("npz" if arrays else "torch_zip", data)
                if arrays:
                    seed("npy", archive.read(arrays[0]))
                for name in names:
                    if name.endswith("/data.pkl"):
                        script = any(other.endswith("constants.pkl") for other in names)
                        seed("torchscript" if script else "pickle", archive.read(name))
            elif data[:1] == b"\x80":
                seed("legacy", data)


main()
