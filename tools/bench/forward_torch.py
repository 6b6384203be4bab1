"""Images per second of PyTorch eager with timm and hooks, the way published code takes facets.

    python tools/bench/forward_torch.py [batch] [pixels] [threads] [bf16]

ViT-B/16, random weights, key, query, value and token of all 12 layers kept as patch tokens.
Needs torch and timm from PyPI. Run it beside `cargo bench -p vitscope-vit --bench forward` on the
same cores, in turns, and compare medians.
"""
import contextlib
import resource
import sys
import time

import timm
import torch

args = [a for a in sys.argv[1:] if a != "bf16"]
batch, pixels, threads = (int(a) for a in args + ["8", "320", "2"][len(args):])
torch.set_num_threads(threads)
torch.manual_seed(0)
model = timm.create_model("vit_base_patch16_224", img_size=pixels, num_classes=0).eval()
kept = {}


def keep(name):
    def hook(_module, _inputs, output):
        kept[name] = output[:, 1:]
    return hook


for i, block in enumerate(model.blocks):
    block.attn.qkv.register_forward_hook(keep(f"qkv.{i}"))
    block.register_forward_hook(keep(f"token.{i}"))
x = torch.randn(batch, 3, pixels, pixels)
times = []
cast = torch.autocast("cpu", torch.bfloat16) if "bf16" in sys.argv else contextlib.nullcontext()
with torch.inference_mode(), cast:
    for _ in range(6):
        start = time.perf_counter()
        model.forward_features(x)
        times.append(time.perf_counter() - start)
times.sort()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"best {batch / times[0]:.3f} images/s  median {batch / times[len(times) // 2]:.3f} images/s  peak {peak:.0f} MiB")
