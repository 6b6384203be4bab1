#!/usr/bin/env python3
"""Writes the small PyTorch files under crates/vitscope-vit/tests/data that only PyTorch can write:
a TorchScript archive laid out like OpenAI's CLIP releases, and one state dict in the container of
PyTorch before 1.6 and in safetensors, to compare with.  Made with torch 2.15.

usage: make_torch_files.py FOLDER"""
import argparse
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

WIDTH, PATCH, GRID = 8, 4, 2


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, 2)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width))
        )
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x):
        return x + self.mlp(self.ln_2(x)) + self.ln_1(x)


class Transformer(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.resblocks = nn.Sequential(*[Block(width) for _ in range(layers)])

    def forward(self, x):
        return self.resblocks(x)


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(GRID * GRID + 1, WIDTH))
        self.ln_pre = nn.LayerNorm(WIDTH)
        self.transformer = Transformer(WIDTH, 2)
        self.ln_post = nn.LayerNorm(WIDTH)
        self.proj = nn.Parameter(torch.randn(WIDTH, 4))

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, WIDTH), x], 1)
        x = self.transformer(self.ln_pre(x + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.visual = Visual()
        self.transformer = Transformer(4, 1)
        self.token_embedding = nn.Embedding(6, 4)
        self.positional_embedding = nn.Parameter(torch.randn(3, 4))
        self.ln_final = nn.LayerNorm(4)
        self.text_projection = nn.Parameter(torch.randn(4, 4))
        self.logit_scale = nn.Parameter(torch.ones([]))
        for name, value in (("input_resolution", 8), ("context_length", 3), ("vocab_size", 6)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, image, text):
        t = self.token_embedding(text) + self.positional_embedding
        t = self.ln_final(self.transformer(t))[:, -1] @ self.text_projection
        return self.logit_scale.exp() * self.visual(image) @ t.t()


def clip(folder):
    model = Clip().half()
    image = torch.randn(1, 3, PATCH * GRID, PATCH * GRID).half()
    text = torch.zeros(1, 3, dtype=torch.long)
    traced = torch.jit.trace(model, (image, text), check_trace=False)
    whole = folder / "clip_script.whole"
    torch.jit.save(traced, str(whole))
    # Most of so small an archive is its code, at which a reader of weights never looks.
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(folder / "clip_script.pt", "w") as target:
        for name in source.namelist():
            if "/code/" not in name:
                target.writestr(zipfile.ZipInfo(name), source.read(name))
    whole.unlink()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "clip_script.safetensors")


def dino():
    n, d = GRID * GRID + 1, WIDTH
    out = OrderedDict()
    out["cls_token"] = torch.randn(1, 1, d)
    out["pos_embed"] = torch.randn(1, n, d)
    out["patch_embed.proj.weight"] = torch.randn(d, 3, PATCH, PATCH)
    out["patch_embed.proj.bias"] = torch.randn(d)
    for i in range(2):
        for norm in ("norm1", "norm2"):
            out[f"blocks.{i}.{norm}.weight"] = torch.randn(d)
            out[f"blocks.{i}.{norm}.bias"] = torch.randn(d)
        for name, rows, columns in (("attn.qkv", 3 * d, d), ("attn.proj", d, d), ("mlp.fc1", 2 * d, d), ("mlp.fc2", d, 2 * d)):
            out[f"blocks.{i}.{name}.weight"] = torch.randn(rows, columns)
            out[f"blocks.{i}.{name}.bias"] = torch.randn(rows)
    out["norm.weight"] = torch.randn(d)
    out["norm.bias"] = torch.randn(d)
    return out


def legacy(folder):
    plain = dino()
    odd = OrderedDict(plain)
    # What a reader may not assume: transposed storage, a window of a larger storage, every width
    # of float, and training state beside the weights.
    odd["blocks.0.attn.proj.weight"] = plain["blocks.0.attn.proj.weight"].t().contiguous().t()
    window = torch.cat([torch.zeros(5), plain["norm.bias"], torch.zeros(3)])
    odd["norm.bias"] = window[5 : 5 + WIDTH]
    odd["norm.weight"] = nn.Parameter(plain["norm.weight"].double())
    for name, kind in (("blocks.1.mlp.fc1.weight", torch.float16), ("blocks.1.mlp.fc2.weight", torch.bfloat16)):
        odd[name] = plain[name].to(kind)
        plain[name] = odd[name].float()
    root = {
        "model": odd,
        "optimizer": {"state": {0: {"step": torch.tensor(3), "exp_avg": torch.zeros(2)}}},
        "args": argparse.Namespace(arch="vit_small", lr=1e-3, betas=(0.9, 0.999), flags=[True, None, 2**70]),
        "epoch": 7,
    }
    torch.save(root, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(root, folder / "modern.pth")
    save_file({k: v.detach().float().contiguous() for k, v in plain.items()}, folder / "legacy.safetensors")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    clip(folder)
    legacy(folder)


if __name__ == "__main__":
    main()
